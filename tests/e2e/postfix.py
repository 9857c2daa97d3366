"""Postfix and NSD: a mail server and a name server of the kind that others run."""

from __future__ import annotations

import os
import pwd
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen
from dns.resolver import Resolver
from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from tests.e2e.daemon import Ended, Process, reactor, spawn
from tests.e2e.sink import (
    free_port,
    listening,
    new_directory,
    program,
    stop_after,
    until_listening,
)
from tests.net.mailhost import certificate

# Services of Postfix that know no port: name, type, unprivileged, wakeup, limit, program.
_SERVICES = """
cleanup   unix  n  -  n  -  0  cleanup
qmgr      unix  n  -  n  1  1  qmgr
tlsmgr    unix  -  -  n  1000? 1  tlsmgr
rewrite   unix  -  -  n  -  -  trivial-rewrite
bounce    unix  -  -  n  -  0  bounce
defer     unix  -  -  n  -  0  bounce
trace     unix  -  -  n  -  0  bounce
verify    unix  -  -  n  -  1  verify
flush     unix  n  -  n  1000? 0  flush
proxymap  unix  -  -  n  -  -  proxymap
smtp      unix  -  -  n  -  -  smtp
relay     unix  -  -  n  -  -  smtp
error     unix  -  -  n  -  -  error
retry     unix  -  -  n  -  -  error
discard   unix  -  -  n  -  -  discard
virtual   unix  -  n  n  -  -  virtual
anvil     unix  -  -  n  -  1  anvil
scache    unix  -  -  n  -  1  scache
postlog   unix-dgram n - n -  1  postlogd
"""


def _settings(home: Path) -> dict[str, str]:
    nobody = pwd.getpwnam("nobody")
    return {
        "compatibility_level": "3.6",
        "queue_directory": str(home / "queue"),
        "data_directory": str(home / "data"),
        "maillog_file": str(home / "log"),
        "maillog_file_prefixes": str(home),
        "myhostname": "mx.far.e2e",
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "inet_protocols": "ipv4",
        # smtpd's own addresses are in master.cf; here it only keeps loops off.
        "inet_interfaces": "127.0.0.1",
        "alias_maps": "",
        "alias_database": "",
        "local_recipient_maps": "",
        "smtputf8_enable": "yes",
        "strict_smtputf8": "no",
        "message_size_limit": "52428800",
        "mailbox_size_limit": "0",
        "virtual_mailbox_limit": "0",
        "virtual_mailbox_base": str(home / "mail"),
        "virtual_uid_maps": f"static:{nobody.pw_uid}",
        "virtual_gid_maps": f"static:{nobody.pw_gid}",
        "virtual_minimum_uid": "1",
        "smtpd_peername_lookup": "no",
        "smtpd_client_connection_rate_limit": "0",
        "smtp_dns_support_level": "disabled",
        "queue_run_delay": "1s",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "smtp_connect_timeout": "5s",
        "destination_concurrency_failed_cohort_limit": "0",
        "default_destination_concurrency_failed_cohort_limit": "0",
    }


@frozen
class Postfix:
    """One instance, in directories of its own.

    :ivar port: where its smtpd listens, at each of the addresses.
    """

    home: Path
    port: int

    @classmethod
    async def start(
        cls,
        test: TestCase,
        settings: Mapping[str, str],
        addresses: Sequence[str] = ("127.0.0.1",),
        port: int = 0,
    ) -> Postfix:
        """An instance that runs until the end of the test.

        :raises SkipTest: Postfix is missing, or we are not root, as it has to be.
        """
        postfix = program("postfix")
        if os.geteuid() != 0:
            raise SkipTest("Postfix is run by root only")
        home = new_directory(test)
        port = port or free_port(addresses[0])
        made = cls(home, port)
        made._prepare({**_settings(home), **settings}, addresses)
        command = [postfix, "-c", str(home / "etc")]

        async def stop() -> None:
            await spawn([*command, "abort"]).end()
            await made._ended()

        starting = spawn([*command, "start"])
        test.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        if await starting.end() != 0:
            raise Ended(starting.said + made.log)
        while not listening(port, addresses[0]):
            await deferLater(reactor(), 0.02)
        return made

    def _prepare(self, settings: Mapping[str, str], addresses: Sequence[str]) -> None:
        for name in ("etc", "queue", "data", "mail"):
            (self.home / name).mkdir()
        user, nobody = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
        os.chown(self.home / "data", user.pw_uid, user.pw_gid)
        os.chown(self.home / "mail", nobody.pw_uid, nobody.pw_gid)
        made, pem = certificate("mx.far.e2e")
        (self.home / "data" / "tls.pem").write_bytes(
            made.privateKey.dump(FILETYPE_PEM) + pem
        )
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self.home / "etc" / "main.cf").write_text("".join(lines))
        servers = [
            f"{address}:{self.port} inet n - n - - smtpd\n" for address in addresses
        ]
        (self.home / "etc" / "master.cf").write_text("".join(servers) + _SERVICES)

    async def _ended(self) -> None:
        """Wait until nothing writes to the directories any more."""
        for _ in range(200):
            if not _working_in(self.home):
                return
            await deferLater(reactor(), 0.05)
        raise Ended(f"Postfix goes on: {self.log[-2000:]}")

    @property
    def log(self) -> str:
        """What it has logged."""
        file = self.home / "log"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    @property
    def queued(self) -> int:
        """How many mails wait in its queues."""
        queues = ("incoming", "active", "deferred", "maildrop")
        return sum(
            1
            for name in queues
            for file in (self.home / "queue" / name).rglob("*")
            if file.is_file()
        )

    def mails(self, name: str) -> list[bytes]:
        """The mails of a mailbox, with CRLF again, with the fields of its delivery."""
        folder = self.home / "mail" / name / "new"
        files = sorted(folder.iterdir()) if folder.exists() else []
        return [file.read_bytes().replace(b"\n", b"\r\n") for file in files]


def _working_in(directory: Path) -> bool:
    """Whether a process has its current directory in there, as Postfix's have."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place = str((entry / "cwd").readlink())
        except OSError:
            continue  # It has just gone, or is not for us to see.
        if re.match(rf"{re.escape(str(directory))}(/|$)", place):
            return True
    return False


@frozen
class Zone:
    """The zone `e2e`, as NSD serves it."""

    port: int
    _file: Path
    _server: Process

    @classmethod
    async def serve(cls, test: TestCase, records: str) -> Zone:
        """NSD with these records, until the end of the test."""
        nsd = program("nsd")
        home, port = new_directory(test), free_port()
        (home / "zone").write_text(_ZONE + records)
        (home / "conf").write_text(_NSD.format(home=home, port=port))
        server = spawn([nsd, "-d", "-c", home / "conf"])
        stop_after(test, server)
        await until_listening(port, server)
        return cls(port, home / "zone", server)

    def add(self, records: str) -> None:
        """Publish some more; that takes a moment."""
        with self._file.open("a") as file:
            file.write(records)
        self._server.send_signal(signal.SIGHUP)

    @property
    def resolver(self) -> Resolver:
        """Somebody else's client for it; it blocks."""
        found = Resolver(configure=False)
        found.nameservers, found.port = ["127.0.0.1"], self.port
        return found


_ZONE = """$ORIGIN e2e.
$TTL 60
@ SOA ns root 1 60 60 60 5
@ NS ns
ns A 127.0.0.1
"""
_NSD = """server:
    ip-address: 127.0.0.1@{port}
    username: ""
    zonesdir: "{home}"
    pidfile: "{home}/nsd.pid"
    xfrdfile: "{home}/xfrd.state"
    xfrdir: "{home}"
    zonelistfile: "{home}/zone.list"
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: e2e
    zonefile: zone
"""
