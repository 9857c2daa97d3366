"""The README is true: its first five minutes, line by line as it prints them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import ROOT, Daemon, Process, spawn, start_daemon
from tests.e2e.live import until
from tests.e2e.sink import Sink, new_directory, program

MARK = "-- next block --"


def section(title: str) -> str:
    """What stands below a headline of the README."""
    text = (ROOT / "README.md").read_text("utf-8")
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, f"the README has no section {title!r}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in it."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def here(block: str, daemon: Daemon) -> str:
    """A block with the places of this daemon instead of those of the defaults."""
    for printed, ours in (
        ("http://127.0.0.1:8025", daemon.base_url),
        ("127.0.0.1:2525", daemon.ready.addresses["smtp"]),
        ("var/root.key", daemon.ready.root_key_file),
    ):
        block = block.replace(printed, ours)
    return block


class FiveMinutesTests(TestCase):
    timeout = 120

    async def setUp(self) -> None:
        for name in ("bash", "curl", "swaks"):
            program(name)
        sink = await Sink.start(self)
        self.sink = sink
        (settings,) = blocks(section("A first agent's mail, in five minutes"), "toml")
        routed = settings.replace("127.0.0.1:2626", f"127.0.0.1:{sink.port}")
        self.assertIn(str(sink.port), routed)
        self.scratch = new_directory(self)
        self.scripts: list[Process] = []
        # Done after the daemon has stopped, which ends those who watch it.
        self.addCleanup(lambda: Deferred.fromCoroutine(self.all_ended()))
        self.daemon = await start_daemon(self, tomllib.loads(routed))

    async def all_ended(self) -> None:
        for script in self.scripts:
            await script.end()

    async def test_as_printed(self) -> None:
        """Every command works, and does what the text around it says."""
        text = section("A first agent's mail, in five minutes")
        printed, offline = text.split("### Try it without the Internet")
        self.assertIn("127.0.0.1:2626", "".join(blocks(offline, "sh")))
        commands = [here(block, self.daemon) for block in blocks(printed, "sh")]
        start, make, watch, *rest = commands
        watching = self.run_script(start + watch)
        await until(lambda: "retry: " in watching.said)
        script = self.run_script(f"echo {MARK}\n".join([start, make, *rest]))
        self.assertEqual(await script.end(), 0, script.said)
        self.assertEqual(script.err, b"")
        said = script.out.decode().split(f"{MARK}\n")
        _, agent, swaks, read, answer, key, password = said
        made = json.loads(agent)
        self.assertEqual(made["inbox"]["address"], "ada@agents.localhost")
        self.assertIn("250 2.0.0 Stored", swaks)
        listed, message = read_json(read)
        self.assertEqual(listed["data"][0]["subject"], "Lunch?")
        self.assertEqual(message["tag"], "orders")
        self.assertEqual(message["text"].strip(), "Are you free at noon?")
        sent, outbound = read_json(answer)
        self.assertEqual(sent["threadId"], message["threadId"])
        self.assertEqual(outbound["data"][0]["id"], sent["id"])
        (one,) = read_json(key)
        await self.check_key(one["key"])
        (login,) = read_json(password)
        self.assertEqual(login["address"], "ada@agents.localhost")
        self.assertTrue(login["password"])
        kinds = ("agent.created", "message.received", "message.queued")
        await until(lambda: all(f'"{kind}"' in watching.said for kind in kinds))
        await until(lambda: "Re: Lunch?" in self.sink.subjects())
        (mail,) = self.sink.mails()
        self.assertIn(b"DKIM-Signature:", mail)
        self.assertIn(b"grace@example.net", mail)

    async def check_key(self, key: str) -> None:
        """The key is for the agent's inbox, and no more."""
        api = Api(self.daemon.base_url, key)
        answered = await in_thread(api.call, "GET", "/v1/inboxes/ada@agents.localhost")
        self.assertEqual(answered.status, 200)
        path = "/v1/inboxes/postmaster@agents.localhost"
        answered = await in_thread(api.call, "GET", path)
        self.assertIn(answered.status, (403, 404))
        answered = await in_thread(api.call, "POST", "/v1/agents", {"name": "x"})
        self.assertEqual(answered.status, 403)

    async def test_places(self) -> None:
        """The documentation is where the README says that it is."""
        text = section("A first agent's mail, in five minutes")
        found = re.findall(r"`(?:http://127.0.0.1:8025)?(/[a-z.]+)` ", text)
        self.assertIn("/docs", found)
        api = Api(self.daemon.base_url, self.daemon.root_key)
        for path in found:
            answered = await in_thread(api.call, "GET", path)
            self.assertEqual(answered.status, 200, path)

    def run_script(self, script: str) -> Process:
        """What a reader types, in a shell of his."""
        file: Path = self.scratch / f"{abs(hash(script))}.sh"
        file.write_text(f"set -eu -o pipefail\n{script}")
        self.scripts.append(spawn([program("bash"), file]))
        return self.scripts[-1]


def read_json(said: str) -> list[dict[str, Any]]:
    """The JSON documents in it, which may stand one right after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(said.rstrip()):
        document, at = decoder.raw_decode(said, at)
        found.append(document)
        while said[at : at + 1].isspace():
            at += 1
    return found
