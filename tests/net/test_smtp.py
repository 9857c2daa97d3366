"""The client's part of SMTP: what it says to which reply, and what it makes of it."""

from collections.abc import AsyncIterator

from OpenSSL.SSL import TLS_METHOD, Context
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from noinfra.boundaries import Envelope, Recipient
from noinfra.net.settings import Tls
from noinfra.net.transaction import transact
from noinfra.net.verdict import SessionEnded, Verdict
from tests.net.dialogue import Session

CONTEXT = Context(TLS_METHOD)

ALL = "PIPELINING SIZE 8BITMIME SMTPUTF8 DSN ENHANCEDSTATUSCODES"


def envelope(
    *rcpt_to: str, octets: bytes = b"Hello\r\n.\r\n", mail_from: str = "a@example.com"
) -> Envelope:
    return Envelope(
        mail_from=mail_from,
        rcpt_to=tuple(Recipient(address=address) for address in rcpt_to),
        octets=octets,
    )


ONE = envelope("b@example.net")
THREE = envelope("b@example.net", "c@example.net", "d@example.net")


class Cut:
    """Octets that come in the given pieces."""

    def __init__(self, *pieces: bytes, size: int | None = None) -> None:
        self._pieces = pieces
        self.size = sum(map(len, pieces)) if size is None else size

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class OpeningTests(SynchronousTestCase):
    """From the greeting to where mail can be sent."""

    def opened(self, script: str, tls: Tls = "never", singly: bool = False) -> Session:
        self.session = Session(singly=singly)
        self.opening = self.session.start(
            self.session.client.open("me.example", tls, CONTEXT)
        )
        self.session.play(script)
        return self.session

    def refusal(self, script: str, tls: Tls = "never") -> Verdict:
        self.opened(script, tls)
        verdict: Verdict = self.failureResultOf(
            self.opening, SessionEnded
        ).value.verdict
        self.assertFalse(self.session.transport.connected)
        self.assertTrue(verdict.elsewhere)
        return verdict

    def test_ehlo(self) -> None:
        """EHLO's lines are the extensions, however they arrive."""
        for singly in (False, True):
            session = self.opened(
                """
                S: 220-mx.example.net ESMTP
                S: 220 be welcome
                C: EHLO me.example
                S: 250-mx.example.net
                S: 250-pipelining
                S: 250-SIZE 1000
                S: 250 AUTH PLAIN LOGIN
                """,
                singly=singly,
            )
            self.successResultOf(self.opening)
            self.assertEqual(
                session.client.extensions,
                {"PIPELINING": "", "SIZE": "1000", "AUTH": "PLAIN LOGIN"},
            )
            self.assertTrue(session.transport.no_delay)

    def test_helo(self) -> None:
        """A host that knows no EHLO is greeted with HELO."""
        session = self.opened(
            """
            S: 220 old.example.net
            C: EHLO me.example
            S: 502 What?
            C: HELO me.example
            S: 250 old.example.net
            """
        )
        self.successResultOf(self.opening)
        self.assertEqual(session.client.extensions, {})

    def test_greeting_refuses(self) -> None:
        """A greeting can shut us out for now or for good; another host may not."""
        verdict = self.refusal("S: 421 4.3.2 Too busy.")
        self.assertEqual((verdict.status, verdict.code), ("deferred", 421))
        verdict = self.refusal("S: 450 Later.")
        self.assertEqual((verdict.status, verdict.enhanced), ("deferred", "4.0.0"))
        verdict = self.refusal("S: 554 5.7.1 You are listed.")
        self.assertEqual((verdict.status, verdict.text), ("failed", "You are listed."))

    def test_both_greetings_refused(self) -> None:
        """The reply to HELO decides."""
        verdict = self.refusal(
            """
            S: 220 mx
            C: EHLO me.example
            S: 501 No such name.
            C: HELO me.example
            S: 550 5.7.1 No such name.
            """
        )
        self.assertEqual((verdict.status, verdict.code), ("failed", 550))

    def test_not_smtp(self) -> None:
        """What does not speak SMTP is left."""
        verdict = self.refusal("S: SSH-2.0-OpenSSH_9.2")
        self.assertEqual((verdict.status, verdict.enhanced), ("deferred", "4.5.0"))
        verdict = self.refusal("S: 250 not a greeting")
        self.assertEqual((verdict.status, verdict.code), ("deferred", None))

    def test_speaks_ahead(self) -> None:
        """A reply to nothing ends the connection."""
        verdict = self.refusal(
            """
            S: 220 mx
            S: 250 I know what you will say
            """
        )
        self.assertEqual(verdict.enhanced, "4.5.0")

    def test_silence(self) -> None:
        """Five minutes is what a greeting may take (RFC 5321, 4.5.3.2.1)."""
        self.opened("")
        self.session.clock.advance(299)
        self.assertNoResult(self.opening)
        self.session.clock.advance(1)
        verdict = self.failureResultOf(self.opening, SessionEnded).value.verdict
        self.assertEqual(verdict.enhanced, "4.4.2")
        self.assertIn("no reply to the connection in 300 s", verdict.text)

    def test_starttls_not_offered(self) -> None:
        """Without STARTTLS mail goes in clear, or waits where that is not allowed."""
        script = """
            S: 220 mx
            C: EHLO me.example
            S: 250 mx
            """
        self.opened(script, "opportunistic")
        self.successResultOf(self.opening)
        for tls in ("required", "verified"):
            verdict = self.refusal(script, tls)
            self.assertEqual((verdict.status, verdict.enhanced), ("deferred", "4.7.4"))

    def test_starttls_refused(self) -> None:
        """The same where it is offered and then refused, even for good."""
        script = """
            S: 220 mx
            C: EHLO me.example
            S: 250-mx
            S: 250 STARTTLS
            C: STARTTLS
            S: 554 5.7.3 No.
            """
        self.opened(script, "opportunistic")
        self.successResultOf(self.opening)
        self.assertEqual(self.refusal(script, "required").status, "deferred")

    def test_words_before_tls(self) -> None:
        """What comes in clear after STARTTLS's reply must not be heard under TLS."""
        for extra in ("250-mx", "250 mx", "25"):
            verdict = self.refusal(
                f"""
                S: 220 mx
                C: EHLO me.example
                S: 250-mx
                S: 250 STARTTLS
                C: STARTTLS
                S: 220 Go ahead
                S: {extra}
                """,
                "opportunistic",
            )
            self.assertEqual(verdict.enhanced, "4.5.0")

    def test_idle_421(self) -> None:
        """A host may close when nothing is asked, and say so."""
        session = self.opened(
            """
            S: 220 mx
            C: EHLO me.example
            S: 250 mx
            """
        )
        self.successResultOf(self.opening)
        session.play("S: 421 4.4.2 Idle.")
        assert session.client.ended is not None
        self.assertEqual(session.client.ended.verdict.code, 421)

    def test_log_in(self) -> None:
        """AUTH PLAIN, whose failure is ours to mend, so that mail waits."""
        for reply, code in (("235 2.7.0 Welcome.", None), ("535 5.7.8 Who?", 535)):
            session = Session()
            session.client.extensions = {"AUTH": "LOGIN PLAIN"}
            session.play("S: 220 mx")
            self.successResultOf(session.start(session.client.reply(1, "x")))
            done = session.start(session.client.log_in("user", "secret"))
            session.play(f"C: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: {reply}")
            if code is None:
                self.successResultOf(done)
            else:
                verdict = self.failureResultOf(done, SessionEnded).value.verdict
                self.assertEqual((verdict.status, verdict.code), ("deferred", code))


class TransactionTests(SynchronousTestCase):
    """One message, from MAIL to the reply to its last dot."""

    def session(self, extensions: str = ALL, singly: bool = False) -> Session:
        session = Session(singly=singly)
        session.play("S: 220 mx")
        self.successResultOf(session.start(session.client.reply(1, "x")))
        session.client.extensions = dict.fromkeys(extensions.split(), "")
        return session

    def run_(self, session: Session, envelope: Envelope, script: str) -> list[str]:
        """Play it, and put each recipient's verdict in a few words."""
        self.sending = session.start(
            transact(session.client, envelope, envelope.rcpt_to)
        )
        session.play(script)
        self.verdicts = self.successResultOf(self.sending)
        return [f"{v.status} {v.code} {v.enhanced}" for v in self.verdicts]

    def test_pipelining(self) -> None:
        """All commands go at once, and the message follows; dots are doubled."""
        for singly in (False, True):
            session = self.session(singly=singly)
            said = self.run_(
                session,
                ONE,
                """
                C: MAIL FROM:<a@example.com> SIZE=10
                C: RCPT TO:<b@example.net>
                C: DATA
                S: 250 2.1.0 ok
                S: 250 2.1.5 ok
                S: 354 go
                C: Hello
                C: ..
                C: .
                S: 250 2.0.0 queued as 1
                """,
            )
            self.assertEqual(said, ["delivered 250 2.0.0"])
            self.assertTrue(self.verdicts[0].dsn)
            self.assertEqual(self.verdicts[0].text, "queued as 1")
            self.assertIsNone(session.client.ended)
            self.assertFalse(session.client.stale)

    def test_one_by_one(self) -> None:
        """Without PIPELINING each command waits, and nothing is said of extensions."""
        said = self.run_(
            self.session(""),
            THREE,
            """
            C: MAIL FROM:<a@example.com>
            S: 250 ok
            C: RCPT TO:<b@example.net>
            S: 550 no
            C: RCPT TO:<c@example.net>
            S: 251 ok
            C: RCPT TO:<d@example.net>
            S: 450 4.2.0 grey
            C: DATA
            S: 354 go
            C: Hello
            C: ..
            C: .
            S: 250 ok
            """,
        )
        self.assertEqual(
            said, ["failed 550 5.0.0", "delivered 250 2.0.0", "deferred 450 4.2.0"]
        )
        self.assertFalse(any(v.dsn or v.elsewhere for v in self.verdicts))

    def test_mail_refused(self) -> None:
        """MAIL's reply is everyone's; the next transaction begins with RSET."""
        session = self.session("PIPELINING")
        said = self.run_(
            session,
            ONE,
            """
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: DATA
            S: 451 4.7.1 Later.
            S: 503 5.5.1 No MAIL.
            S: 503 5.5.1 No MAIL.
            """,
        )
        self.assertEqual(said, ["deferred 451 4.7.1"])
        said = self.run_(
            session,
            ONE,
            """
            C: RSET
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 354 go
            C: Hello
            C: ..
            C: .
            S: 250 ok
            """,
        )
        self.assertEqual(said, ["delivered 250 2.0.0"])

    def test_mail_refused_one_by_one(self) -> None:
        """Nothing else is asked when MAIL or all RCPT are refused."""
        session = self.session("")
        said = self.run_(
            session,
            ONE,
            """
            C: MAIL FROM:<a@example.com>
            S: 550 5.7.1 No.
            """,
        )
        self.assertEqual(said, ["failed 550 5.7.1"])
        said = self.run_(
            session,
            ONE,
            """
            C: RSET
            S: 250 ok
            C: MAIL FROM:<a@example.com>
            S: 250 ok
            C: RCPT TO:<b@example.net>
            S: 550 5.1.1 Nobody.
            """,
        )
        self.assertEqual(said, ["failed 550 5.1.1"])
        self.assertTrue(session.client.stale)

    def test_nobody_there(self) -> None:
        """When DATA is let through without recipients, one dot ends it (RFC 2920)."""
        session = self.session("PIPELINING")
        said = self.run_(
            session,
            ONE,
            """
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: DATA
            S: 250 ok
            S: 550 5.1.1 Nobody.
            S: 354 go
            C: .
            S: 554 5.5.1 No valid recipients
            """,
        )
        self.assertEqual(said, ["failed 550 5.1.1"])
        self.assertIsNone(session.client.ended)

    def test_data_refused(self) -> None:
        """DATA's reply is for those who were let in."""
        said = self.run_(
            self.session("PIPELINING"),
            THREE,
            """
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: RCPT TO:<c@example.net>
            C: RCPT TO:<d@example.net>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 550 5.1.1 Nobody.
            S: 250 ok
            S: 451 4.3.0 Not now.
            """,
        )
        self.assertEqual(
            said, ["deferred 451 4.3.0", "failed 550 5.1.1", "deferred 451 4.3.0"]
        )

    def test_message_refused(self) -> None:
        """The reply after the last dot decides for those who were let in."""
        said = self.run_(
            self.session("PIPELINING"),
            ONE,
            """
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 354 go
            C: Hello
            C: ..
            C: .
            S: 554 5.7.1 Spam.
            """,
        )
        self.assertEqual(said, ["failed 554 5.7.1"])

    def test_421(self) -> None:
        """421 ends the connection; who was not answered may be tried elsewhere."""
        session = self.session("PIPELINING")
        said = self.run_(
            session,
            THREE,
            """
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: RCPT TO:<c@example.net>
            C: RCPT TO:<d@example.net>
            C: DATA
            S: 250 ok
            S: 550 5.1.1 Nobody.
            S: 421 4.3.2 Going down.
            """,
        )
        self.assertEqual(
            said, ["failed 550 5.1.1", "deferred 421 4.3.2", "deferred 421 4.3.2"]
        )
        self.assertEqual([v.elsewhere for v in self.verdicts], [False, True, True])
        self.assertFalse(session.transport.connected)

    def test_lost_before_the_dot(self) -> None:
        """A connection lost before the end of the message leaves it with us."""
        self.run_(
            self.session("PIPELINING"),
            ONE,
            """
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: DATA
            S: 250 ok
            S:
            """,
        )
        (verdict,) = self.verdicts
        self.assertEqual(
            (verdict.status, verdict.code, verdict.elsewhere, verdict.uncertain),
            ("deferred", None, True, False),
        )

    def test_lost_after_the_dot(self) -> None:
        """After it, the peer may have the message: no other host is tried."""
        self.run_(
            self.session("PIPELINING"),
            ONE,
            """
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 354 go
            C: Hello
            C: ..
            C: .
            S:
            """,
        )
        (verdict,) = self.verdicts
        self.assertEqual(
            (verdict.status, verdict.elsewhere, verdict.uncertain),
            ("deferred", False, True),
        )

    def test_timeouts(self) -> None:
        """Each stage has the time that RFC 5321, 4.5.3.2 gives it."""
        stages = (
            ("", 300, "MAIL", False),
            ("S: 250 ok", 300, "RCPT", False),
            ("S: 250 ok\nS: 250 ok", 120, "DATA", False),
            (
                "S: 250 ok\nS: 250 ok\nS: 354 go\nC: Hello\nC: ..\nC: .",
                600,
                "the message",
                True,
            ),
        )
        opening = "C: MAIL FROM:<a@example.com>\nC: RCPT TO:<b@example.net>\nC: DATA\n"
        for script, seconds, stage, uncertain in stages:
            session = self.session("PIPELINING")
            sending = session.start(transact(session.client, ONE, ONE.rcpt_to))
            session.play(opening + script)
            session.clock.advance(seconds - 1)
            self.assertNoResult(sending)
            session.clock.advance(1)
            (verdict,) = self.successResultOf(sending)
            self.assertIn(f"no reply to {stage} in {seconds} s", verdict.text)
            self.assertEqual(verdict.uncertain, uncertain)
            self.assertEqual(session.clock.getDelayedCalls(), [])

    def test_out_of_turn(self) -> None:
        """A reply that cannot be one to its command delivers nothing."""
        for replies in (
            ["354 go"],
            ["250 ok", "354 go"],
            ["250 ok", "250 ok", "250 queued"],
            ["250 ok", "250 ok", "220 hello"],
        ):
            session = self.session("PIPELINING")
            sending = session.start(transact(session.client, ONE, ONE.rcpt_to))
            session.transport.clear()
            session.play("\n".join(f"S: {reply}" for reply in replies))
            (verdict,) = self.successResultOf(sending)
            self.assertEqual((verdict.status, verdict.code), ("deferred", None))
            self.assertIsNotNone(session.client.ended)

    def test_too_large(self) -> None:
        """A message above the announced size is not begun (RFC 1870)."""
        session = self.session()
        session.client.extensions["SIZE"] = "9"
        self.assertEqual(self.run_(session, ONE, ""), ["failed 552 5.3.4"])
        session.client.extensions["SIZE"] = "x" * 9
        sending = session.start(transact(session.client, ONE, ONE.rcpt_to))
        session.play(
            "C: MAIL FROM:<a@example.com> SIZE=10\nC: RCPT TO:<b@example.net>\nC: DATA"
        )
        self.assertNoResult(sending)

    def test_needs(self) -> None:
        """A host that lacks what the message needs is not given it."""
        plain = self.session("PIPELINING SIZE DSN")
        eight = Envelope(
            mail_from="", rcpt_to=ONE.rcpt_to, octets=b"\xe4\r\n", eight_bit=True
        )
        self.assertEqual(self.run_(plain, eight, ""), ["failed 554 5.6.3"])
        utf8 = Envelope(mail_from="", rcpt_to=ONE.rcpt_to, octets=b"x", smtputf8=True)
        self.assertEqual(self.run_(plain, utf8, ""), ["failed 553 5.6.7"])
        named = envelope("bücher@example.net")
        self.assertEqual(self.run_(plain, named, ""), ["failed 553 5.6.7"])
        self.assertEqual(plain.client.served, 0)

    def test_parameters(self) -> None:
        """What the host offers is made use of."""
        said = self.run_(
            self.session(),
            Envelope(
                mail_from="",
                rcpt_to=(
                    Recipient(address="jörg@bücher.example", notify=("never",)),
                    Recipient(
                        address='"a b"@[IPv6:2001:db8::1]',
                        notify=("success", "failure"),
                        orcpt="rfc822;a+20b@example.org",
                    ),
                ),
                octets=b"\xe4\r\n",
                eight_bit=True,
                ret="hdrs",
                envid="QQ314159",
            ),
            """
            C: MAIL FROM:<> SIZE=3 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159
            C: RCPT TO:<jörg@xn--bcher-kva.example> NOTIFY=NEVER
            C: RCPT TO:<"a b"@[IPv6:2001:db8::1]> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+20b@example.org
            C: DATA
            S: 550 5.7.1 No.
            S: 503 5.5.1 No.
            S: 503 5.5.1 No.
            S: 503 5.5.1 No.
            """,
        )
        self.assertEqual(said, ["failed 550 5.7.1"] * 2)

    def test_no_injection(self) -> None:
        """An address cannot hold a command, nor a parameter."""
        for address in (
            "b@example.net>\r\nDATA",
            "b@example.net> SIZE=1",
            "b\r\n@example.net",
            "b@exam\nple.net",
            '"b\n"@example.net',
            "b@example.net\r",
            "b",
            "@example.net",
            "b@",
            "b c@example.net",
            "b@c@example.net",
            "b@example.net\0",
        ):
            session = self.session()
            self.assertEqual(
                self.run_(session, envelope(address), ""), ["failed 553 5.1.3"]
            )
            self.assertEqual(
                self.run_(session, envelope("b@example.net", mail_from=address), ""),
                ["failed 553 5.1.7"],
            )
        hostile = Envelope(
            mail_from="",
            rcpt_to=(Recipient(address="b@example.net", orcpt="x\r\nRSET"),),
            octets=b"",
            envid="x y",
        )
        session = self.session()
        session.start(transact(session.client, hostile, hostile.rcpt_to))
        session.play("C: MAIL FROM:<> SIZE=0\nC: RCPT TO:<b@example.net>\nC: DATA")

    def test_bad_address_among_good(self) -> None:
        """Who cannot be named is refused alone."""
        said = self.run_(
            self.session("PIPELINING"),
            envelope("no body", "b@example.net"),
            """
            C: MAIL FROM:<a@example.com>
            C: RCPT TO:<b@example.net>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 354 go
            C: Hello
            C: ..
            C: .
            S: 250 ok
            """,
        )
        self.assertEqual(said, ["failed 553 5.1.3", "delivered 250 2.0.0"])

    def test_too_many(self) -> None:
        """The replies that limit a transaction are told from those about a mailbox."""
        for reply, crowded in (
            ("452 too many", True),
            ("452 4.5.3 too many", True),
            ("552 too many", True),
            ("452 4.2.2 full", False),
            ("552 5.2.2 full", False),
        ):
            self.run_(
                self.session("PIPELINING"),
                ONE,
                f"""
                C: MAIL FROM:<a@example.com>
                C: RCPT TO:<b@example.net>
                C: DATA
                S: 250 ok
                S: {reply}
                S: 503 no
                """,
            )
            (verdict,) = self.verdicts
            self.assertEqual(verdict.crowded, crowded)
            self.assertEqual(
                verdict.status, "failed" if reply.startswith("552 5.2") else "deferred"
            )

    OPENING = """
        C: MAIL FROM:<a@example.com>
        C: RCPT TO:<b@example.net>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 354 go
        """

    def cut(self, octets: Cut) -> Envelope:
        return Envelope(mail_from="a@example.com", rcpt_to=ONE.rcpt_to, octets=octets)

    def test_pieces(self) -> None:
        """No cut of a message lets it end early."""
        said = self.run_(
            self.session("PIPELINING"),
            self.cut(Cut(b"a\r\n", b".", b"\r", b"\nMAIL FROM:<>\r\n.", b"\r\nb")),
            self.OPENING
            + """
            C: a
            C: ..
            C: MAIL FROM:<>
            C: ..
            C: b
            C: .
            S: 250 ok
            """,
        )
        self.assertEqual(said, ["delivered 250 2.0.0"])

    def test_octets_fail(self) -> None:
        """Octets that cannot be read, or are too few, are never ended with a dot."""
        session = self.session("PIPELINING")
        short = self.cut(Cut(b"a\r\n", size=9))
        sending = session.start(transact(session.client, short, short.rcpt_to))
        session.play(self.OPENING + "C: a")
        self.failureResultOf(sending, ValueError)
        self.assertFalse(session.transport.connected)

    def test_cancelled(self) -> None:
        """Who stops waiting closes the connection."""
        session = self.session("PIPELINING")
        sending = session.start(transact(session.client, ONE, ONE.rcpt_to))
        sending.cancel()
        self.failureResultOf(sending)
        self.assertFalse(session.transport.connected)
        self.assertEqual(session.clock.getDelayedCalls(), [])

    def slow(self) -> tuple[Session, "Deferred[tuple[Verdict, ...]]"]:
        """A session in which the peer does not read the message for now."""
        session = self.session("PIPELINING")
        message = self.cut(Cut(b"a\r\n", b"b\r\n"))
        session.transport.slow = True
        sending = session.start(transact(session.client, message, message.rcpt_to))
        session.play(self.OPENING + "C: a")
        return session, sending

    def test_flow(self) -> None:
        """A piece waits until the one before it is read, three minutes at most."""
        session, sending = self.slow()
        session.client.resumeProducing()
        session.play("C: b\nC: .\nS: 250 ok")
        self.assertEqual(self.successResultOf(sending)[0].status, "delivered")
        session, sending = self.slow()
        session.clock.advance(180)
        (verdict,) = self.successResultOf(sending)
        self.assertEqual((verdict.elsewhere, verdict.uncertain), (True, False))

    def test_refused_early(self) -> None:
        """A refusal before the end counts; consent to half a message does not."""
        for reply, wanted in (
            ("552 5.3.4 Too big.", "failed 552 5.3.4"),
            ("250 ok", "deferred None 4.5.0"),
        ):
            session, sending = self.slow()
            session.play(f"S: {reply}")
            session.client.resumeProducing()
            (v,) = self.successResultOf(sending)
            self.assertEqual(f"{v.status} {v.code} {v.enhanced}", wanted)
            self.assertFalse(session.transport.connected)
            self.assertNotIn(b"\r\n.\r\n", session.transport.value())
