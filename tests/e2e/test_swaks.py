"""A daemon used with the tools that people have at hand: swaks, curl, a WebSocket."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Process, spawn, start_daemon
from tests.e2e.live import until, watch
from tests.e2e.sink import Sink, new_directory, program, stop_after

ADA, BOB = "ada@agents.localhost", "bob@agents.localhost"
BLOB = random.Random(1).randbytes(300_000)


class ToolsTests(TestCase):
    timeout = 120

    async def setUp(self) -> None:
        self.sink = await Sink.start(self)
        route = {"far.example": f"127.0.0.1:{self.sink.port}"}
        self.scratch: Path = new_directory(self)
        self.daemon = await start_daemon(self, {"outbound": {"routes": route}})
        self.api = Api(self.daemon.base_url, self.daemon.root_key)
        for name in ("ada", "bob"):
            await in_thread(self.api.make_inbox, name)

    async def swaks(self, *arguments: str) -> str:
        """What swaks and we say to each other, when it is content."""
        server = self.daemon.ready.addresses["smtp"]
        command = [program("swaks"), "--server", server, "--from", "g@near.example"]
        process = spawn([*command, *arguments])
        self.assertEqual(await process.end(), 0, process.said)
        return process.said

    async def curl(self, path: str, *arguments: str) -> bytes:
        """The body of an answer."""
        url = f"{self.daemon.base_url}/v1{path}"
        key = f"Authorization: Bearer {self.daemon.root_key}"
        command = [program("curl"), "-sS", "--max-time", "30", "-H", key]
        process = spawn([*command, *arguments, url])
        self.assertEqual(await process.end(), 0, process.said)
        return process.out

    async def curl_json(self, path: str, body: object = None, *more: str) -> Any:
        """The JSON of an answer; a body makes it a POST."""
        arguments = list(more)
        if body is not None:
            file = self.scratch / "body.json"
            file.write_text(json.dumps(body))
            arguments += ["-H", "Content-Type: application/json", "-d", f"@{file}"]
        return json.loads(await self.curl(path, *arguments))

    async def newest(self, inbox: str) -> dict[str, Any]:
        """The newest message of an inbox."""
        page = await self.curl_json(f"/inboxes/{inbox}/messages?limit=1")
        (found,) = page["data"]
        whole: dict[str, Any] = await self.curl_json(
            f"/inboxes/{inbox}/messages/{found['id']}"
        )
        return whole

    async def test_swaks(self) -> None:
        """Attachments, UTF-8, several recipients, pipelining, TLS: all in one mail."""
        file = self.scratch / "blob.bin"
        file.write_bytes(BLOB)
        said = await self.swaks(
            *("--to", f"{ADA},{BOB},ada+tag@agents.localhost"),
            *("--header", "Subject: Grüße 你好", "--body", "Zoë schreibt.\n.\nEnde"),
            *("--attach", f"@{file}", "--pipeline", "--tls", "--ehlo", "near.example"),
        )
        self.assertIn("TLS started with cipher TLSv1.3", said)
        self.assertEqual(said.count("<~* 250 2.1.5") + said.count("<~  250 2.1.5"), 3)
        for inbox in (ADA, BOB):
            message = await self.newest(inbox)
            self.assertEqual(message["subject"], "Grüße 你好")
            text = message["text"].replace("\r\n", "\n").strip()
            self.assertEqual(text, "Zoë schreibt.\n.\nEnde")
            (attachment,) = message["attachments"]
            self.assertEqual(attachment["size"], len(BLOB))
            path = f"/inboxes/{inbox}/messages/{message['id']}/attachments"
            self.assertEqual(await self.curl(f"{path}/{attachment['id']}"), BLOB)
        tags = [one["tag"] for one in await in_thread(self.api.messages, ADA)]
        self.assertEqual(sorted(tags, key=str), [None, "tag"])

    async def test_refused(self) -> None:
        """Who is not ours, and who would have us relay, hear so at once."""
        for to in ("nobody@agents.localhost", "x@elsewhere.example"):
            server = self.daemon.ready.addresses["smtp"]
            process = spawn([program("swaks"), "--server", server, "--to", to])
            # swaks: no recipient was accepted.
            self.assertEqual(await process.end(), 24, process.said)
            self.assertIn("<** 550 5.", process.said)

    async def test_curl(self) -> None:
        """Send, answer, forward; an attachment up, out, and down in pieces."""
        attachment = {
            "filename": "Übersicht.bin",
            "content": base64.b64encode(BLOB).decode(),
            "contentType": "application/x-blob",
        }
        body = {
            "to": ["Zoë <zoe@far.example>", BOB],
            "subject": "Übersicht",
            "text": "Siehe Anlage.",
            "html": "<p>Siehe <b>Anlage</b>.</p>",
            "attachments": [attachment],
        }
        path = f"/inboxes/{ADA}/messages"
        key = ("-H", "Idempotency-Key: once")
        sent = await self.curl_json(path, body, *key)
        again = await self.curl_json(path, body, *key)
        self.assertEqual(sent["id"], again["id"])
        await until(lambda: len(self.sink.mails()) == 1)
        # The copy for Bob took no socket.
        while (await self.curl_json(f"/inboxes/{BOB}/messages"))["data"] == []:
            pass
        copy = await self.newest(BOB)
        self.assertEqual(copy["subject"], "Übersicht")
        (found,) = copy["attachments"]
        self.assertEqual(found["filename"], "Übersicht.bin")
        down = f"/inboxes/{BOB}/messages/{copy['id']}/attachments/{found['id']}"
        self.assertEqual(await self.curl(down), BLOB)
        for span, octets in (
            ("0-99", BLOB[:100]),
            ("-7", BLOB[-7:]),
            ("299999-", BLOB[299_999:]),
            ("1000-200999", BLOB[1000:201_000]),
        ):
            self.assertEqual(await self.curl(down, "-r", span), octets, span)
        head = (await self.curl(down, "-r", "300000-", "-i")).partition(b"\r\n")[0]
        self.assertIn(b"416", head)
        answered = await self.curl_json(
            f"/inboxes/{BOB}/messages/{copy['id']}/reply", {"text": "Danke."}
        )
        self.assertEqual(answered["threadId"], copy["threadId"])
        self.assertEqual(answered["subject"], "Re: Übersicht")
        threads = await self.curl_json(f"/inboxes/{ADA}/threads")
        while threads["data"][0]["messageCount"] < 2:
            threads = await self.curl_json(f"/inboxes/{ADA}/threads")
        self.assertEqual(len(threads["data"]), 1)
        forwarded = await self.curl_json(
            f"/inboxes/{BOB}/messages/{copy['id']}/forward",
            {"to": ["carol@far.example"], "text": "Zur Kenntnis."},
        )
        self.assertEqual(forwarded["attachments"][0]["size"], len(BLOB))
        await until(lambda: len(self.sink.mails()) == 2)

    async def test_stream(self) -> None:
        """Server-sent events go on from the Last-Event-ID, with nothing between."""
        for number in range(5):
            await self.swaks("--to", ADA, "--header", f"Subject: {number}")
        listed = (await self.curl_json("/events?types=message.received"))["data"]
        third = listed[2]["id"]
        stream = self.stream("?types=message.received", f"Last-Event-ID: {third}")
        await until(lambda: stream.out.count(b"data: ") == 2)
        await self.swaks("--to", ADA, "--header", "Subject: live")
        await until(lambda: stream.out.count(b"data: ") == 3)
        told = [
            json.loads(line[6:])["event"]
            for line in stream.out.decode().splitlines()
            if line.startswith("data: ")
        ]
        subjects = [one["data"]["message"]["subject"] for one in told]
        self.assertEqual(subjects, ["3", "4", "live"])
        ids = [
            line[4:] for line in stream.out.decode().split("\n") if line[:4] == "id: "
        ]
        self.assertEqual(ids[0], third)
        self.assertEqual(ids[1:3], [one["id"] for one in listed[3:]])

    def stream(self, query: str, header: str) -> Process:
        """curl, reading events until the daemon ends."""
        url = f"{self.daemon.base_url}/v1/events/stream{query}"
        key = f"Authorization: Bearer {self.daemon.root_key}"
        process = spawn([program("curl"), "-sSN", "-H", key, "-H", header, url])
        stop_after(self, process)
        return process

    async def test_websocket(self) -> None:
        """Replay from an event, filters, a page of the log, and what happens now."""
        daemon = self.daemon
        for number in range(5):
            await self.swaks("--to", ADA, "--header", f"Subject: {number}")
        socket = await watch(self, daemon.base_url, daemon.root_key)
        listed = (await self.curl_json("/events?types=message.received"))["data"]
        socket.say(
            type="subscribe",
            id=1,
            filters={"types": ["message.*"], "inboxId": ADA},
            after=listed[1]["id"],
        )
        await until(lambda: len(socket.events) == 3)
        await self.swaks("--to", f"{ADA},{BOB}", "--header", "Subject: live")
        await until(lambda: len(socket.events) == 4)
        subjects = [one["data"]["message"]["subject"] for one in socket.events]
        self.assertEqual(subjects, ["2", "3", "4", "live"])
        socket.say(type="list", id="l", limit=2)
        socket.say(type="ping", id="p")
        socket.say(type="nonsense", id="n")
        await until(lambda: bool(socket.of_type("error")))
        (page,), (pong,) = socket.of_type("list"), socket.of_type("pong")
        self.assertEqual((page["id"], len(page["events"])), ("l", 2))
        self.assertEqual(pong["id"], "p")
        self.assertEqual(socket.of_type("error")[0]["id"], "n")
