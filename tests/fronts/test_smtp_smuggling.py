"""No mail hides in another, however its octets are written and cut."""

from __future__ import annotations

from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fronts.smtp_edge import MemoryReceiving, connect, edge_factory, talk

HEAD = b"EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<agent@example.com>\r\nDATA\r\n"
INNER = (
    b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<agent@example.com>\r\nDATA\r\nhid\r\n"
)
BREAKS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n", b"\0\r\n", b"\r\0\n", b"")
ENDS = [
    before + b"." + after
    for before, after in product(BREAKS, BREAKS)
    if b"\r\n.\r\n" not in before + b"." + after
]


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    """The octets in pieces."""
    edges = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges) if a < b]


class EndOfDataTests(SynchronousTestCase):
    def test_only_one_end(self) -> None:
        """Nothing but CRLF.CRLF ends the data, in any cut around it."""
        for end in ENDS:
            probe = HEAD + b"one" + end + INNER + b".\r\n"
            whole, mails = talk(probe)
            # One reply to the data, and none to what it holds.
            self.assertEqual(whole.count(b"354 "), 1, end)
            self.assertEqual(whole.count(b"250 2.1.0"), 1, end)
            self.assertLessEqual(len(mails), 1, end)
            at = probe.index(b"one")
            for size in range(1, 6):
                for start in range(at, at + 12):
                    pieces = cut(probe, [start, start + size])
                    self.assertEqual(talk(pieces), (whole, mails), (end, start, size))
            self.assertEqual(talk(cut(probe, list(range(len(probe)))))[0], whole, end)

    def test_bare(self) -> None:
        """A bare CR or LF refuses the whole data, at its true end."""
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n"):
            said, mails = talk(HEAD + b"one" + end + INNER + b".\r\nNOOP\r\n")
            self.assertEqual(mails, [], end)
            replies = said.split(b"\r\n")[-4:]
            self.assertTrue(replies[0].startswith(b"354 "), end)
            self.assertTrue(replies[1].startswith(b"550 5.6.0 "), end)
            self.assertEqual(replies[2:], [b"250 2.0.0 OK", b""], end)

    def test_bare_lf_taken(self) -> None:
        """With bare_lf an LF ends a line, but never the data; a bare CR is refused."""
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n"):
            _, mails = talk(HEAD + b"one" + end + INNER + b".\r\n", bare_lf=True)
            lines = (b"one" + end + INNER).replace(b"\r\n", b"\n")
            # The dot of transparency of CRLF "." LF is gone.
            lines = lines.replace(
                b"one\n.\n", b"one\n\n" if end[0] == 13 else b"one\n.\n"
            )
            self.assertEqual(mails, [lines.replace(b"\n", b"\r\n")], end)
        said, mails = talk(HEAD + b"one\r.\r\n.\r\n", bare_lf=True)
        self.assertEqual(mails, [])
        self.assertIn(b"550 5.6.0 ", said)

    def test_long_lines(self) -> None:
        """A line beyond Twisted's 16 KiB is data, and what follows it is, too."""
        data = b"A" * 20000 + b"\r\n" + INNER
        said, mails = talk(HEAD + data + b".\r\n", size_limit=1 << 20)
        self.assertEqual(mails, [data])
        self.assertEqual(said.count(b"354 "), 1)

    def test_nul(self) -> None:
        """NUL is one of the 128 codes that data may hold."""
        self.assertEqual(talk(HEAD + b"a\0b\r\n.\r\n")[1], [b"a\0b\r\n"])


SCRAPS = st.sampled_from(
    [
        b"EHLO c\r\n",
        b"MAIL FROM:<a@example.net>\r\n",
        b"RCPT TO:<agent@example.com>\r\n",
        b"RCPT TO:<nobody@example.com>\r\n",
        b"DATA\r\n",
        b"BDAT 4\r\nab\r\n",
        b"BDAT 3 LAST\r\nxyz",
        b"BDAT 0 LAST\r\n",
        b"BDAT 99999\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"STARTTLS\r\n",
        b".\r\n",
        b"\r\n",
        b"\r\n.\r\n",
        b".",
        b"\r",
        b"\n",
        b"\0",
        b"Subject: x\r\n",
        b"x" * 700,
        b"VRFY " + b"y" * 2040,
        b"\xff\xc3\xa9",
    ]
)


class SegmentTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=400)
    @given(
        st.lists(SCRAPS | st.binary(max_size=20), max_size=30).map(b"".join),
        st.lists(st.integers(0, 5000), max_size=40),
        st.booleans(),
        st.booleans(),
    )
    def test_cuts(
        self, octets: bytes, places: list[int], bare_lf: bool, head: bool
    ) -> None:
        """Any octets get the same replies and leave the same mail in any cut."""
        if head:
            octets = HEAD + octets
        whole = talk(octets, bare_lf=bare_lf)
        self.assertEqual(talk(cut(octets, places), bare_lf=bare_lf), whole)

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.binary(max_size=300), max_size=20))
    def test_anything(self, pieces: list[bytes]) -> None:
        """Octets of any kind raise nothing, and replies are lines of printable ASCII."""
        receiving = MemoryReceiving()
        edge, transport = connect(edge_factory(receiving))
        for piece in pieces:
            edge.dataReceived(piece)
        said = transport.value()
        self.assertRegex(said, rb"\A(?:[2-5][0-9][0-9][ -][ -~]*\r\n)+\Z")
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(st.sampled_from([b".", b"..", b"a", b"\r\n", b".\r\n.", b" "])),
        st.lists(st.integers(0, 500), max_size=10),
    )
    def test_transparency(self, scraps: list[bytes], places: list[int]) -> None:
        """What a client stuffs as RFC 5321, 4.5.2 has it, is what is received."""
        content = b"".join(scraps) + b"\r\n"
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        _, mails = talk(cut(HEAD + stuffed + b".\r\n", places), size_limit=10000)
        self.assertEqual(mails, [content])
