"""Mail from and to Postfix."""

from __future__ import annotations

import base64
import json
import random
import signal
import smtplib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import dkim
from dns.resolver import NXDOMAIN, NoAnswer, NoNameservers
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import TestCase

from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Daemon, noinfra, reactor, start_daemon
from tests.e2e.postfix import Postfix, Zone
from tests.e2e.sink import free_port

AGENTS = "agents.localhost"
# Recipients, octets, and parameters of MAIL.
Mail = tuple[list[str], bytes, list[str]]


def api_of(daemon: Daemon) -> Api:
    return Api(daemon.base_url, daemon.root_key)


def relaying_to(daemon_port: int, **more: str) -> dict[str, str]:
    """Settings of a Postfix that sends everything to our edge, by TLS."""
    return {
        "relayhost": f"[127.0.0.1]:{daemon_port}",
        "smtp_tls_security_level": "encrypt",
        "smtp_tls_CApath": "/nonexistent",
        **more,
    }


def lines(size: int, alphabet: bytes, seed: int) -> bytes:
    """Some lines of text, as many as octets are asked for."""
    chance = random.Random(seed)
    line = bytes(chance.choice(alphabet) for _ in range(70)) + b"\r\n"
    return (line * (size // len(line) + 1))[: size - size % len(line)]


def mails() -> list[Mail]:
    """Recipients, octets and MAIL parameters of what a Postfix has to send."""
    found = []
    ascii_, eight_bit = (
        bytes(range(33, 127)),
        bytes(range(33, 127)) + bytes(range(128, 256)),
    )
    for number in range(60):
        head = (
            f"Message-ID: <{number}@near.example>\r\nFrom: grace@near.example\r\n"
            f"To: ada@{AGENTS}\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
            f"Subject: {number}\r\n"
        ).encode()
        body, parameters = lines(10 + number * 300, ascii_, number), []
        rcpt_to = [[f"ada@{AGENTS}"], [f"ada@{AGENTS}", f"bob@{AGENTS}"]][number % 2]
        if number % 5 == 1:
            head += b"Content-Type: text/plain; charset=iso-8859-1\r\n"
            head += b"Content-Transfer-Encoding: 8bit\r\n"
            body, parameters = lines(5000, eight_bit, number), ["BODY=8BITMIME"]
        if number % 5 == 2:
            head += "X-Name: Zoë Grüße 你好\r\n".encode()
            parameters = ["SMTPUTF8", "BODY=8BITMIME"]
        if number % 5 == 3:
            body = b".\r\n..\r\n.leading\r\n\r\n\r\nFrom here\r\n" + body + b"\r\n"
        if number == 30:
            body = lines(10_000_000, ascii_, number)
        found.append((rcpt_to, head + b"\r\n" + body, parameters))
    return found


def submit(port: int, some: Sequence[Mail]) -> None:
    """Hand mails to a Postfix."""
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        for rcpt_to, octets, parameters in some:
            sender = (
                "zoë@near.example" if "SMTPUTF8" in parameters else "g@near.example"
            )
            if "SMTPUTF8" in parameters:
                client.command_encoding = "utf-8"
            client.sendmail(sender, rcpt_to, octets, parameters)


async def emptied(postfix: Postfix) -> None:
    """Wait until it has sent all that it had."""
    while postfix.queued:
        await deferLater(reactor(), 0.05)


class SenderTests(TestCase):
    """Postfix relays to our edge."""

    timeout = 120

    async def test_many(self) -> None:
        """All mail arrives once, over TLS, with every octet that it had."""
        daemon = await start_daemon(self)
        api = api_of(daemon)
        for name in ("ada", "bob"):
            await in_thread(api.make_inbox, name)
        postfix = await Postfix.start(self, relaying_to(daemon.ports["smtp"]))
        sent = mails()
        await in_thread(submit, postfix.port, sent)
        await emptied(postfix)
        for name in ("ada", "bob"):
            inbox = f"{name}@{AGENTS}"
            expected = [octets for rcpt_to, octets, _ in sent if inbox in rcpt_to]
            found = await in_thread(api.messages, inbox)
            self.assertEqual(len(found), len(expected))
            raws = {
                one["subject"]: await in_thread(api.raw, inbox, one["id"])
                for one in found
            }
            for octets in expected:
                subject = octets.partition(b"Subject: ")[2].partition(b"\r")[0].decode()
                self.assertTrue(raws[subject].endswith(octets), subject)
                self.assertIn(
                    b"TLSv1.3", raws[subject].partition(b"Received:")[2][:400]
                )

    async def test_crashes(self) -> None:
        """A Postfix that never heard our 250 sends again, and the mail is there once."""
        port = free_port()
        settings = {"edge": {"port": port}}
        daemon = await start_daemon(self, settings)
        inbox = await in_thread(api_of(daemon).make_inbox, "ada")
        postfix = await Postfix.start(self, relaying_to(port))
        number = 0
        for _ in range(3):
            some: list[Mail] = [
                ([inbox], f"Subject: {n}\r\n\r\nx\r\n".encode(), [])
                for n in range(number, number + 150)
            ]
            number += len(some)
            sending = in_thread(submit, postfix.port, some)
            while postfix.log.count("status=sent") < number - 120:
                await deferLater(reactor(), 0.01)
            await daemon.stop(signal.SIGKILL)
            await sending
            daemon = await start_daemon(self, settings, state=daemon.state)
        await emptied(postfix)
        found = await in_thread(api_of(daemon).messages, inbox)
        subjects = Counter(one["subject"] for one in found)
        self.assertEqual(subjects, Counter(str(n) for n in range(number)))
        self.assertNotIn("status=bounced", postfix.log)


ZONE = """
far     MX    10 mx.far
mx.far  A     127.0.0.2
plain   A     127.0.0.2
alias   CNAME far
behind  MX    10 gone.behind
behind  MX    20 mx.far
gone.behind A 127.0.0.9
null    MX    0 .
lost    MX    10 nobody.lost
"""
FIRST_RETRY = 0.5
HERE = ("far.e2e", "plain.e2e", "alias.e2e", "behind.e2e")


class Greylist(LineReceiver):
    """Postfix's policy protocol: `grey` has to come twice, `never` needs not come."""

    delimiter = b"\n"

    def __init__(self, asked: Counter[str]) -> None:
        self._asked = asked
        self._told: dict[str, str] = {}

    def lineReceived(self, line: bytes) -> None:
        name, equals, value = line.decode().partition("=")
        if equals:
            self._told[name] = value
            return
        recipient = self._told["recipient"].partition("@")[0]
        self._asked[recipient] += 1
        action = "DUNNO"
        if recipient == "grey" and self._asked[recipient] == 1:
            action = "450 4.2.0 Greylisted, come back."
        if recipient == "never":
            action = "550 5.7.1 We want no mail of yours."
        self.sendLine(f"action={action}\n".encode())


class GreylistFactory(ServerFactory):
    noisy = False

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def buildProtocol(self, addr: object) -> Greylist:
        return Greylist(self.asked)


def receiving(policy_port: int) -> dict[str, str]:
    """Settings of a Postfix that has mailboxes, and asks a policy service."""
    names = ("one", "two", "three", "grey", "never")
    boxes = [f"{name}@{domain}={name}/" for name in names for domain in HERE]
    return {
        "virtual_mailbox_domains": ", ".join(HERE),
        "virtual_mailbox_maps": f"inline:{{{', '.join(boxes)}}}",
        "smtpd_relay_restrictions": "reject_unauth_destination",
        "smtpd_recipient_restrictions": (
            f"reject_unlisted_recipient, check_policy_service inet:127.0.0.1:{policy_port}"
        ),
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": "$data_directory/tls.pem",
    }


def outcomes(message: dict[str, Any]) -> dict[str, str]:
    """The state of each recipient."""
    return {one["recipient"]: one["state"] for one in message["provider"]["deliveries"]}


class ReceiverTests(TestCase):
    """Our agents write to strangers, whose servers the DNS tells."""

    timeout = 120

    async def setUp(self) -> None:
        self.zone = await Zone.serve(self, ZONE)
        policy = reactor().listenTCP(0, GreylistFactory(), interface="127.0.0.1")
        self.addCleanup(policy.stopListening)
        self.postfix = await Postfix.start(
            self, receiving(policy.getHost().port), ["127.0.0.2"]
        )
        self.settings = {
            "domain": "agents.e2e",
            "hostname": "mail.agents.e2e",
            "dns": {"servers": [f"127.0.0.1:{self.zone.port}"]},
            "outbound": {"port": self.postfix.port, "first_retry": FIRST_RETRY},
        }
        self.daemon = await start_daemon(self, self.settings)
        self.api = api_of(self.daemon)
        self.inbox = await in_thread(self.api.make_inbox, "ada")

    async def settled(self, **message: object) -> dict[str, Any]:
        """A message of our agent's, once nothing more will happen to it."""
        nudged = False
        sent = await in_thread(self.api.send, self.inbox, **message)
        while True:
            found = await in_thread(self.api.message, self.inbox, sent["id"])
            states = set(outcomes(found).values())
            if states.isdisjoint(("queued", "deferred")):
                return found
            if "deferred" in states and not nudged:
                # The queue sleeps for up to a minute; any mail wakes it.
                await deferLater(reactor(), 2 * FIRST_RETRY)
                nudge = {"to": [self.inbox], "subject": "nudge", "text": "nudge"}
                nudged = bool(await in_thread(self.api.send, self.inbox, **nudge))
            await deferLater(reactor(), 0.1)

    async def test_delivered(self) -> None:
        """One transaction for many recipients, by TLS; the octets are those we keep."""
        to = ["one@far.e2e", "two@far.e2e", "Three <three@far.e2e>"]
        text = "Grüße, 你好\r\n.\r\n..\r\nFrom here\r\n" * 500
        sent = await self.settled(to=to[:2], bcc=to[2:], subject="Ünïcode", text=text)
        self.assertEqual(set(outcomes(sent).values()), {"delivered"})
        (attempt,) = sent["provider"]["deliveries"][0]["attempts"]
        self.assertEqual(attempt["remoteHost"], "mx.far.e2e")
        self.assertEqual(attempt["code"], 250)
        self.assertTrue(attempt["tls"].startswith("TLSv1.3 "), attempt)
        await emptied(self.postfix)
        self.assertEqual(self.postfix.log.count("nrcpt=3"), 1)
        kept = await in_thread(self.api.raw, self.inbox, sent["id"])
        for name in ("one", "two", "three"):
            (mail,) = self.postfix.mails(name)
            self.assertTrue(mail.endswith(kept))
            self.assertNotIn(b"three@far.e2e", kept)

    async def test_dns(self) -> None:
        """MX, a second MX, none, an alias; and where no mail can go, it bounces."""
        good = [f"one@{domain}" for domain in HERE]
        bad = ["x@null.e2e", "x@nowhere.e2e", "x@lost.e2e"]
        sent = await self.settled(to=[*good, *bad], subject="x", text="x")
        self.assertEqual(
            outcomes(sent),
            {one: "delivered" for one in good} | {one: "failed" for one in bad},
        )
        await emptied(self.postfix)
        self.assertEqual(len(self.postfix.mails("one")), 4)
        said = {
            one["recipient"]: (one["attempts"][-1]["enhanced"], len(one["attempts"]))
            for one in sent["provider"]["deliveries"]
        }
        self.assertEqual(said["x@null.e2e"], ("5.1.10", 1))
        self.assertEqual(said["x@nowhere.e2e"], ("5.1.2", 1))
        self.assertEqual(said["x@lost.e2e"], ("5.4.4", 1))
        # It tried the first one, and tells so.
        self.assertEqual(said["one@behind.e2e"][1], 2)

    async def test_refusals(self) -> None:
        """4xx is tried again, 5xx is not; each recipient has its own fate."""
        to = ["grey@far.e2e", "never@far.e2e", "nobody@far.e2e", "one@far.e2e"]
        sent = await self.settled(to=to, subject="x", text="x")
        self.assertEqual(
            outcomes(sent),
            dict(zip(to, ["delivered", "failed", "failed", "delivered"], strict=True)),
        )
        codes = {
            one["recipient"]: [attempt["code"] for attempt in one["attempts"]]
            for one in sent["provider"]["deliveries"]
        }
        self.assertEqual(
            codes, dict(zip(to, [[450, 250], [550], [550], [250]], strict=True))
        )
        await emptied(self.postfix)
        self.assertEqual(
            [len(self.postfix.mails(one)) for one in ("grey", "one")], [1, 1]
        )
        told = await in_thread(lambda: list(self.api.pages("/v1/events")))

        self.assertEqual(
            Counter(one["type"] for one in told if one["messageId"] == sent["id"]),
            {
                "message.queued": 1,
                "message.deferred": 1,
                "message.bounced": 2,
                "message.delivered": 2,
            },
        )

    async def test_dkim(self) -> None:
        """With the records that `doctor` asks for, others verify what we sign."""
        to = ["one@far.e2e"]
        await self.settled(to=to, subject=" Two  blanks ", text="Zoë\r\n\r\n\r\n")
        await emptied(self.postfix)
        (mail,) = self.postfix.mails("one")
        records = [
            record
            for verdict in await self.doctor()
            if verdict["name"].startswith("dns: ")
            for record in verdict["records"]
            # It cannot know the address, and leaves a blank to fill in.
            if "<" not in record
        ]
        self.zone.add("mail.agents A 127.0.0.1\n" + "\n".join([*records, ""]))
        while not await in_thread(self.published, "mail.agents.e2e", "A"):
            await deferLater(reactor(), 0.05)
        verdicts = {
            each["name"].partition(" dkim")[0]: each["level"]
            for each in await self.doctor()
        }
        levels = {v for name, v in verdicts.items() if name.startswith("dns: ")}
        self.assertEqual(levels - {"warn"}, {"ok"}, verdicts)

        def txt(name: bytes, timeout: int = 5) -> bytes:
            return b"".join(self.published(name.decode(), "TXT"))

        self.assertTrue(await in_thread(dkim.verify, mail, dnsfunc=txt))
        spoilt = mail.replace("Zoë".encode(), b"Zoe")
        spoilt = spoilt.replace(base64.b64encode("Zoë".encode())[:3], b"AAAA")
        if spoilt != mail:
            self.assertFalse(await in_thread(dkim.verify, spoilt, dnsfunc=txt))

    def published(self, name: str, kind: str) -> list[bytes]:
        try:
            answer = self.zone.resolver.resolve(name, kind)
        except (NXDOMAIN, NoAnswer, NoNameservers):
            return []
        if kind != "TXT":
            return [str(record).encode() for record in answer]
        return [text for record in answer for text in record.strings]

    async def doctor(self) -> list[dict[str, Any]]:
        state = self.daemon.state
        told = await noinfra(
            "doctor", "--json", "--config", state / "noinfra.toml", "--state", state
        )
        found: list[dict[str, Any]] = json.loads(told.out)
        return found
