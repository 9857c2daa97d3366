"""The daemon as an operator meets it: it comes up, says where it is, and goes."""

from __future__ import annotations

import json
import signal
import socket
import stat
from pathlib import Path

from twisted.trial.unittest import TestCase

from noinfra.ready import FILE, Ready
from tests.e2e.daemon import (
    NOINFRA,
    TWISTD,
    Ended,
    new_state,
    noinfra,
    spawn,
    start_daemon,
)


def listening(port: int) -> bool:
    """Whether somebody takes connections on the loopback."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


class UpTests(TestCase):
    """`noinfra up`."""

    timeout = 240

    async def test_first_and_second_start(self) -> None:
        """The root key is shown by the first start, and stays good for the second."""
        first = await start_daemon(self)
        key = first.root_key
        self.assertTrue(await first.process.says(key))
        self.assertIn(first.ready.domain, first.process.said)
        self.assertIn(first.base_url, first.process.said)
        for port in first.ports.values():
            self.assertTrue(listening(port))
        mode = stat.S_IMODE(Path(first.ready.root_key_file).stat().st_mode)
        self.assertEqual(mode, 0o600)
        self.assertEqual(await first.stop(), 0)

        second = await start_daemon(self, state=first.state)
        self.assertEqual(second.root_key, key)
        self.assertTrue(await second.process.says(second.ready.root_key_file))
        self.assertNotIn(key, second.process.said)
        self.assertEqual(await second.stop(signal.SIGINT), 0)

    async def test_stop(self) -> None:
        """After a stop nothing listens, nothing runs, and nothing says it did."""
        daemon = await start_daemon(self)
        postmaster = daemon.state / "postgres" / "data" / "postmaster.pid"
        self.assertTrue(postmaster.exists())
        self.assertEqual(await daemon.stop(), 0)
        self.assertFalse(postmaster.exists())
        self.assertFalse((daemon.state / FILE).exists())
        for port in daemon.ports.values():
            self.assertFalse(listening(port))

    async def test_kill(self) -> None:
        """A daemon that was killed leaves nothing that keeps the next from starting."""
        daemon = await start_daemon(self)
        await daemon.stop(signal.SIGKILL)
        self.assertTrue((daemon.state / FILE).exists())
        self.assertIsNone(Ready.read(daemon.state))
        again = await start_daemon(self, state=daemon.state)
        self.assertEqual(again.root_key, daemon.root_key)
        self.assertEqual(await again.stop(), 0)

    async def test_two_in_one_directory(self) -> None:
        """A second daemon in the same directory is refused; the first does not mind."""
        daemon = await start_daemon(self)
        second = await noinfra("up", "--state", daemon.state)
        self.assertEqual(second.status, 1)
        (line,) = second.said.splitlines()
        self.assertIn(f"in use by process {daemon.ready.pid}", line)
        self.assertIn("--state", line)
        self.assertEqual(Ready.read(daemon.state), daemon.ready)

    async def test_busy_port(self) -> None:
        """A port that is taken is told in one line that names the setting."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for section in ("edge", "web"):
                with self.assertRaises(Ended) as caught:
                    await start_daemon(self, {section: {"port": port}})
                text = str(caught.exception)
                self.assertTrue(text.startswith("exit status 1: "), text)
                (line,) = [line for line in text.splitlines() if str(port) in line]
                self.assertIn(f"{section}.port", line)
                self.assertNotIn("Traceback", text)

    async def test_unreachable_database(self) -> None:
        """A database that is not there is told in one line that names the setting."""
        settings = {"database": {"dsn": "host=/nonexistent dbname=x", "wait": 0.5}}
        with self.assertRaises(Ended) as caught:
            await start_daemon(self, settings)
        text = str(caught.exception)
        self.assertTrue(text.startswith("exit status 1: "), text)
        self.assertIn("database.dsn", text)
        self.assertNotIn("Traceback", text)

    async def test_twistd(self) -> None:
        """The plugin of twistd runs the same daemon, and `status` finds it."""
        daemon = await start_daemon(self, command=TWISTD)
        self.assertTrue(listening(daemon.ports["smtp"]))
        found = await noinfra("status", "--json", "--state", daemon.state)
        self.assertEqual(found.status, 0, found.said)
        told = json.loads(found.out)
        self.assertEqual(told["daemon"]["pid"], daemon.ready.pid)


class BesideTests(TestCase):
    """Commands, with and without a daemon."""

    timeout = 240

    async def test_init_then_up(self) -> None:
        """`init` makes what `up` then uses, and leaves nothing running."""
        state = new_state(self)
        made = await noinfra("init", "--state", state)
        self.assertEqual(made.status, 0, made.said)
        self.assertFalse((state / "postgres" / "data" / "postmaster.pid").exists())
        daemon = await start_daemon(self, state=state)
        self.assertTrue(await daemon.process.says(daemon.ready.root_key_file))
        self.assertNotIn(daemon.root_key, daemon.process.said)

    async def test_keys_of_a_running_daemon(self) -> None:
        """A key made beside a daemon works at once, and not after it is revoked."""
        daemon = await start_daemon(self)
        made = await noinfra("key", "create", "--name", "x", "--state", daemon.state)
        self.assertEqual(made.status, 0, made.said)
        self.assertTrue(made.out.startswith(b"nim_live_"))
        found = await noinfra("key", "list", "--json", "--state", daemon.state)
        (mine,) = [key for key in json.loads(found.out) if key["name"] == "x"]
        ended = await noinfra("key", "revoke", mine["key_id"], "--state", daemon.state)
        self.assertEqual(ended.status, 0, ended.said)
        # The database goes on for the daemon.
        self.assertEqual(Ready.read(daemon.state), daemon.ready)
        again = await noinfra("status", "--state", daemon.state)
        self.assertEqual(again.status, 0, again.said)

    async def test_doctor(self) -> None:
        """`doctor` finds a running daemon well, but for what nobody else can see."""
        daemon = await start_daemon(self)
        config = daemon.state / "noinfra.toml"
        told = await noinfra(
            "doctor", "--json", "--config", config, "--state", daemon.state
        )
        verdicts = {each["name"]: each["level"] for each in json.loads(told.out)}
        self.assertEqual(verdicts["database"], "ok")
        self.assertEqual(verdicts["smtp port"], "ok")
        self.assertEqual(verdicts["web port"], "ok")
        self.assertEqual(verdicts["dns"], "warn")

    async def test_hang_up(self) -> None:
        """A terminal that is closed stops the daemon as Ctrl-C does."""
        daemon = await start_daemon(self)
        self.assertEqual(await daemon.stop(signal.SIGHUP), 0)

    async def test_directory_not_writable(self) -> None:
        """A state directory that cannot be made is named."""
        process = spawn((*NOINFRA, "up", "--state", "/proc/nobody/there"))
        self.assertEqual(await process.end(), 1)
        (line,) = process.said.splitlines()
        self.assertIn("/proc/nobody/there", line)
