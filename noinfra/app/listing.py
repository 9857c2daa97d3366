"""A page of a list, by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from attrs import frozen

from noinfra.errors import Invalid

T = TypeVar("T")


@frozen(kw_only=True)
class Listing(Generic[T]):
    """Some items, and where the next page begins; None when there is none."""

    items: list[T]
    next_cursor: str | None


def listing(found: Sequence[T], limit: int, key: Callable[[T], str]) -> Listing[T]:
    """A page of what was found by asking for one more than the limit."""
    items = list(found[:limit])
    more = len(found) > limit
    return Listing(items=items, next_cursor=key(items[-1]) if more else None)


def cursor_key(cursor: str | None, prefix: str) -> str | None:
    """The key in a cursor that we gave.

    :raises Invalid: we did not give it.
    """
    if cursor is None:
        return None
    if not cursor.startswith(prefix) or len(cursor) > 64 or not cursor.isascii():
        raise Invalid(
            "The cursor is not one of this list; leave it out to begin anew.",
            field="cursor",
        )
    return cursor
