"""IMAP sessions: what one hears of another, and what a client cannot do to us."""

from __future__ import annotations

import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.access import PRESETS
from noinfra.fronts.imap.factory import TurnedAway
from noinfra.fronts.imap.refusals import Stopping
from noinfra.fronts.logins import LONGEST, PATIENCE, BadLogins
from noinfra.mail.imap.parse import PARSERS, SEARCHES
from tests.fakes.imap_mail import MemoryMail
from tests.fronts.dialogue import connected
from tests.fronts.imap_session import (
    FIRST,
    SECOND,
    THIRD,
    Client,
    connect,
    imap_factory,
    memory_mail,
)


def pair(mail: MemoryMail) -> tuple[Client, Client]:
    """Two sessions with the INBOX open."""
    factory = imap_factory(mail)
    one, other = Client(factory), Client(factory)
    one.says(b"s SELECT INBOX")
    other.says(b"s SELECT INBOX")
    return one, other


class SessionsTests(SynchronousTestCase):
    """What one session hears of what others do, and when."""

    def setUp(self) -> None:
        self.mail = memory_mail()
        self.one, self.other = pair(self.mail)

    def test_arrival(self) -> None:
        """New mail is told at the next command, whichever."""
        self.mail.deliver(FIRST)
        self.assertEqual(self.one.heard(), b"")
        heard = self.one.says(b"a FETCH 1 UID")
        self.assertEqual(
            heard, b"* 1 FETCH (UID 1)\r\n* 4 EXISTS\r\na OK FETCH completed.\r\n"
        )

    def test_expunge_waits(self) -> None:
        """No number changes while a command names numbers; the next NOOP tells."""
        self.other.says(b"a STORE 1:2 +FLAGS (\\Deleted)")
        self.other.says(b"b EXPUNGE")
        for command in (b"FETCH 3 UID", b"SEARCH ALL", b"STORE 3 +FLAGS (x)"):
            self.assertNotIn(b"EXPUNGE\r\n", self.one.says(b"a " + command))
        self.assertIn(b"* 3 FETCH (UID 3)", self.one.says(b"b FETCH 3 UID"))
        self.assertEqual(
            self.one.says(b"c NOOP"),
            b"* 2 EXPUNGE\r\n* 1 EXPUNGE\r\nc OK NOOP completed.\r\n",
        )
        self.assertIn(b"* 1 FETCH (UID 3)", self.one.says(b"d FETCH 1 UID"))

    def test_arrival_before_expunge(self) -> None:
        """What came counts from where the client is, expunged numbers and all."""
        self.other.says(b"a STORE 1 +FLAGS (\\Deleted)")
        self.other.says(b"b EXPUNGE")
        self.mail.deliver(FIRST)
        self.assertIn(b"* 4 EXISTS", self.one.says(b"c FETCH 2 UID"))
        self.assertIn(b"* 1 EXPUNGE\r\nd OK", self.one.says(b"d NOOP"))
        self.assertIn(b"* 3 FETCH (UID 4)", self.one.says(b"e FETCH 3 UID"))

    def test_gone_messages(self) -> None:
        """A number whose message is gone answers nothing, and says why."""
        self.other.says(b"a STORE 1 +FLAGS (\\Deleted)")
        self.other.says(b"b EXPUNGE")
        self.assertIn(b"a OK [EXPUNGEISSUED]", self.one.says(b"a FETCH 1:2 UID"))
        self.assertIn(b"b OK [EXPUNGEISSUED]", self.one.says(b"b STORE 1 +FLAGS (x)"))

    def test_flags(self) -> None:
        """Others' flags are told, our own are not told twice."""
        self.assertEqual(
            self.one.says(b"a STORE 1 +FLAGS.SILENT (\\Answered)"),
            b"a OK STORE completed.\r\n",
        )
        self.assertEqual(self.one.says(b"b NOOP"), b"b OK NOOP completed.\r\n")
        self.assertEqual(
            self.other.says(b"a NOOP"),
            b"* 1 FETCH (UID 1 FLAGS (\\Answered))\r\na OK NOOP completed.\r\n",
        )

    def test_own_change_overtaken(self) -> None:
        """A change of ours that another has changed since is told."""
        waiting: list[Deferred[None]] = []

        def delay() -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.mail.delay = delay
        self.one.says(b"a STORE 1 +FLAGS.SILENT (\\Answered)")
        waiting.pop().callback(None)  # it is stored; now it asks for news
        self.mail.delay = MemoryMail().delay
        self.other.says(b"b STORE 1 +FLAGS (\\Draft)")
        waiting.pop().callback(None)
        self.assertIn(b"FLAGS (\\Answered \\Draft)", self.one.heard())

    def test_idle(self) -> None:
        """In IDLE all is told at once."""
        self.one.says(b"a IDLE")
        self.mail.deliver(FIRST)
        self.assertEqual(self.one.heard(), b"* 4 EXISTS\r\n")
        self.other.says(b"a STORE 1 +FLAGS (\\Deleted)")
        self.assertEqual(self.one.heard(), b"* 1 FETCH (UID 1 FLAGS (\\Deleted))\r\n")
        self.other.says(b"b EXPUNGE")
        self.assertEqual(self.one.heard(), b"* 1 EXPUNGE\r\n")
        self.assertEqual(self.one.says(b"DONE"), b"a OK IDLE completed.\r\n")

    def test_moved_away(self) -> None:
        """With QRESYNC what is gone is told by UID."""
        self.one.says(b"a ENABLE QRESYNC")
        self.other.says(b"a MOVE 1:2 Trash")
        self.assertEqual(
            self.one.says(b"b NOOP"), b"* VANISHED 1:2\r\nb OK NOOP completed.\r\n"
        )

    def test_forgotten(self) -> None:
        """Where expunges are not remembered, what is left tells what is gone."""
        self.other.says(b"a STORE 2 +FLAGS (\\Deleted)")
        self.other.says(b"b EXPUNGE")
        self.mail.remembered = 100
        self.assertIn(b"* 2 EXPUNGE", self.one.says(b"a NOOP"))

    def test_forgotten_resync(self) -> None:
        """So it does for a client that was away, but for what it surely knows."""
        self.other.says(b"a STORE 2 +FLAGS (\\Deleted)")
        self.other.says(b"b EXPUNGE")
        self.mail.remembered = 100
        self.one.says(b"a ENABLE QRESYNC")
        heard = self.one.says(b"b SELECT INBOX (QRESYNC (1 2))")
        self.assertIn(b"* VANISHED (EARLIER) 2\r\n", heard)
        heard = self.one.says(b"c SELECT INBOX (QRESYNC (1 2 1:3 (1:2 1,3)))")
        self.assertNotIn(b"VANISHED", heard)

    def test_resync_meanwhile(self) -> None:
        """What happens during SELECT is told by the next command, and only once."""
        self.one.says(b"a ENABLE QRESYNC")
        waiting: list[Deferred[None]] = []

        def delay() -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.mail.delay = delay
        self.one.says(b"b SELECT INBOX (QRESYNC (1 2))")
        waiting.pop().callback(None)  # it is open; now it asks for what was missed
        self.mail.delay = MemoryMail().delay
        self.other.says(b"a STORE 2 +FLAGS (\\Deleted)")
        self.other.says(b"b EXPUNGE")
        waiting.pop().callback(None)
        heard = self.one.heard()
        self.assertIn(b"* 3 EXISTS", heard)
        self.assertNotIn(b"VANISHED", heard)
        self.assertIn(b"* VANISHED 2\r\nc OK", self.one.says(b"c NOOP"))

    def test_resync_last(self) -> None:
        """A client that was away hears of the last message that is gone, too."""
        self.other.says(b"a STORE 2:3 +FLAGS (\\Deleted)")
        self.other.says(b"b EXPUNGE")
        self.one.says(b"a ENABLE QRESYNC")
        heard = self.one.says(b"b SELECT INBOX (QRESYNC (1 2))")
        self.assertIn(b"* VANISHED (EARLIER) 2:3\r\n", heard)
        heard = self.one.says(b"c UID FETCH 1:* FLAGS (CHANGEDSINCE 2 VANISHED)")
        self.assertIn(b"* VANISHED (EARLIER) 2:3\r\n", heard)

    def test_folder_deleted(self) -> None:
        """Who has a mailbox open that is deleted has to go."""
        self.other.says(b"a CREATE Work")
        self.one.says(b"a SELECT Work")
        self.other.says(b"b DELETE Work")
        self.assertEqual(
            self.one.says(b"b NOOP"),
            b"* BYE [NONEXISTENT] Work was deleted. Closing.\r\n",
        )
        self.assertTrue(self.one.transport.disconnecting)

    def test_keywords(self) -> None:
        """A keyword is named before it is seen."""
        self.other.says(b"a STORE 1 +FLAGS ($X)")
        heard = self.one.says(b"a NOOP").split(b"\r\n")
        self.assertIn(b"$X", heard[0])
        self.assertTrue(heard[0].startswith(b"* FLAGS ("))
        self.assertEqual(heard[2], b"* 1 FETCH (UID 1 FLAGS ($X))")

    def test_watchers_go(self) -> None:
        """A connection that ends is told of nothing any more."""
        self.assertEqual(len(self.mail.watchers), 2)
        self.one.session.connectionLost()
        self.assertEqual(len(self.mail.watchers), 1)


class AccessTests(SynchronousTestCase):
    """Keys that may not do everything, or nothing any more."""

    def test_read_only(self) -> None:
        """A key that may only read opens all read-only, and changes nothing."""
        mail = memory_mail()
        mail.permissions = PRESETS["read-only"]
        client = Client(imap_factory(mail))
        self.assertIn(b"a OK [READ-ONLY]", client.says(b"a SELECT INBOX"))
        client.says(b"b FETCH 1 BODY[]")
        for command in (
            *(b"STORE 1 +FLAGS (x)", b"EXPUNGE", b"COPY 1 Trash", b"MOVE 1 Trash"),
            *(
                b"CREATE x",
                b"DELETE x",
                b"RENAME x y",
                b"SUBSCRIBE x",
                b"UNSUBSCRIBE x",
            ),
            *(b"APPEND INBOX {5}", b"APPEND INBOX {3+}\r\nabc", b"UID EXPUNGE 1"),
        ):
            self.assertIn(b"c NO [NOPERM]", client.says(b"c " + command), command)
        client.says(b"d CLOSE")
        self.assertEqual(set(mail.calls) - {"login", "open", "rows", "changes"}, set())

    def test_revoked(self) -> None:
        """A key that was revoked ends its connections, idle or not."""
        mail = memory_mail()
        factory = imap_factory(mail)
        idle, between, other = (
            Client(factory),
            Client(factory),
            Client(factory, login=False),
        )
        idle.says(b"a IDLE")
        mail.good = False
        factory.recheck()
        for client in (idle, between):
            self.assertTrue(client.heard().startswith(b"* BYE [EXPIRED]"))
            self.assertTrue(client.transport.disconnecting)
        self.assertFalse(other.transport.disconnecting)

    def test_revoked_at_work(self) -> None:
        """Within a command it ends, too, and nothing is said behind the reason."""
        mail = memory_mail()
        factory = imap_factory(mail)
        client = Client(factory)
        waiting: Deferred[None] = Deferred()
        mail.delay = lambda: waiting
        client.says(b"a SELECT INBOX")
        mail.good = False
        factory.recheck("key_1")
        waiting.callback(None)
        self.assertRegex(client.heard(), rb"\A\* BYE \[EXPIRED\] [^\r]+\r\n\Z")
        self.assertTrue(client.transport.disconnecting)

    def test_no_database_before_login(self) -> None:
        """Whatever is said before login, the use cases hear of the login alone."""
        mail = memory_mail()
        for verb in (*PARSERS, *SEARCHES, "APPEND"):
            if verb in ("LOGIN", "AUTHENTICATE"):
                continue
            client = Client(imap_factory(mail), login=False)
            client.says(f"a {verb} INBOX (MESSAGES)".encode())
            client.says(f"a {verb}".encode())
        self.assertEqual(mail.calls, [])

    def test_clear(self) -> None:
        """No password goes in clear."""
        mail = memory_mail()
        client = Client(imap_factory(mail), secure=False, login=False)
        self.assertIn(b"LOGINDISABLED", client.greeting)
        self.assertNotIn(b"AUTH=", client.greeting)
        for command in (b"LOGIN agent@example.com secret", b"AUTHENTICATE PLAIN"):
            self.assertIn(b"a NO [PRIVACYREQUIRED]", client.says(b"a " + command))
        self.assertEqual(mail.calls, [])


class BadLoginTests(SynchronousTestCase):
    """Guessing is slow, and does not lock the owner out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.mail = memory_mail()
        bad_logins = BadLogins(self.clock.seconds)
        self.factory = imap_factory(self.mail, clock=self.clock, bad_logins=bad_logins)

    def try_login(self, peer: str, secret: bytes) -> tuple[bytes, bytes]:
        """What is heard of a login at once, and after a while."""
        session, transport = connect(self.factory, peer)
        transport.clear()
        session.dataReceived(b"a LOGIN agent@example.com " + secret + b"\r\n")
        at_once: bytes = transport.value()
        self.clock.advance(LONGEST)
        later: bytes = transport.value()
        session.connectionLost()
        return at_once, later

    def test_held_back(self) -> None:
        """The answer to a wrong secret takes its time, to the right one none."""
        at_once, later = self.try_login("192.0.2.9", b"x")
        self.assertEqual(at_once, b"")
        self.assertIn(b"a NO [AUTHENTICATIONFAILED]", later)
        self.assertIn(b"a OK", self.try_login("192.0.2.9", b"secret")[0])

    def test_shut_out(self) -> None:
        """Who failed very often is not listened to, but where the owner has been."""
        self.try_login("192.0.2.1", b"secret")
        for _ in range(PATIENCE + 2):
            for peer in ("192.0.2.1", "192.0.2.9"):
                self.factory.bad_logins.failed(peer, "agent@example.com")
        self.mail.calls.clear()
        self.assertIn(b"a NO [LIMIT]", self.try_login("192.0.2.9", b"secret")[0])
        self.assertEqual(self.mail.calls, [])
        self.assertIn(b"a OK", self.try_login("192.0.2.1", b"secret")[0])

    def test_gone_meanwhile(self) -> None:
        """Who leaves before the answer costs nothing more."""
        session, _ = connect(self.factory)
        session.dataReceived(b"a LOGIN agent@example.com x\r\n")
        session.connectionLost()
        self.clock.advance(LONGEST)
        self.assertEqual(len(self.factory._visitors), 0)


class BoundsTests(SynchronousTestCase):
    """What one client may take of us."""

    def test_login_time(self) -> None:
        """Who does not log in is sent away, however busy."""
        clock = Clock()
        client = Client(imap_factory(memory_mail(), clock=clock), login=False)
        for _ in range(5):
            clock.advance(11)
            client.says(b"a NOOP")
        clock.advance(11)
        self.assertIn(b"* BYE [UNAVAILABLE]", client.heard())

    def test_idle_time(self) -> None:
        """Who is silent for too long is sent away; half an hour is not too long."""
        clock = Clock()
        client = Client(imap_factory(memory_mail(), clock=clock))
        client.says(b"a IDLE")
        clock.advance(1800)
        self.assertEqual(client.heard(), b"")
        clock.advance(61)
        self.assertIn(b"* BYE [UNAVAILABLE]", client.heard())

    def test_rate(self) -> None:
        """Who gives commands too fast waits, and loses none."""
        clock = Clock()
        client = Client(imap_factory(memory_mail(), clock=clock, rate=10.0, burst=5))
        heard = client.sends(b"".join(b"%d NOOP\r\n" % n for n in range(20)))
        self.assertLess(heard.count(b"OK"), 8)
        clock.pump([0.05] * 60)
        heard += client.heard()
        self.assertEqual(heard.count(b"OK NOOP"), 20)

    def test_errors(self) -> None:
        """Who says nothing but nonsense is sent away, sooner before login."""
        for login, most in ((False, 15), (True, 250)):
            client = Client(imap_factory(memory_mail()), login=login)
            count = 0
            while not client.transport.disconnecting and count < most:
                client.says(b"a XYZZY")
                count += 1
            self.assertTrue(client.transport.disconnecting)

    def test_connections(self) -> None:
        """There are so many connections, and so many from one address."""
        factory = imap_factory(memory_mail(), connections=2, connections_per_address=1)
        connect(factory, "192.0.2.1")
        for peer in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            protocol = factory.buildProtocol(type("A", (), {"host": peer})())
            if peer == "192.0.2.2":
                self.assertNotIsInstance(protocol, TurnedAway)
                continue
            self.assertIsInstance(protocol, TurnedAway)
            transport = connected(protocol, peer)
            self.assertTrue(transport.value().startswith(b"* BYE [LIMIT]"))

    def test_long_line(self) -> None:
        """A line without an end is the end."""
        client = Client(imap_factory(memory_mail()))
        heard = b""
        for _ in range(10):
            heard += client.sends(b"a" * 1000)
        self.assertIn(b"* BYE [LIMIT]", heard)

    def test_input_waits(self) -> None:
        """While a command is at work, no more than a little input is taken."""
        mail = memory_mail()
        client = Client(imap_factory(mail))
        waiting: Deferred[None] = Deferred()
        mail.delay = lambda: waiting
        client.sends(b"a SELECT INBOX\r\n")
        client.sends(b"b NOOP\r\n" * 20_000)
        self.assertEqual(client.transport.producerState, "paused")

    def test_output_waits(self) -> None:
        """While the client does not read, no more is fetched."""
        mail = memory_mail()
        for _ in range(30):
            mail.deliver(FIRST)
        client = Client(imap_factory(mail))
        client.says(b"a SELECT INBOX")
        mail.calls.clear()
        client.session.pauseProducing()
        client.sends(b"b FETCH 1:* BODY.PEEK[]\r\n")
        self.assertEqual(mail.calls.count("rows"), 1)
        client.session.resumeProducing()
        self.assertIn(b"b OK", client.heard())

    def test_stalled(self) -> None:
        """A client that never reads is cut off."""
        clock = Clock()
        mail = memory_mail()
        client = Client(imap_factory(mail, clock=clock))
        client.says(b"a SELECT INBOX")
        client.session.pauseProducing()
        client.sends(b"b FETCH 1:* BODY.PEEK[]\r\n")
        clock.advance(301)
        self.assertTrue(client.transport.disconnecting or client.transport.disconnected)

    def test_refused_literal_is_not_kept(self) -> None:
        """A large literal that is refused passes through, and is nowhere."""
        client = Client(imap_factory(memory_mail()))
        client.sends(b"a APPEND INBOX {7000+}\r\n")
        for _ in range(70):
            client.sends(b"x" * 100)
            self.assertLess(len(client.session._reader), 200)
        self.assertIn(b"a NO [TOOBIG]", client.sends(b"\r\n"))
        self.assertIn(b"b OK", client.says(b"b NOOP"))
        self.assertIn(b"* BYE [TOOBIG]", client.says(b"c APPEND INBOX {9999+}"))

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(
                    [
                        *(
                            b"a ",
                            b"\r\n",
                            b"LOGIN agent@example.com secret\r\n",
                            b"{3+}\r\n",
                        ),
                        *(
                            b"SELECT INBOX\r\n",
                            b"FETCH 1:* (BODY[] BINARY[1])\r\n",
                            b"IDLE\r\n",
                        ),
                        *(
                            b"DONE\r\n",
                            b"APPEND INBOX {5+}\r\nabcde\r\n",
                            b"APPEND x {3}\r\n",
                        ),
                        *(
                            b"SEARCH ALL\r\n",
                            b"COMPRESS DEFLATE\r\n",
                            b"{9999999999+}\r\n",
                        ),
                        *(b"EXPUNGE\r\n", b"STORE 1 +FLAGS \\Deleted\r\n", b"NOOP\r\n"),
                        *(
                            b"AUTHENTICATE PLAIN\r\n",
                            b"*\r\n",
                            b"STARTTLS\r\n",
                            b"LOGOUT\r\n",
                        ),
                    ]
                ),
                st.binary(max_size=10),
            ),
            max_size=20,
        ),
        st.booleans(),
    )
    def test_anything(self, pieces: list[bytes], login: bool) -> None:
        """Whatever comes, no error of ours comes of it."""
        client = Client(imap_factory(memory_mail()), login=login)
        for piece in pieces:
            heard = client.sends(piece)
            self.assertNotIn(b"SERVERBUG", heard)
        self.assertEqual(self.flushLoggedErrors(), [])


class CompressTests(SynchronousTestCase):
    def test_both_ways(self) -> None:
        """After COMPRESS all is deflate, whatever the segments."""
        client = Client(imap_factory(memory_mail()))
        self.assertEqual(client.says(b"a COMPRESS DEFLATE"), b"a OK Compressing.\r\n")
        there, back = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        said = there.compress(b"b SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\n")
        said += there.flush(zlib.Z_SYNC_FLUSH)
        heard = b"".join(
            back.decompress(client.sends(bytes([octet]))) for octet in said
        )
        self.assertIn(FIRST, heard)
        self.assertTrue(heard.endswith(b"c OK FETCH completed.\r\n"))

    def test_bomb(self) -> None:
        """What is packed tightly is unpacked a little at a time, and its rest waits."""
        client = Client(imap_factory(memory_mail()))
        client.says(b"a COMPRESS DEFLATE")
        there = zlib.compressobj(9, zlib.DEFLATED, -15)
        said = there.compress(b"x" * 50_000_000) + there.flush(zlib.Z_SYNC_FLUSH)
        client.sends(said)
        self.assertLess(len(client.session._reader), 200_000)
        self.assertTrue(client.transport.disconnecting)

    def test_nonsense(self) -> None:
        """What is no deflate is the end."""
        client = Client(imap_factory(memory_mail()))
        client.says(b"a COMPRESS DEFLATE")
        client.sends(b"\xff\xff\xff\xff NOOP\r\n")
        self.assertTrue(client.transport.disconnecting)

    def test_refused(self) -> None:
        """Another mechanism, twice, and with a command behind it."""
        client = Client(imap_factory(memory_mail()))
        self.assertIn(b"a NO [CANNOT]", client.says(b"a COMPRESS LZ"))
        self.assertIn(b"* BYE", client.sends(b"b COMPRESS DEFLATE\r\nc NOOP\r\n"))


class EndTests(SynchronousTestCase):
    def test_stop(self) -> None:
        """When we stop, clients between commands hear it, and new ones too."""
        clock = Clock()
        factory = imap_factory(memory_mail(), clock=clock)
        client = Client(factory)
        stopped = Deferred.fromCoroutine(factory.stop(5.0))
        self.assertIn(b"* BYE [UNAVAILABLE]", client.heard())
        client.session.connectionLost()
        self.successResultOf(stopped)
        late = factory.buildProtocol(None)
        assert isinstance(late, TurnedAway)
        self.assertIsInstance(late._refusal, Stopping)

    def test_pipelined(self) -> None:
        """Commands are answered in their order, however long each takes."""
        mail = memory_mail()
        client = Client(imap_factory(mail))
        waiting: list[Deferred[None]] = []

        def delay() -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        mail.delay = delay
        heard = client.sends(b"a SELECT INBOX\r\nb FETCH 1 UID\r\nc NOOP\r\n")
        while waiting:
            waiting.pop().callback(None)
            heard += client.heard()
        self.assertLess(heard.index(b"a OK"), heard.index(b"* 1 FETCH"))
        self.assertLess(heard.index(b"b OK"), heard.index(b"c OK"))

    def test_exact(self) -> None:
        """Whatever a message is, its octets come as they are."""
        mail = MemoryMail()
        odd = (b"", b"\0", b"x", b"\r\n", b"no header\n\nbare\n", SECOND, THIRD * 900)
        for octets in odd:
            mail.deliver(octets)
        client = Client(imap_factory(mail))
        client.says(b"a SELECT INBOX")
        for number, octets in enumerate(odd, 1):
            heard = client.says(b"b FETCH %d (BODY.PEEK[] RFC822.SIZE)" % number)
            head = b"* %d FETCH (RFC822.SIZE %d BODY[] {%d}\r\n"
            size = len(octets)
            expected = (
                head % (number, size, size) + octets + b")\r\nb OK FETCH completed.\r\n"
            )
            self.assertEqual(heard, expected)
