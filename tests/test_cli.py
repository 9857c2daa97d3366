"""The command line: what it makes of its words, and what it has to say."""

from __future__ import annotations

import fcntl
import io
import os
import socket
import subprocess
import sys
from argparse import Namespace
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from attrs import evolve, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogPublisher
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.access import PERMISSIONS
from noinfra.boundaries import DnsTemporary, MailExchange, NoSuchDomain, Resolver
from noinfra.cli import log
from noinfra.cli.key import wanted
from noinfra.cli.machine import MIB, certificate, disk, ports
from noinfra.cli.opened import check_schema
from noinfra.cli.program import COMMANDS, run
from noinfra.cli.published import published, quoted
from noinfra.cli.settings import settings
from noinfra.cli.status import Status, rendered, span
from noinfra.cli.tap import Options
from noinfra.cli.up import announcement
from noinfra.cli.verdict import Verdict, report, warn
from noinfra.config import Config, EdgeSettings, TlsSettings
from noinfra.errors import ConfigurationError, Invalid
from noinfra.ready import LOCK, Ready, StateLock, locked
from noinfra.store.keys import DkimKey
from noinfra.store.overview import Overview

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
READY = Ready(
    base_url="http://127.0.0.1:8025",
    ports={"smtp": 2525, "web": 8025},
    addresses={"smtp": "127.0.0.1:2525", "web": "127.0.0.1:8025"},
    domain="agents.example",
    hostname="mail.agents.example",
    root_key_file="/state/root.key",
    pid=4711,
)


class Scratch(SynchronousTestCase):
    """Tests that have a directory."""

    def directory(self) -> Path:
        path = Path(self.mktemp()).absolute()
        path.mkdir(parents=True)
        return path


class ReadyTests(Scratch):
    """What a state directory tells of the daemon in it."""

    def test_written_and_read(self) -> None:
        """What a daemon wrote is read, while it has the directory."""
        state = self.directory()
        lock = StateLock(state)
        self.assertIsNone(Ready.read(state))
        READY.write(state)
        self.assertEqual(Ready.read(state), READY)
        Ready.remove(state)
        self.assertIsNone(Ready.read(state))
        Ready.remove(state)
        lock.release()

    def test_left_behind(self) -> None:
        """The file of a daemon that is gone is not believed, and soon removed."""
        state = self.directory()
        lock = StateLock(state)
        READY.write(state)
        lock.release()
        self.assertIsNone(Ready.read(state))
        StateLock(state).release()
        self.assertEqual([path.name for path in state.iterdir()], [LOCK])

    def test_second_daemon(self) -> None:
        """A directory that is in use is refused, with the process that has it."""
        state = self.directory() / "new" / "deep"
        lock = StateLock(state)
        self.assertTrue(locked(state))
        with self.assertRaisesRegex(ConfigurationError, f"process {os.getpid()}; stop"):
            StateLock(state)
        lock.release()
        self.assertFalse(locked(state))

    def test_glance(self) -> None:
        """Somebody who only looks whether it is free does not keep a daemon out."""
        state = self.directory()
        StateLock(state).release()
        looker = (
            "import fcntl, sys, time; file = open(sys.argv[1]); "
            f"fcntl.flock(file, {fcntl.LOCK_SH}); print(flush=True); time.sleep(0.2)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", looker, state / LOCK], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            StateLock(state).release()

    def test_unusable(self) -> None:
        """A directory that cannot be is refused in one line."""
        file = self.directory() / "file"
        file.touch()
        for path in (file, file / "below", Path("/proc/nobody/there")):
            with self.assertRaisesRegex(ConfigurationError, f"{path} cannot be used"):
                StateLock(path)

    def test_directory_of_the_system(self) -> None:
        """What lies at the root of the file system and is not ours is left alone."""
        for path in ("/", "/etc", "/usr"):
            with self.assertRaisesRegex(ConfigurationError, "directory of the system"):
                StateLock(Path(path))


class MainTests(Scratch):
    """The program as a whole."""

    def said(self, *words: str) -> tuple[int, str]:
        """The exit status, and what it wrote."""
        text = io.StringIO()
        with redirect_stdout(text), redirect_stderr(text):
            try:
                status = run(words)
            except SystemExit as exit:
                status = exit.code if isinstance(exit.code, int) else 1
        return status, text.getvalue()

    def test_help(self) -> None:
        """The help names every command, and each command has its own."""
        status, everything = self.said("--help")
        self.assertEqual(status, 0)
        for module in COMMANDS:
            name = module.__name__.rpartition(".")[2]
            self.assertIn(f"    {name} ", everything)
            action = ["list"] if name == "key" else []
            status, text = self.said(name, *action, "--help")
            self.assertEqual(status, 0)
            self.assertIn("--state DIR", text)
            self.assertIn("--config FILE", text)

    def test_usage(self) -> None:
        """Words that are no command line end with 2."""
        for words in (
            (),
            ("frobnicate",),
            ("up", "--frob"),
            ("key",),
            ("key", "revoke"),
        ):
            self.assertEqual(self.said(*words)[0], 2, words)

    def test_bad_settings(self) -> None:
        """Settings that cannot work end with 1 and one line."""
        file = self.directory() / "noinfra.toml"
        file.write_text("[edge]\nport = 'smtp'\n")
        for words in (("up",), ("init",), ("migrate",), ("status",), ("key", "list")):
            status, text = self.said(*words, "--config", str(file))
            self.assertEqual(status, 1)
            (line,) = text.splitlines()
            self.assertIn("setting edge.port: ", line)

    def test_no_database_yet(self) -> None:
        """Commands that only look make nothing."""
        state = self.directory() / "state"
        for words in (("status",), ("key", "list")):
            process = subprocess.run(
                [sys.executable, "-m", "noinfra.cli", *words, "--state", state],
                cwd=Path(__file__).parent.parent,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(process.returncode, 1)
            (line,) = process.stderr.splitlines()
            self.assertIn("noinfra init", line)
        self.assertFalse(state.exists())


class SettingsTests(Scratch):
    """Where the settings and the state come from."""

    def test_environment(self) -> None:
        """The environment's state directory counts when nothing is named."""
        self.patch(os, "environ", {"NOINFRA_STATE": "/kept"})
        nothing = Namespace(state=None, config=None)
        self.assertEqual(settings(nothing).state_path, Path("/kept"))
        named = Namespace(state="/named", config=None)
        self.assertEqual(settings(named).state_path, Path("/named"))
        file = self.directory() / "noinfra.toml"
        file.write_text('state = "mine"')
        by_file = settings(Namespace(state=None, config=str(file)))
        self.assertEqual(by_file.state_path, file.parent / "mine")

    def test_twistd(self) -> None:
        """The plugin's options are read at once; what is wrong is wrong usage."""
        options = Options()
        options.parseOptions(["--state", "/there"])
        self.assertEqual(options.config.state_path, Path("/there"))
        with self.assertRaisesRegex(UsageError, "/nope cannot be read"):
            Options().parseOptions(["--config", "/nope"])

    def test_schema(self) -> None:
        """A database of another release is refused, with what to do."""
        check_schema(3, 3)
        with self.assertRaisesRegex(ConfigurationError, "noinfra migrate"):
            check_schema(2, 3)
        with self.assertRaisesRegex(ConfigurationError, "schema 4 .* knows 3 only"):
            check_schema(4, 3)


class KeyTests(SynchronousTestCase):
    """What `key create` asks for."""

    def words(self, **over: object) -> Namespace:
        plain: dict[str, object] = {
            "customer": None,
            "inbox": None,
            "permission": [],
            "preset": None,
        }
        return Namespace(**{"name": "x", **plain, **over})

    def test_root(self) -> None:
        """A key of which nothing is said may do everything."""
        request = wanted(self.words())
        self.assertIsNone(request.customer_id)
        self.assertEqual(frozenset(request.permissions), PERMISSIONS)

    def test_inbox(self) -> None:
        """A key of an inbox may do what an agent needs, unless more is said."""
        request = wanted(self.words(inbox="inb_1"))
        self.assertEqual((request.permissions, request.preset), ([], "runtime"))
        request = wanted(self.words(inbox="inb_1", permission=["events:read"]))
        self.assertEqual((request.permissions, request.preset), (["events:read"], None))

    def test_wrong(self) -> None:
        """A name that cannot be is refused by the name of its field."""
        with self.assertRaisesRegex(Invalid, r"\$\.name"):
            wanted(self.words(name=""))


class TellingTests(Scratch):
    """What a person reads."""

    def test_announcement(self) -> None:
        """The key is shown by the start that made it, and its file by every other."""
        file = self.directory() / "root.key"
        file.write_text("nim_live_secret\n")
        later = evolve(READY, root_key_file=str(file))
        self.assertNotIn("secret", announcement(later))
        self.assertIn(str(file), announcement(later))
        text = announcement(evolve(later, root_key_made=True))
        for part in ("nim_live_secret", "127.0.0.1:2525", READY.base_url, READY.domain):
            self.assertIn(part, text)

    def test_status(self) -> None:
        """The status tells where the daemon is, and for how long mail has waited."""
        queue = Overview(
            queued=2,
            deferred=1,
            oldest_at=NOON - timedelta(hours=26),
            next_due_at=NOON,
            database_size=9 * MIB,
        )
        text = rendered(Status(state="/state", daemon=READY, queue=queue), NOON)
        for part in ("process 4711", "2 queued, 1 deferred", "1 d 2 h", "9.0 MiB"):
            self.assertIn(part, text)
        text = rendered(Status(state="/state", daemon=None, queue=queue), NOON)
        self.assertIn("none serves", text)

    def test_span(self) -> None:
        """A time ago is told in its two largest units."""
        for seconds, text in (
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3605, "1 h 0 min"),
            (90_061, "1 d 1 h"),
            (-5, "0 s"),
        ):
            self.assertEqual(span(NOON + timedelta(seconds=seconds), NOON), text)

    def test_report(self) -> None:
        """A verdict is followed by its remedy and by what to publish."""
        self.assertEqual(
            report([warn("dns: MX", "None.", "Publish this:", "a. IN MX 10 b.")]),
            "warn  dns: MX: None.\n      Publish this:\n        a. IN MX 10 b.\n",
        )


class LogTests(Scratch):
    """Where the log goes."""

    def test_file(self) -> None:
        """The log goes to a file that nobody else reads; a bug is told on stderr too."""
        directory, stderr = self.directory() / "log", io.StringIO()
        publisher = LogPublisher(*log.observers(directory, stderr))
        logger = Logger(namespace="test", observer=publisher)
        logger.info("one {word}", word="two")
        logger.debug("hidden")
        self.assertEqual(stderr.getvalue(), "")
        try:
            raise ValueError("three\nfour")
        except ValueError:
            logger.failure("it broke")
        path = directory / "noinfra.log"
        self.assertEqual(stderr.getvalue(), f"noinfra: it broke: three (see {path})\n")
        text = path.read_text()
        self.assertIn("one two", text)
        self.assertIn("Traceback", text)
        self.assertNotIn("hidden", text)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_bounded(self) -> None:
        """The log is cut into pieces, of which the oldest go."""
        self.patch(log, "ROTATE_AT", 200)
        self.patch(log, "OLD_FILES", 2)
        directory = self.directory()
        publisher = LogPublisher(*log.observers(directory, io.StringIO()))
        for number in range(50):
            Logger(namespace="test", observer=publisher).info("line {n}", n=number)
        self.assertEqual(len([*directory.iterdir()]), 3)

    def test_stderr(self) -> None:
        """Without a directory it goes to stderr."""
        stderr = io.StringIO()
        publisher = LogPublisher(*log.observers(None, stderr))
        Logger(namespace="test", observer=publisher).info("one")
        self.assertIn("one", stderr.getvalue())

    def test_unwritable(self) -> None:
        """A directory that cannot be written to is named."""
        file = self.directory() / "file"
        file.touch()
        with self.assertRaisesRegex(ConfigurationError, f"{file}.*--log -"):
            log.observers(file, io.StringIO())


class MachineTests(Scratch):
    """What doctor finds on this machine."""

    def test_disk(self) -> None:
        """Little room is a warning, and hardly any a failure."""
        state = Path("/state")
        self.assertEqual(disk(state, 5000 * MIB).level, "ok")
        self.assertEqual(disk(state, 500 * MIB).level, "warn")
        self.assertEqual(disk(state, 50 * MIB).level, "fail")
        self.assertIn("MiB are free", disk(self.directory() / "not" / "yet").text)

    def test_ports_of_a_daemon(self) -> None:
        """The addresses of a daemon that runs must answer."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            ready = evolve(READY, addresses={"smtp": f"0.0.0.0:{port}"})
            (verdict,) = ports(Config(), ready)
            self.assertEqual((verdict.name, verdict.level), ("smtp port", "ok"))
        (verdict,) = ports(Config(), ready)
        self.assertEqual(verdict.level, "fail")

    def test_ports_to_be(self) -> None:
        """Without a daemon, the ports of the settings must be free."""
        config = msgspec.structs.replace(Config(), roles=["edge"])
        with socket.create_server(("127.0.0.1", 0)) as server:
            taken = EdgeSettings(port=server.getsockname()[1])
            (verdict,) = ports(msgspec.structs.replace(config, edge=taken), None)
            self.assertEqual((verdict.name, verdict.level), ("edge port", "fail"))
            self.assertIn("edge.port", verdict.remedy)
        (verdict,) = ports(msgspec.structs.replace(config, edge=taken), None)
        self.assertEqual(verdict.level, "ok")
        elsewhere = EdgeSettings(interface="192.0.2.1", port=0)
        (verdict,) = ports(msgspec.structs.replace(config, edge=elsewhere), None)
        self.assertEqual(verdict.level, "fail")
        self.assertIn("edge.interface", verdict.remedy)


class CertificateTests(Scratch):
    """What doctor says of the certificate."""

    def config(
        self,
        name: str = "mail.example.org",
        days: float = 90,
        key: EllipticCurvePrivateKey | None = None,
    ) -> Config:
        """Settings with a certificate for a name, that is valid for so many days."""
        own = generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        leaf = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(own.public_key())
            .serial_number(1)
            .not_valid_before(NOON - timedelta(days=30))
            .not_valid_after(NOON + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
            .sign(own, SHA256())
        )
        directory = self.directory()
        (directory / "cert.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        (directory / "key.pem").write_bytes(
            (key or own).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
        )
        return Config(
            hostname="mail.example.org",
            tls=TlsSettings(
                certificate=str(directory / "cert.pem"), key=str(directory / "key.pem")
            ),
        )

    def level(self, config: Config) -> str:
        return certificate(config, NOON).level

    def test_levels(self) -> None:
        """It must be valid now, for our name, and for a while to come."""
        self.assertEqual(self.level(Config()), "warn")
        self.assertEqual(self.level(self.config()), "ok")
        self.assertEqual(self.level(self.config("*.example.org")), "ok")
        self.assertEqual(self.level(self.config("*.mail.example.org")), "warn")
        self.assertEqual(self.level(self.config("other.example.org")), "warn")
        self.assertEqual(self.level(self.config(days=3)), "warn")
        self.assertEqual(self.level(self.config(days=-1)), "fail")

    def test_key(self) -> None:
        """The key must be the certificate's."""
        verdict = certificate(self.config(key=generate_private_key(SECP256R1())), NOON)
        self.assertEqual(verdict.level, "fail")
        self.assertIn("does not belong", verdict.text)

    def test_unreadable(self) -> None:
        """Files that are not there, or no PEM, are a failure."""
        config = self.config()
        Path(config.tls.certificate or "").write_text("nonsense")
        self.assertEqual(self.level(config), "fail")
        Path(config.tls.certificate or "").unlink()
        self.assertEqual(self.level(config), "fail")


DKIM = DkimKey(
    domain="example.org",
    selector="s1",
    algorithm="rsa-sha256",
    sealed=b"",
    record="v=DKIM1; k=rsa; p=" + "A" * 392,
)


@frozen
class Zone:
    """A Resolver that knows a few names; what it has no answer for fails for now."""

    records: dict[tuple[str, str], tuple[object, ...] | None]

    async def _find(self, kind: str, name: str) -> tuple[object, ...]:
        found = self.records.get((kind, name), ())
        if found is None:
            raise DnsTemporary(f"{name}: no answer.")
        if not found:
            raise NoSuchDomain(f"{name} does not exist.")
        return found

    async def a(self, name: str) -> tuple[str, ...]:
        return tuple(str(each) for each in await self._find("a", name))

    async def aaaa(self, name: str) -> tuple[str, ...]:
        return tuple(str(each) for each in await self._find("aaaa", name))

    async def mx(self, name: str) -> tuple[MailExchange, ...]:
        hosts = await self._find("mx", name)
        return tuple(MailExchange(preference=10, host=str(host)) for host in hosts)

    async def txt(self, name: str) -> tuple[bytes, ...]:
        return tuple(str(each).encode() for each in await self._find("txt", name))

    async def ptr(self, address: str) -> tuple[str, ...]:
        return tuple(str(each) for each in await self._find("ptr", address))


_resolver: type[Resolver] = Zone

GOOD: dict[tuple[str, str], tuple[object, ...] | None] = {
    ("a", "mail.example.org"): ("192.0.2.1",),
    ("ptr", "192.0.2.1"): ("mail.example.org",),
    ("mx", "example.org"): ("backup.example.org", "mail.example.org"),
    ("txt", "example.org"): ("verify=1", "v=spf1 mx -all"),
    ("txt", "s1._domainkey.example.org"): (DKIM.record,),
    ("txt", "_dmarc.example.org"): ("v=DMARC1; p=none",),
}


class PublishedTests(SynchronousTestCase):
    """What doctor says of the DNS."""

    def look(
        self,
        over: dict[tuple[str, str], tuple[object, ...] | None],
        domain: str = "example.org",
    ) -> dict[str, Verdict]:
        """The verdicts on a zone that is good but for what is said, by name."""
        zone = Zone({**GOOD, **over})
        work = published(zone, domain, f"mail.{domain}", [DKIM])
        verdicts = self.successResultOf(Deferred.fromCoroutine(work))
        return {verdict.name: verdict for verdict in verdicts}

    def test_good(self) -> None:
        """When all is published, all is well."""
        verdicts = self.look({})
        self.assertEqual(len(verdicts), 5)
        self.assertEqual({each.level for each in verdicts.values()}, {"ok"})

    def test_nothing(self) -> None:
        """When nothing is published, everything to publish is told."""
        verdicts = self.look(dict.fromkeys(GOOD, ()))
        self.assertEqual(verdicts["dns: address"].level, "fail")
        self.assertEqual(
            verdicts["dns: MX"].records, ("example.org. IN MX 10 mail.example.org.",)
        )
        self.assertEqual(
            verdicts["dns: SPF"].records, ('example.org. IN TXT "v=spf1 mx -all"',)
        )
        (record,) = verdicts["dns: DKIM s1"].records
        self.assertTrue(record.startswith('s1._domainkey.example.org. IN TXT "v=DKIM1'))
        self.assertEqual(verdicts["dns: DMARC"].level, "warn")

    def test_wrong(self) -> None:
        """What is published wrongly is told apart from what is missing."""
        verdicts = self.look(
            {
                ("ptr", "192.0.2.1"): ("dsl-1.example.net",),
                ("mx", "example.org"): ("elsewhere.example.net",),
                ("txt", "example.org"): ("v=spf1 -all", "v=spf1 mx -all"),
                ("txt", "s1._domainkey.example.org"): ("v=DKIM1; p=B",),
            }
        )
        self.assertIn("does not point back", verdicts["dns: address"].text)
        self.assertIn("goes to elsewhere.example.net", verdicts["dns: MX"].text)
        self.assertIn("2 SPF records", verdicts["dns: SPF"].text)
        self.assertIn("another key", verdicts["dns: DKIM s1"].text)

    def test_no_answer(self) -> None:
        """That the DNS does not answer says nothing about what stands there."""
        verdicts = self.look(dict.fromkeys(GOOD, None))
        self.assertEqual({each.level for each in verdicts.values()}, {"warn"})
        self.assertIn("dns.servers", verdicts["dns: MX"].remedy)

    def test_private(self) -> None:
        """A domain that is never in the public DNS is not looked up there."""
        verdicts = self.look({}, "agents.localhost")
        self.assertEqual([*verdicts], ["dns"])

    def test_long_record(self) -> None:
        """A record is written in strings of at most 255 octets."""
        self.assertEqual(quoted("a" * 300), f'"{"a" * 255}" "{"a" * 45}"')
