"""The table that a run prints: a row a figure, with its peer, their ratio, a target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

Bound = Literal["at least", "below"]
Of = Literal["ratio", "value"]

_SIGNS: dict[Bound, str] = {"at least": "≥", "below": "<"}
HEAD = ("measured", "ours", "peer", "ratio", "target", "reached")


class Target(msgspec.Struct, frozen=True):
    """What is to be reached, by our own value or by its ratio to the peer's."""

    bound: Bound
    limit: float
    of: Of = "ratio"

    def reached(self, value: float) -> bool:
        """Whether a value is on the right side; what could not be measured is not."""
        if math.isnan(value):
            return False
        return value >= self.limit if self.bound == "at least" else value < self.limit

    def __str__(self) -> str:
        return f"{_SIGNS[self.bound]} {self.limit:g}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. Without a peer there is no ratio, and a target is for the value."""

    name: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours in terms of the peer's."""
        if self.peer is None:
            return None
        return self.ours / self.peer if self.peer else math.nan

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none to be judged."""
        if self.target is None:
            return None
        value = self.ours if self.target.of == "value" else self.ratio
        return None if value is None else self.target.reached(value)

    def cells(self) -> tuple[str, ...]:
        """The row as it is printed."""
        peer = "" if self.peer is None else spell(self.peer, self.unit)
        return (
            self.name,
            spell(self.ours, self.unit),
            f"{peer} {self.peer_name}".strip(),
            "" if self.ratio is None else f"{self.ratio:.2f}",
            "" if self.target is None else str(self.target),
            {True: "yes", False: "NO", None: ""}[self.reached],
        )


class LeftOut(Exception):
    """A measurement cannot be taken here; the text says why."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share (0 to 1) of them lies: the nearest rank.

    :raises ValueError: there are no values.
    """
    if not values:
        raise ValueError("There is no percentile of nothing.")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one; of an even number the mean of the middle two."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("There is no median of nothing.")
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much y grows for each x, by least squares.

    :raises ValueError: there are not two different x.
    """
    n = len(points)
    mean_x = sum(x for x, _ in points) / max(n, 1)
    mean_y = sum(y for _, y in points) / max(n, 1)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        raise ValueError("A slope needs two different places.")
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def spell(value: float, unit: str) -> str:
    """Three digits that count, or all of those before the point."""
    if math.isnan(value):
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def render(rows: Iterable[Row], left_out: Iterable[str] = ()) -> str:
    """The table, with the notes below it."""
    rows = list(rows)
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    text = [_line(line, widths) for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    text += [f"  {row.name}: {row.note}" for row in rows if row.note]
    text += [f"  left out: {what}" for what in left_out]
    return "\n".join(text) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if i in (0, 4, 5) else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()
