"""The daemon and strangers who mean no good, over real sockets."""

from __future__ import annotations

import random
import socket
import time
from itertools import product
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Daemon, start_daemon
from tests.e2e.stranger import Stranger
from tests.mail.corpora import corpus

AGENTS = "agents.localhost"
ADA = f"ada@{AGENTS}"


def memory(pid: int) -> int:
    """The octets that a process has in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


class HostileTest(TestCase):
    """A daemon with an inbox, to be tried."""

    timeout = 120

    async def begin(self, **edge: object) -> None:
        self.daemon: Daemon = await start_daemon(
            self, {"edge": edge, "web": {"rate": 1e5, "burst": 100_000}}
        )
        self.api = Api(self.daemon.base_url, self.daemon.root_key)
        self.port = self.daemon.ports["smtp"]
        await in_thread(self.api.make_inbox, "ada")

    async def well(self) -> None:
        """It goes on as if nothing were: takes a mail, shows it, logged no error."""
        await deferToThread(self.take, b"Subject: well\r\n\r\nwell\r\n")
        (newest,) = await in_thread(
            lambda: self.api.get(f"/v1/inboxes/{ADA}/messages", limit=1)["data"]
        )
        self.assertEqual(newest["subject"], "well")
        for word in ("Traceback", "Unhandled", "incident"):
            self.assertNotIn(word, self.daemon.process.said)

    def take(self, octets: bytes, mail_from: str = "x@near.example") -> bytes:
        """Send a mail; dots of transparency are added."""
        with Stranger(self.port) as client:
            assert client.mail(ADA, mail_from=mail_from).startswith(b"354")
            stuffed = b"\r\n" + octets
            client.send(stuffed.replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
            return client.reply()


class SmtpTests(HostileTest):
    async def test_smuggling(self) -> None:
        """No other end of data than CRLF.CRLF ends it: no mail hides in another."""
        await self.begin()
        breaks = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b"\r\0\n", b"")
        hidden = (
            f"MAIL FROM:<admin@{AGENTS}>\r\nRCPT TO:<{ADA}>\r\nDATA\r\n"
            "Subject: smuggled\r\n\r\nhidden\r\n.\r\n"
        ).encode()

        def probe(end: bytes, cut: int) -> list[bytes]:
            with Stranger(self.port) as client:
                client.mail(ADA)
                octets = b"Subject: outer\r\n\r\none" + end + hidden
                at = octets.index(end, 20) + cut if cut else len(octets)
                client.send(octets[:at])
                if cut:
                    # So that it comes in a segment of its own.
                    time.sleep(0.002)
                    client.send(octets[at:])
                client.send(b"QUIT\r\n")
                return client.rest()

        ends = [a + b"." + b for a, b in product(breaks, breaks)]
        ends = [end for end in ends if b"\r\n.\r\n" not in end]
        for end in ends:
            for cut in (0, 1, len(end) - 1):
                codes = await deferToThread(probe, end, cut)
                self.assertIn(codes, ([b"250", b"221"], [b"550", b"221"]), end)
        # What is really two mails is two; this is what the probes would have made.
        self.assertEqual(
            await deferToThread(probe, b"\r\n.\r\n", 0),
            [b"250", b"250", b"250", b"354", b"250", b"221"],
        )
        found = await in_thread(self.api.messages, ADA, subject="smuggled")
        self.assertEqual(len(found), 1)
        await self.well()

    async def test_starttls_injection(self) -> None:
        """What is said in clear behind STARTTLS is never heard inside TLS."""
        await self.begin()

        def inject() -> list[bytes]:
            with Stranger(self.port) as client:
                client.reply()
                client.say(b"EHLO near.example")
                client.send(
                    b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@evil.example>\r\n"
                )
                return client.rest()

        def forget() -> list[bytes]:
            """The sender that was named in clear is not known within."""
            with Stranger(self.port) as client:
                client.reply()
                client.say(b"EHLO near.example")
                client.say(b"MAIL FROM:<x@near.example>")
                client.starttls()
                said = [client.say(f"RCPT TO:<{ADA}>".encode())]
                said.append(client.say(b"MAIL FROM:<x@near.example>"))
                said.append(client.say(b"EHLO near.example"))
                said.append(client.say(b"STARTTLS"))
                return said

        self.assertEqual(await deferToThread(inject), [b"501"])
        said = await deferToThread(forget)
        self.assertEqual([one[:3] for one in said], [b"503", b"503", b"250", b"503"])
        self.assertNotIn(b"STARTTLS", said[2])
        await self.well()

    async def test_slow(self) -> None:
        """Who sends an octet a while is sent away at the end of his time."""
        await self.begin(idle=1.0)

        def dribble(before: bytes) -> float:
            with Stranger(self.port) as client:
                client.reply()
                client.send(before)
                start = time.monotonic()
                try:
                    while time.monotonic() < start + 10:
                        client.send(b"N")
                        if client.hears(b"421", 0.1):
                            break
                except ConnectionError:
                    return time.monotonic() - start
                return time.monotonic() - start

        self.assertLess(await deferToThread(dribble, b""), 3)
        self.assertLess(await deferToThread(dribble, b"EHLO x\r\nMAIL"), 3)
        await self.well()

    async def test_idle_crowd(self) -> None:
        """600 idle connections, in clear and not greeting, keep nobody else out."""
        await self.begin(connections_per_address=650)
        before = memory(self.daemon.ready.pid)
        crowd = await deferToThread(
            lambda: [
                socket.create_connection(("127.0.0.1", self.port)) for _ in range(600)
            ]
        )
        try:
            start = time.monotonic()
            await self.well()
            self.assertLess(time.monotonic() - start, 5)
            self.assertLess(memory(self.daemon.ready.pid) - before, 64 << 20)
        finally:
            for one in crowd:
                one.close()
        await self.well()

    async def test_crowd_of_one(self) -> None:
        """Beyond so many connections from one address there is a 421, and no more."""
        await self.begin(connections_per_address=5)

        def crowd() -> list[bytes]:
            strangers = [Stranger(self.port) for _ in range(8)]
            replies = [one.reply()[:3] for one in strangers]
            for one in strangers:
                one.close()
            return replies

        self.assertEqual(await deferToThread(crowd), [b"220"] * 5 + [b"421"] * 3)

    async def test_oversized(self) -> None:
        """Lines, headers and mails beyond all bounds are refused, or stored as they are."""
        await self.begin(size_limit=30_000_000)
        start = memory(self.daemon.ready.pid)

        def command_line() -> list[bytes]:
            with Stranger(self.port) as client:
                client.reply()
                client.send(b"EHLO " + b"x" * 10_000_000 + b"\r\nNOOP\r\nQUIT\r\n")
                return client.rest()

        def announced() -> bytes:
            with Stranger(self.port) as client:
                client.reply()
                client.say(b"EHLO x")
                return client.say(b"MAIL FROM:<x@y.example> SIZE=30000001")

        def beyond() -> list[bytes]:
            with Stranger(self.port) as client:
                client.mail(ADA)
                for _ in range(500):
                    client.send(b"x" * 70_000 + b"\r\n")
                client.send(b".\r\nQUIT\r\n")
                return client.rest()

        self.assertEqual(await deferToThread(command_line), [b"500", b"250", b"221"])
        self.assertTrue((await deferToThread(announced)).startswith(b"552 5.3.4 "))
        self.assertEqual(await deferToThread(beyond), [b"552", b"221"])
        for octets in (
            b"Subject: line\r\n\r\n" + b"x" * 20_000_000 + b"\r\n",
            b"Subject: field\r\nX: " + b"x" * 20_000_000 + b"\r\n\r\n\r\n",
            b"Subject: fields\r\n" + b"X: y\r\n" * 500_000 + b"\r\n",
            b"Subject: to\r\nTo: " + b"a@b.example,\r\n " * 300_000 + b"\r\n\r\n",
            b"Subject: references\r\nReferences: "
            + b"<a@b>\r\n " * 500_000
            + b"\r\n\r\n",
            b"Subject: " + b"=?utf-8?q?=41?=\r\n " * 300_000 + b"\r\n\r\n",
            nested(b"Subject: nested\r\n", 20_000),
            b"Subject: " + b"x" * 5_000_000 + b"\r\n\r\n",
            b"Message-ID: <" + b"x" * 5_000_000 + b">\r\nSubject: id\r\n\r\n",
        ):
            began = time.monotonic()
            reply = await deferToThread(self.take, octets)
            self.assertLess(time.monotonic() - began, 15, octets[:40])
            self.assertTrue(reply.startswith(b"250 "), (octets[:40], reply))
            (newest,) = await in_thread(
                lambda: self.api.get(f"/v1/inboxes/{ADA}/messages", limit=1)["data"]
            )
            raw = await in_thread(self.api.raw, ADA, newest["id"])
            self.assertTrue(raw.endswith(octets), octets[:40])
            # It can be shown, too.
            await in_thread(self.api.message, ADA, newest["id"])
        self.assertLess(memory(self.daemon.ready.pid) - start, 700 << 20)
        await self.well()

    async def test_recipients(self) -> None:
        """Of 10,000 recipients a mail gets as many as it may have; the rest hear 452."""
        await self.begin()

        def try_all() -> tuple[list[bytes], list[bytes]]:
            with Stranger(self.port) as client:
                client.reply()
                client.say(b"EHLO x")
                client.say(b"MAIL FROM:<x@y.example>")
                client.send(
                    b"".join(
                        f"RCPT TO:<ada+{n}@{AGENTS}>\r\n".encode() for n in range(4000)
                    )
                )
                codes = [client.reply()[:3] for _ in range(4000)]
                client.say(b"DATA")
                return codes, [client.say(b"Subject: all\r\n\r\n.")[:3]]

        codes, answered = await deferToThread(try_all)
        self.assertEqual(codes, [b"250"] * 100 + [b"452"] * 3900)
        self.assertEqual(answered, [b"250"])

        def guess() -> list[bytes]:
            """Who tries names is sent away soon."""
            with Stranger(self.port) as client:
                client.reply()
                client.say(b"EHLO x")
                client.say(b"MAIL FROM:<x@y.example>")
                client.send(
                    b"".join(
                        f"RCPT TO:<nobody{n}@{AGENTS}>\r\n".encode()
                        for n in range(10_000)
                    )
                )
                return client.rest()

        codes = await deferToThread(guess)
        self.assertEqual(codes, [b"550"] * 20 + [b"421"])
        await self.well()

    async def test_noise(self) -> None:
        """NULs, other protocols and octets by chance: an error, an end, nothing worse."""
        await self.begin()
        chance = random.Random(1)
        noises = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
            b"\0" * 100_000,
            b"EHLO x\0y\r\n",
            b"EHLO " + bytes(range(256)) + b"\r\n",
            b"\r\n" * 10_000,
            b"MAIL FROM:<" + b"a" * 3000 + b"@b>\r\n",
            b"EHLO x\r\nMAIL FROM:<\xff\xfe@b> SMTPUTF8\r\nRCPT TO:<\0>\r\n",
            b"EHLO x\r\nBDAT 99999999999999999999 LAST\r\n",
            b"EHLO x\r\nBDAT -1 LAST\r\n",
            b"EHLO x\r\nSTARTTLS\r\n" + b"\0" * 1000,
            *(chance.randbytes(20_000) for _ in range(20)),
            *(b"EHLO x\r\n" + chance.randbytes(2000) + b"\r\n" for _ in range(20)),
        ]

        def make(noise: bytes) -> list[bytes]:
            with Stranger(self.port) as client:
                greeting = client.reply()
                assert greeting.startswith(b"220 "), greeting
                try:
                    client.send(noise)
                    client.shut()
                except OSError:
                    return []
                return client.rest()

        for noise in noises:
            codes = await deferToThread(make, noise)
            self.assertEqual([c for c in codes if c[:1] not in b"245"], [], noise[:60])

        def in_tls() -> list[bytes]:
            with Stranger(self.port) as client:
                client.reply()
                client.say(b"EHLO x")
                client.starttls()
                client.send(chance.randbytes(20_000))
                return client.rest()

        await deferToThread(in_tls)
        await self.well()


def nested(head: bytes, depth: int) -> bytes:
    """A mail in a mail in a mail."""
    inner = b"Content-Type: message/rfc822\r\n\r\n" * depth
    return head + inner + b"Subject: in\r\n\r\nin\r\n"


class CorpusTests(HostileTest):
    """The mails of others' test suites, many of them broken on purpose."""

    timeout = 240

    async def test_all(self) -> None:
        """Each is taken, and can be read in every way, with the octets that it had."""
        files = [*corpus("mime").rglob("*.eml"), *corpus("bounces").rglob("*.eml")]
        # Some are in both, and would be taken for mail that is sent again.
        mails = {wire(file.read_bytes()): file for file in files}
        await self.begin(size_limit=50_000_000)
        sent: dict[str, bytes] = {}
        for octets, file in mails.items():
            reply = await deferToThread(self.take, octets, "")
            self.assertTrue(reply.startswith(b"250 "), (file, reply))
            # It ends with the queue id, which the trace field has, too.
            sent[reply.split()[-1].decode()] = octets
        raws = await in_thread(self.read_all)
        self.assertEqual(len(raws), len(mails))
        for raw in raws:
            trace, octets = raw[:2000], b""
            (queue_id,) = [one for one in sent if one.encode() in trace]
            octets = sent.pop(queue_id)
            self.assertTrue(raw.endswith(octets), queue_id)
            self.assertTrue(
                raw.removesuffix(octets).startswith(b"Return-Path: <>\r\nReceived: ")
            )
        self.assertEqual(sent, {})
        self.assertNotIn("Traceback", self.daemon.process.said)

    def read_all(self) -> list[bytes]:
        """All that the API can say of the inbox; the raw mails of it."""
        inbox, raws = f"/v1/inboxes/{ADA}", []
        messages = self.api.messages(ADA)
        for one in messages:
            path = f"{inbox}/messages/{one['id']}"
            whole = self.api.get(path)
            raws.append(self.api.raw(ADA, one["id"]))
            assert whole["size"] == len(raws[-1]), path
            for attachment in whole["attachments"]:
                found = self.api.call("GET", f"{path}/attachments/{attachment['id']}")
                assert found.status == 200, (path, attachment)
                assert len(found.body) == attachment["size"], (path, attachment)
        counted = 0
        for thread in self.api.pages(f"{inbox}/threads", limit=100):
            whole = self.api.get(f"{inbox}/threads/{thread['id']}")
            assert len(whole["messages"]) == thread["messageCount"], thread
            counted += thread["messageCount"]
        assert counted == len(messages)
        told = self.api.pages("/v1/events", limit=1000, types="message.received")
        assert {one["messageId"] for one in told} == {one["id"] for one in messages}
        return raws


def wire(octets: bytes) -> bytes:
    """A file as a client has to send it: with CRLF, and a line's end at its end."""
    octets = (
        octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    )
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"
