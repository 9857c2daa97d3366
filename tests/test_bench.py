"""The figures of bin/bench, and the table that it prints."""

from __future__ import annotations

import math
import statistics

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.bodies import attachments
from noinfra.mail.mime import parse
from tests.bench.imapclient import ends
from tests.bench.mails import Mails, large
from tests.bench.rest import Load, read_wrk
from tests.bench.table import (
    Row,
    Target,
    median,
    percentile,
    render,
    slope,
    spell,
)
from tests.bench.watcher import take_frame

NUMBERS = st.lists(st.floats(-1e9, 1e9), min_size=1)
WRK = """\
Running 2s test @ http://127.0.0.1:8025/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.72ms    2.00ms  15.30ms   90.00%
  Latency Distribution
     50%  890.00us
     75%    2.10ms
     90%    4.00ms
     99%    1.50s
  17500 requests in 2.00s, 90.00MB read
Requests/sec:   8745.12
Transfer/sec:     45.00MB
"""


class FiguresTests(SynchronousTestCase):
    """Percentiles, medians, slopes."""

    @given(NUMBERS, st.floats(0, 1))
    def test_percentile(self, values: list[float], share: float) -> None:
        """At least that share of the values is no larger, and it is one of them."""
        found = percentile(values, share)
        self.assertIn(found, values)
        self.assertGreaterEqual(
            sum(value <= found for value in values), share * len(values) - 1e-9
        )

    def test_known_percentiles(self) -> None:
        """Of a hundred values the 99th is above all but the largest."""
        values = [float(value) for value in range(1, 101)]
        self.assertEqual(percentile(values, 0.99), 99)
        self.assertEqual(percentile(values, 0.5), 50)
        self.assertEqual(percentile(values, 1), 100)

    @given(NUMBERS)
    def test_median(self, values: list[float]) -> None:
        """The median is that of the standard library."""
        self.assertEqual(median(values), statistics.median(values))

    def test_nothing(self) -> None:
        """Nothing has no figures, and one place no slope."""
        self.assertRaises(ValueError, percentile, [], 0.5)
        self.assertRaises(ValueError, median, [])
        self.assertRaises(ValueError, slope, [])
        self.assertRaises(ValueError, slope, [(1.0, 1.0), (1.0, 2.0)])

    def test_slope(self) -> None:
        """Points on a line have its slope."""
        points = [(float(x), 3.0 * x + 7) for x in range(5)]
        self.assertAlmostEqual(slope(points), 3.0)


class TableTests(SynchronousTestCase):
    """Rows and what is judged of them."""

    def test_ratio(self) -> None:
        """With a peer the ratio is judged, without one the target has to name ours."""
        row = Row(
            name="in", ours=300, unit="/s", peer=100, target=Target("at least", 2)
        )
        self.assertEqual((row.ratio, row.reached), (3.0, True))
        alone = Row(name="in", ours=300, unit="/s", target=Target("at least", 2))
        self.assertEqual((alone.ratio, alone.reached), (None, None))

    def test_value(self) -> None:
        """A bound for our own value does not look at the ratio; the limit is outside."""
        row = Row(name="m", ours=5.0, unit="ms", target=Target("below", 5.0, "value"))
        self.assertIs(row.reached, False)
        self.assertIs(Target("at least", 2.0).reached(2.0), True)

    def test_no_figure(self) -> None:
        """What could not be measured reaches nothing."""
        self.assertIs(Target("below", 5.0).reached(math.nan), False)
        row = Row(name="in", ours=1, unit="/s", peer=0, target=Target("at least", 2))
        self.assertIs(row.reached, False)
        self.assertEqual(spell(math.nan, "ms"), "-")

    def test_digits(self) -> None:
        """Three digits count, and large numbers have their thousands apart."""
        self.assertEqual(spell(1.2345, "ms"), "1.23 ms")
        self.assertEqual(spell(12.345, "ms"), "12.3 ms")
        self.assertEqual(spell(12345.6, "/s"), "12,346 /s")

    def test_render(self) -> None:
        """Columns line up; notes and what was left out are below."""
        rows = [
            Row(name="a", ours=1, unit="/s", peer=2, peer_name="Peer", note="so it is"),
            Row(name="longer", ours=1000, unit="/s"),
        ]
        lines = render(rows, ["b: no peer"]).splitlines()
        self.assertEqual(lines[0].split()[:3], ["measured", "ours", "peer"])
        self.assertEqual(lines[2].index("1.00 /s") + 7, lines[3].index("1,000 /s") + 8)
        self.assertIn("0.50", lines[2])
        self.assertEqual(lines[-2:], ["  a: so it is", "  left out: b: no peer"])

    def test_wrk(self) -> None:
        """The units of wrk become milliseconds; what it does not say is refused."""
        self.assertEqual(read_wrk(WRK), Load(8745.12, 0.89, 1500.0))
        self.assertRaises(ValueError, read_wrk, "unable to connect")


class ImapTests(SynchronousTestCase):
    """What ends the answer to a command."""

    def test_ends(self) -> None:
        """It is the tagged line alone, and that is OK or an error."""
        self.assertTrue(ends(b"* 1 EXISTS\r\na3 OK [READ-WRITE] done.\r\n", b"a3 "))
        for told in (b"", b"a3 OK", b"* a3 OK\r\n", b"a33 OK\r\n", b"a3 OK\r\n* 1\r\n"):
            self.assertFalse(ends(told, b"a3 "), told)
        with self.assertRaises(RuntimeError):
            ends(b"* BYE\r\na3 NO too much\r\n", b"a3 ")


class MailsTests(SynchronousTestCase):
    """What is sent, and what is read back."""

    def test_thread(self) -> None:
        """A mail to an inbox answers the one before it, or begins anew."""
        mails = Mails("s", ["a@x.example", "b@x.example"])
        first, second = parse(mails.octets(1)), parse(mails.octets(3))
        self.assertEqual(str(second.to[0]), "b@x.example")
        self.assertEqual(first.message_id, mails.message_id(1))
        self.assertEqual(second.in_reply_to, (mails.message_id(1),))
        self.assertEqual(first.in_reply_to, ())

    def test_octets(self) -> None:
        """A mail is of about the size asked for, and can be sent without stuffing."""
        for number in range(100):
            octets = Mails("s", ["a@x.example"]).octets(number)
            self.assertLess(abs(len(octets) - 4096), 400)
            self.assertNotIn(b"\r\n.", octets)
            self.assertTrue(octets.endswith(b"\r\n"))

    def test_large(self) -> None:
        """The large mail is never larger than asked for, and nearly as large."""
        octets = large("a@x.example", 1_000_000)
        self.assertTrue(999_000 < len(octets) <= 1_000_000)
        self.assertEqual(len(attachments(parse(octets))), 1)

    @given(st.binary(max_size=200), st.integers(0, 1))
    def test_frame(self, payload: bytes, extended: int) -> None:
        """A frame is taken when it is whole, and what follows it is left."""
        length = bytes([len(payload)])
        if extended or len(payload) > 125:
            length = bytes([126]) + len(payload).to_bytes(2, "big")
        frame = b"\x81" + length + payload
        for end in range(len(frame)):
            self.assertIsNone(take_frame(bytearray(frame[:end])))
        octets = bytearray(frame + b"\x89")
        self.assertEqual(take_frame(octets), (1, payload))
        self.assertEqual(octets, b"\x89")
