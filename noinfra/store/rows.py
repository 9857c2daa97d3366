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
    _check(cast(Hashable, cls), columns)

    def convert(row: Row) -> T:
        return cls(**dict(zip(columns, row)))  # noqa: B905 - both are one result's

    return convert


@lru_cache(maxsize=1024)
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
