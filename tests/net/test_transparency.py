"""No message says anything to the next host but itself."""

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.net.transparency import Transparency

ODD = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b"x", b"\0", b"\xff"]),
    max_size=30,
)


def sent(*pieces: bytes) -> bytes:
    """What goes over the wire for a message in these pieces."""
    stuffing = Transparency()
    return b"".join([*map(stuffing.feed, pieces), stuffing.finish()])


def received(wire: bytes) -> bytes:
    """The message that RFC 5321, 4.5.2 lets a server see, if the wire ends with it."""
    *lines, last = wire.split(b"\r\n")
    assert last == b"" and lines.pop() == b".", wire
    assert b"." not in lines, wire
    assert not any(b"\r" in line or b"\n" in line for line in lines), wire
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


def canonical(octets: bytes) -> bytes:
    """The octets with CRLF for each line end, and one at the end unless empty."""
    octets = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


class TransparencyTests(SynchronousTestCase):
    """What a server sees is what was sent, wherever the pieces were cut."""

    @settings(deadline=None, max_examples=500)
    @given(ODD, st.lists(st.integers(0, 60), max_size=6))
    def test_any_octets_in_any_split(self, parts: list[bytes], cuts: list[int]) -> None:
        """Undoing the dots gives the message back, and nothing ends it early."""
        octets = b"".join(parts)
        borders = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
        pairs = pairwise(borders)
        pieces = [octets[start:end] for start, end in pairs]
        self.assertEqual(received(sent(*pieces)), canonical(octets))

    def test_a_split_changes_nothing(self) -> None:
        """Each way to cut a hostile message in two gives the same wire."""
        hostile = b"a\r\n.\r\nMAIL FROM:<x@example.com>\r\n..\r\n\n.\r\n\r.\r"
        whole = sent(hostile)
        for cut in range(len(hostile) + 1):
            self.assertEqual(sent(hostile[:cut], hostile[cut:]), whole)

    def test_dot_after_a_border(self) -> None:
        """A line end at the end of a piece and a dot at the start of the next."""
        self.assertEqual(sent(b"a\r\n", b".\r\nb"), b"a\r\n..\r\nb\r\n.\r\n")
        self.assertEqual(sent(b"a\r", b"\n.\r\nb"), b"a\r\n..\r\nb\r\n.\r\n")
        self.assertEqual(sent(b"a\n", b".\nb"), b"a\r\n..\r\nb\r\n.\r\n")

    def test_bare_line_ends(self) -> None:
        """What another host might take for a line end is one here too."""
        self.assertEqual(sent(b"a\n.\nb\r.\rc"), b"a\r\n..\r\nb\r\n..\r\nc\r\n.\r\n")

    def test_nothing(self) -> None:
        """An empty message is a final dot."""
        self.assertEqual(sent(), b".\r\n")
        self.assertEqual(sent(b""), b".\r\n")
        self.assertEqual(sent(b"\r"), b"\r\n.\r\n")
