"""Sequence sets (RFC 9051, 9: sequence-set), as ranges that are never counted out.

``1:4294967295`` and a thousand single numbers cost the same as what they are: a range,
or a thousand. Resolving sorts the ranges, and merges what overlaps.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from attrs import field, frozen

from noinfra.mail.imap.scanner import MAX_NUMBER, MAX_NUMBER64, ImapSyntaxError, Scanner

STAR = 0
MAX_RANGES = 20_000

_SET = re.compile(rb"[0-9*:,]+")
Range = tuple[int, int]


@frozen
class SequenceSet:
    """Ranges as they were written, `STAR` for "*"; or the saved result, "$".

    :ivar saved: the set is what the last SEARCH saved (RFC 9051, 6.4.4.1).
    """

    ranges: tuple[Range, ...] = field(default=())
    saved: bool = False

    def resolve(self, largest: int) -> list[Range]:
        """Ranges in order, none touching another, with "*" as the largest number."""
        concrete = []
        for first, last in self.ranges:
            low, high = first or largest, last or largest
            concrete.append((low, high) if low <= high else (high, low))
        return merged(concrete)

    @property
    def highest(self) -> int:
        """The largest number that is named; "*" is none."""
        return max((max(one) for one in self.ranges), default=0)

    @property
    def has_star(self) -> bool:
        """Whether "*" is in it."""
        return any(STAR in one for one in self.ranges)


def parse_set(octets: bytes) -> SequenceSet:
    """The set that octets are.

    :raises ImapSyntaxError: they are none.
    """
    if octets == b"$":
        return SequenceSet(saved=True)
    parts = octets.split(b",")
    if len(parts) > MAX_RANGES:
        raise ImapSyntaxError(f"A set has at most {MAX_RANGES} ranges.")
    return SequenceSet(tuple([_range(part) for part in parts]))


def scan_set(scanner: Scanner) -> SequenceSet:
    """The set that comes next."""
    if scanner.accept(b"$"):
        return SequenceSet(saved=True)
    return parse_set(scanner.take(_SET, "a set of numbers as 1,3:5,9:*")[0])


def _range(octets: bytes) -> Range:
    first, colon, last = octets.partition(b":")
    low = _number(first)
    return (low, _number(last)) if colon else (low, low)


def _number(octets: bytes) -> int:
    if octets == b"*":
        return STAR
    if not octets.isdigit() or len(octets) > 10 or not 0 < int(octets) <= MAX_NUMBER:
        raise ImapSyntaxError(f"In a set stand numbers from 1 to {MAX_NUMBER}, or *.")
    return int(octets)


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The ranges in order, with those joined that overlap or touch."""
    joined: list[Range] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            if high > joined[-1][1]:
                joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return joined


def within(numbers: Sequence[int], ranges: Iterable[Range]) -> list[Range]:
    """Where the numbers of the ranges stand in ascending numbers: half-open slices."""
    slices = []
    for low, high in ranges:
        start, stop = bisect_left(numbers, low), bisect_right(numbers, high)
        if start < stop:
            slices.append((start, stop))
    return slices


def ranges_of(numbers: Iterable[int]) -> list[Range]:
    """Ascending numbers as ranges."""
    found: list[Range] = []
    low = high = -1
    for number in numbers:
        if number == high + 1 and low >= 0:
            high = number
            continue
        if low >= 0:
            found.append((low, high))
        low = high = number
    if low >= 0:
        found.append((low, high))
    return found


def render_ranges(ranges: Iterable[Range]) -> bytes:
    """Ranges as a set."""
    return b",".join(
        b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in ranges
    )


def render_numbers(numbers: Iterable[int]) -> bytes:
    """Ascending numbers as a set; many in a row take little room."""
    return render_ranges(ranges_of(numbers))


def is_within(number: int, ranges: Sequence[Range]) -> bool:
    """Whether a number lies in one of ascending ranges."""
    at = bisect_right(ranges, (number, MAX_NUMBER64)) - 1
    return at >= 0 and ranges[at][0] <= number <= ranges[at][1]


def without(ranges: Iterable[Range], numbers: Sequence[int]) -> list[Range]:
    """What is left of ascending ranges when ascending numbers are taken out."""
    left: list[Range] = []
    for low, high in ranges:
        start, stop = bisect_left(numbers, low), bisect_right(numbers, high)
        for number in numbers[start:stop]:
            if low < number:
                left.append((low, number - 1))
            low = number + 1
        if low <= high:
            left.append((low, high))
    return left


def counted(ranges: Iterable[Range], most: int) -> list[int]:
    """The numbers of ranges one by one, up to so many of them."""
    return list(islice(chain.from_iterable(map(_counted, ranges)), most))


def _counted(one: Range) -> range:
    return range(one[0], one[1] + 1)
