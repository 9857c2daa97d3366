"""Sequence sets, against the numbers that they stand for."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.imap.scanner import ImapSyntaxError
from noinfra.mail.imap.sets import (
    SequenceSet,
    counted,
    is_within,
    parse_set,
    ranges_of,
    render_numbers,
    render_ranges,
    within,
    without,
)
from tests.pace import within as in_time

LARGEST = 30
NUMBERS = st.sets(st.integers(1, LARGEST)).map(sorted)
ITEMS = st.one_of(st.integers(1, LARGEST).map(str), st.just("*"))
PARTS = st.one_of(ITEMS, st.tuples(ITEMS, ITEMS).map(":".join))
SETS = st.lists(PARTS, min_size=1, max_size=8).map(",".join)


def meant(text: str, largest: int) -> set[int]:
    """The numbers of a set, by the book."""
    found: set[int] = set()
    for part in text.split(","):
        ends = [largest if end == "*" else int(end) for end in part.split(":")]
        found.update(range(min(ends), max(ends) + 1))
    return found


class SetTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=300)
    @given(SETS, NUMBERS)
    def test_resolved(self, text: str, numbers: list[int]) -> None:
        """A set means what it means number by number, in order and without overlap."""
        ranges = parse_set(text.encode()).resolve(LARGEST)
        self.assertEqual(set(counted(ranges, 10**6)), meant(text, LARGEST))
        self.assertTrue(all(a[1] + 1 < b[0] for a, b in pairwise(ranges)))
        found = [number for i, j in within(numbers, ranges) for number in numbers[i:j]]
        self.assertEqual(found, sorted(meant(text, LARGEST) & set(numbers)))
        for number in range(1, LARGEST + 1):
            self.assertEqual(is_within(number, ranges), number in meant(text, LARGEST))

    @settings(deadline=None, max_examples=300)
    @given(NUMBERS)
    def test_rendered(self, numbers: list[int]) -> None:
        """Numbers written as a set are those numbers."""
        if numbers:
            again = parse_set(render_numbers(numbers)).resolve(0)
            self.assertEqual(again, ranges_of(numbers))
            self.assertEqual(counted(again, 100), numbers)

    @settings(deadline=None, max_examples=300)
    @given(NUMBERS, NUMBERS)
    def test_without(self, kept: list[int], out: list[int]) -> None:
        """Numbers are taken out of ranges."""
        left = without(ranges_of(kept), out)
        self.assertEqual(counted(left, 100), sorted(set(kept) - set(out)))

    def test_order(self) -> None:
        """Numbers that do not ascend stay in their order (RFC 5267, 3.1)."""
        self.assertEqual(render_numbers([7, 3, 4, 5, 2]), b"7,3:5,2")
        self.assertEqual(render_ranges([]), b"")

    def test_wrong(self) -> None:
        """What is no set is refused."""
        for text in (
            b"",
            b"0",
            b"1,",
            b",1",
            b"1::2",
            b"a",
            b"1:",
            b"4294967296",
            b"-1",
        ):
            with self.assertRaises(ImapSyntaxError, msg=repr(text)):
                parse_set(text)

    def test_saved(self) -> None:
        """The dollar sign is the saved result."""
        self.assertEqual(parse_set(b"$"), SequenceSet(saved=True))

    def test_enormous(self) -> None:
        """Neither wide ranges nor many numbers cost what they count."""
        numbers = range(1, 200_001)
        many = b",".join(b"%d" % number for number in range(1, 20_000, 2))
        wide = b",".join([b"1:4294967295"] * 1000)
        start = time.perf_counter()
        for octets in (many, wide):
            within(numbers, parse_set(octets).resolve(200_000))
        self.assertLess(time.perf_counter() - start, in_time(1.0))

    def test_too_many(self) -> None:
        """There is an end to the parts of a set."""
        with self.assertRaises(ImapSyntaxError):
            parse_set(b",".join([b"1"] * 20_001))
