"""Replies are read alike however they arrive."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.net.reply import MAX_LINE, MAX_LINES, Malformed, Reply, ReplyReader

LINES = st.lists(
    st.one_of(
        st.sampled_from([b"250 ok\r\n", b"250-a\r\n", b"354 go\n", b"220\r\n", b"9"]),
        st.binary(max_size=20),
    ),
    max_size=12,
)


def read(*pieces: bytes) -> list[object]:
    """The replies before any complaint, and whether there was one."""
    reader, found = ReplyReader(), list[object]()
    try:
        for piece in pieces:
            for reply in reader.feed(piece):
                found.append(reply)
    except Malformed as error:
        found.append(str(error))
    return found


def one(octets: bytes) -> Reply:
    (reply,) = ReplyReader().feed(octets)
    return reply


class ReplyTests(SynchronousTestCase):
    """RFC 5321, 4.2."""

    @settings(deadline=None, max_examples=300)
    @given(LINES)
    @example([b"250-x\r\n250 y\r\n", b"25"])
    @example([b"250 " + b"x" * MAX_LINE + b"\r\n"])
    def test_byte_by_byte(self, lines: list[bytes]) -> None:
        """One octet at a time gives what all at once gives."""
        octets = b"".join(lines)
        singly = [octets[i : i + 1] for i in range(len(octets))]
        self.assertEqual(read(octets), read(*singly))

    def test_lines_are_joined(self) -> None:
        """A reply of many lines is one, and its enhanced code is told apart."""
        reply = one(b"550-5.7.1 No,\r\n550 5.7.1 never.\r\n")
        self.assertEqual(
            (reply.code, reply.enhanced, reply.text), (550, "5.7.1", "No, never.")
        )

    def test_enhanced_code_must_agree(self) -> None:
        """A class other than the code's is text, and zeros stand for the code."""
        reply = one(b"450 5.1.1 what\r\n")
        self.assertEqual(reply.enhanced, "4.0.0")
        self.assertEqual(one(b"250\r\n").enhanced, "2.0.0")
        self.assertEqual(one(b"250\r\n").text, "")

    def test_text_is_harmless(self) -> None:
        """Control characters, directions and bad UTF-8 do not get through; length does."""
        reply = one(b"550 a\0b\x1b[31m\xe2\x80\xaec\xffd\r\n")
        self.assertEqual(reply.text, "a b [31m c\N{REPLACEMENT CHARACTER}d")
        self.assertEqual(len(one(b"550 " + b"x" * 1500 + b"\r\n").text), 500)

    def test_bounds(self) -> None:
        """A line or a reply without end is given up."""
        self.assertEqual(read(b"2" * (MAX_LINE + 1)), ["It sent a line without end."])
        self.assertEqual(
            read(b"250-x\r\n" * (MAX_LINES + 1)),
            ["It sent a reply of too many lines."],
        )

    def test_nonsense(self) -> None:
        """What is no reply ends the reading, after what came before it."""
        (first, complaint) = read(b"220 hello\r\nHTTP/1.1 400 Bad Request\r\n")
        self.assertIsInstance(first, Reply)
        self.assertIn("HTTP/1.1 400", str(complaint))
        self.assertEqual(
            read(b"250-a\r\n251 b\r\n"), ["It changed the code within a reply."]
        )
