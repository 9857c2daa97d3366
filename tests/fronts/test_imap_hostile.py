"""IMAP under attack: commands within literals, endless input, deep nesting."""

from __future__ import annotations

from time import process_time

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.imap_mail import MemoryMail
from tests.fronts.imap_session import Client, imap_factory, memory_mail
from tests.pace import within

DEEP = 10_000
# What a line and a command may have by default.
LINE, COMMAND = 65_536, 131_072
# Processor time, in seconds, for what comes of one line; with all that a slow machine
# needs, far from what anything quadratic would take.
A_MOMENT = 1.0


def opened(mail: MemoryMail | None = None) -> Client:
    """A session with the INBOX open and the limits of the default settings."""
    factory = imap_factory(
        mail or memory_mail(), line_limit=LINE, command_limit=COMMAND
    )
    client = Client(factory)
    client.says(b"s SELECT INBOX")
    return client


class SmugglingTests(SynchronousTestCase):
    """What is within a literal is never a command, whatever became of its command."""

    def test_in_literal(self) -> None:
        """A literal of a command that takes none, or takes it elsewhere."""
        inner = b"x EXPUNGE\r\n"
        for outer in (
            *(b"NOOP %b", b"XYZZY %b", b"FETCH %b", b"STORE 1 %b", b"UID %b"),
            *(b"SELECT %b", b"CREATE %b", b"SEARCH SUBJECT %b", b"APPEND %b INBOX"),
            *(b"APPEND INBOX (\\Seen %b", b"APPEND INBOX %b junk", b"APPEND No %b"),
            *(b'LOGIN "%b', b"LIST %b %b", b"ID (%b %b)", b"GETQUOTA %b"),
        ):
            mail = memory_mail()
            client = opened(mail)
            literal = b"{%d+}\r\n%b" % (len(inner), inner)
            heard = client.says(b"a " + outer.replace(b"%b", literal))
            self.assertNotRegex(heard, rb"(?m)^x ", outer)
            self.assertNotIn("expunge", mail.calls, outer)

    def test_unreadable_size(self) -> None:
        """A literal's octets are no command, however its size is written."""
        for size in (b"0" * 30 + b"11", b"9" * 30, b"9" * 5000):
            client = opened()
            heard = client.says(b"a SELECT {%b+}\r\nx CREATE y\r\n" % size)
            self.assertNotRegex(heard, rb"(?m)^x ")

    def test_refused_literal(self) -> None:
        """A literal that waits and is refused does not come; the next line counts."""
        for verb in (b"SELECT", b"APPEND INBOX", b"APPEND", b"SEARCH TEXT"):
            client = opened()
            heard = client.says(b"a " + verb + b" {4294967295}")
            self.assertRegex(heard, rb"\Aa NO \[TOOBIG\] [^\r]+\r\n\Z")
            self.assertIn(b"b OK", client.says(b"b NOOP"))

    def test_endless_literal(self) -> None:
        """One that comes at once, and that nobody would read, is the end."""
        for verb in (b"SELECT", b"APPEND INBOX", b"APPEND", b"SEARCH TEXT"):
            client = opened()
            heard = client.says(b"a " + verb + b" {4294967295+}\r\nx NOOP")
            self.assertIn(b"* BYE [TOOBIG]", heard)
            self.assertTrue(client.transport.disconnecting)

    def test_line_ends(self) -> None:
        """A line ends with CRLF; a bare CR or LF, or a NUL, is the end of all."""
        for octets in (b"\n", b"\r", b"\0", b"\n\r", b'"\n"'):
            mail = memory_mail()
            client = opened(mail)
            mail.calls.clear()
            heard = client.says(b"a NOOP" + octets + b"x CREATE y")
            self.assertRegex(heard, rb"\A\* BYE [^\r\n]+\r\n\Z")
            self.assertEqual(mail.calls, [])

    def test_eight_bits(self) -> None:
        """Eight bits where none belong are refused, and not said again."""
        for command in (
            *(b"\xff NOOP", b"a \xff", b"a FETCH 1 \xff", b"a STORE 1 +FLAGS (\xff)"),
            *(b"a SELECT \xff", b'a SELECT "\xff"', b"a SEARCH \xff", b"a ID (\xff)"),
        ):
            heard = opened().says(command)
            self.assertRegex(heard, rb"\A(a|\*) (BAD|NO) [\x20-\x7e]+\r\n\Z")


class CostTests(SynchronousTestCase):
    """A line costs what its length is worth, and no more."""

    def quick(self, line: bytes) -> bytes:
        """What is heard of a line; it must not take long."""
        client = opened()
        begun = process_time()
        heard = client.says(line)
        self.assertLess(process_time() - begun, within(A_MOMENT), line[:40])
        return heard

    def test_nesting(self) -> None:
        """Parentheses, NOT and OR, thousands within each other."""
        within = b"(" * DEEP + b"%b" + b")" * DEEP
        for line in (
            b"SEARCH " + within % b"ALL",
            b"SEARCH " + b"NOT " * DEEP + b"ALL",
            b"SEARCH " + b"OR ALL " * 9000 + b"ALL",
            *(b"FETCH 1 " + within % b"UID", b"LIST " + within % b"", b"ID " + within),
            b"STORE 1 FLAGS " + within % b"",
            b"FETCH 1 BODY[" + b"1." * 30_000 + b"1]",
        ):
            self.assertIn(b"a BAD ", self.quick(b"a " + line))

    def test_sets(self) -> None:
        """Sets of thousands of numbers, of overlapping ranges, and too many."""
        ids = b",".join(b"%d" % uid for uid in range(1, 3001, 2))
        three = b"* 1 FETCH (UID 1)\r\n* 3 FETCH (UID 3)\r\na OK"
        self.assertIn(three, self.quick(b"a UID FETCH " + ids + b" UID"))
        overlapping = b"1:*," * 15_000 + b"1:4294967295"
        for line in (b"UID FETCH %b UID", b"UID SEARCH UID %b", b"UID COPY %b Trash"):
            self.assertIn(b"a OK", self.quick(b"a " + line % overlapping))
        self.assertIn(b"* BYE [LIMIT]", self.quick(b"a FETCH " + b"1," * 50_000 + b"1"))

    def test_items(self) -> None:
        """Thousands of FETCH items, header fields, flags and capabilities."""
        for line in (
            b"UID FETCH 1:4294967295 (" + b"UID " * 1500 + b"UID)",
            b"FETCH 1 BODY[HEADER.FIELDS (" + b"x " * 30_000 + b"x)]",
            b"STORE 1 FLAGS (" + b"x " * 30_000 + b"x)",
            b"ENABLE " + b"x " * 30_000 + b"x",
            b"SEARCH LARGER " + b"9" * 60_000,
            b'LIST "" "' + b"*%" * 30_000 + b'"',
        ):
            self.assertIn(b"a BAD ", self.quick(b"a " + line))

    def test_patterns(self) -> None:
        """Wildcards that match in many ways."""
        for pattern in (b"*a" * 400, b"*%" * 400 + b"b"):
            self.assertIn(b"a OK", self.quick(b'a LIST "" "' + pattern + b'"'))

    def test_literals(self) -> None:
        """Thousands of literals without octets."""
        self.quick(b"a SEARCH " + b"{0+}\r\n" * 25_000)
        self.quick(b"a ID (" + b"{0+}\r\n " * 15_000 + b")")

    def test_pipelined(self) -> None:
        """Megabytes of commands wait their turn outside, but for a few."""
        mail = memory_mail()
        client = opened(mail)
        mail.calls.clear()
        client.session.pauseProducing()
        for _ in range(40):
            client.sends(b"a UID FETCH 1:* (FLAGS)\r\n" * 2000)
            if client.transport.producerState == "paused":
                break
        self.assertEqual(client.transport.producerState, "paused")
        self.assertLess(len(mail.calls), 10)


class BeforeLoginTests(SynchronousTestCase):
    """Who has not logged in has little room and little time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.mail = memory_mail()
        self.factory = imap_factory(
            self.mail, clock=self.clock, line_limit=LINE, command_limit=COMMAND
        )
        self.client = Client(self.factory, login=False)

    def test_slow(self) -> None:
        """An octet every few seconds does not hold the connection for long."""
        heard = b""
        for octet in b"a LOGIN agent@example.com " + b"x" * 100:
            heard += self.client.sends(bytes([octet]))
            self.clock.advance(5)
            if self.client.transport.disconnecting:
                break
        self.assertIn(b"* BYE [UNAVAILABLE]", heard + self.client.heard())
        self.assertLessEqual(self.clock.seconds(), 65)
        self.assertEqual(self.mail.calls, [])

    def test_slow_literal(self) -> None:
        """Nor within a literal."""
        self.client.says(b"a LOGIN {100}")
        for _ in range(13):
            self.client.sends(b"x")
            self.clock.advance(5)
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(self.mail.calls, [])

    def test_literals(self) -> None:
        """Literals are small, one by one and together."""
        self.assertIn(b"a NO [TOOBIG]", self.client.says(b"a LOGIN {8193}"))
        heard = self.client.sends(b"b LOGIN " + b"{0+}\r\n" * 5000)
        self.assertIn(b"* BYE [TOOBIG]", heard)
        self.assertEqual(self.mail.calls, [])

    def test_no_use_case(self) -> None:
        """Nothing but a whole, sound login reaches the database."""
        for line in (
            *(b"a LOGIN", b"a LOGIN x", b"a LOGIN {3+}\r\nx\0y z", b"a LOGIN x y z"),
            *(b"a AUTHENTICATE PLAIN AAAA", b"a AUTHENTICATE LOGIN", b"a IDLE"),
            *(b"a AUTHENTICATE PLAIN =", b"a AUTHENTICATE PLAIN " + b"A" * 60_000),
            *(b"a SELECT INBOX", b"a APPEND INBOX {3+}\r\nabc", b"a UID FETCH 1 UID"),
            *(b"a SEARCH TEXT {3+}\r\nabc", b'a LIST "" *', b"a COMPRESS DEFLATE"),
        ):
            Client(self.factory, login=False).says(line)
        self.assertEqual(self.mail.calls, [])
