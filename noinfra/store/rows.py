"""From a row to the value that it stands for: a column fills the field of its name."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

import attrs
import msgspec

T = TypeVar("T")
Row = tuple[Any, ...]


def converter(cls: type[T], columns: tuple[str, ...]) -> Callable[[Row], T]:
    """What makes a `cls`, of attrs or a msgspec.Struct, of a row with these columns.

    A field without a column takes its default.

    :raises TypeError: a column fits no field, comes twice, or a field has neither a
        column nor a default. This is a bug in the statement.
    """
    # mypy does not take a class for a Hashable.
    return cast(Callable[[Row], T], _converter(cast(Hashable, cls), columns))


@lru_cache(maxsize=1024)
def _converter(cls: Any, columns: tuple[str, ...]) -> Callable[[Row], Any]:
    _check(cls, columns)
    if attrs.has(cls) and _is_plain(cls, columns):
        return _filling(cls, columns)

    def convert(row: Row) -> Any:
        return cls(**dict(zip(columns, row)))  # noqa: B905 - both are one result's

    return convert


def _is_plain(cls: Any, columns: Sequence[str]) -> bool:
    """Whether its constructor does no more than fill a slot from each column."""
    fields = attrs.fields(cls)
    fills_each = {field.name for field in fields} == set(columns)
    does_more = any(f.converter or f.validator or not f.init for f in fields)
    special = {"__attrs_pre_init__", "__attrs_post_init__", "__dict__"}
    return fills_each and not does_more and not special.intersection(dir(cls))


def _filling(cls: Any, columns: Sequence[str]) -> Callable[[Row], Any]:
    """Fill the slots one by one.

    The constructor takes three times as long for thirty keywords, and a page of fifty
    messages is fifteen hundred of them.
    """
    fills = [getattr(cls, name).__set__ for name in columns]

    def convert(row: Row) -> Any:
        made = object.__new__(cls)
        for fill, value in zip(fills, row):  # noqa: B905 - both are one result's
            fill(made, value)
        return made

    return convert


def _check(cls: Any, columns: tuple[str, ...]) -> None:
    required, optional = _fields(cls)
    unknown = [name for name in columns if name not in (*required, *optional)]
    missing = [name for name in required if name not in columns]
    if unknown or missing or len(set(columns)) < len(columns):
        raise TypeError(
            f"The columns {', '.join(columns)} do not make a {cls.__name__}: "
            f"no field for {unknown}, no column for {missing}; each may come once."
        )


def _fields(cls: type[Any]) -> tuple[Sequence[str], Sequence[str]]:
    """The names that its constructor needs, and those that it can do without."""
    if attrs.has(cls):
        fields = [field for field in attrs.fields(cls) if field.init]
        needs = [field.alias for field in fields if field.default is attrs.NOTHING]
        return needs, [field.alias for field in fields if field.alias not in needs]
    if issubclass(cls, msgspec.Struct):
        described = msgspec.structs.fields(cls)
        return (
            [field.name for field in described if field.required],
            [field.name for field in described if not field.required],
        )
    raise TypeError(f"{cls.__name__} is neither an attrs class nor a msgspec.Struct.")
