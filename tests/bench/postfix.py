"""Postfix, with a configuration, a queue and maildirs of its own in the stage.

It takes mail for our domain into maildirs by virtual(8), and relays all other. Its
settings are its defaults, but for what keeps it on the loopback and apart, and for the
pause that it makes when mail comes faster than it goes.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.bench.stage import Stage, answers, environment, free_port, program, until
from tests.bench.table import LeftOut

_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """It runs from when it is made until the stage is left.

    :param relay: the port of the loopback that mail for other domains goes to.
    """

    def __init__(
        self, stage: Stage, domain: str, names: Iterable[str], relay: int | None = None
    ) -> None:
        self._program = program("postfix")
        if os.geteuid():
            raise LeftOut("Postfix starts as root only")
        self._home = stage.directory / "postfix"
        self.mail = self._home / "mail"
        self.port = free_port()
        self._prepare(domain, list(names), relay)
        self._command("start")
        stage.at_end(self._command, "stop")
        until("Postfix does not listen", lambda: answers(self.port))

    def _prepare(self, domain: str, names: list[str], relay: int | None) -> None:
        for folder in ("", "queue", "data", "mail"):
            (self._home / folder).mkdir(mode=0o755)
            (self._home / folder).chmod(0o755)
        nobody = pwd.getpwnam("nobody")
        os.chown(self._home / "data", pwd.getpwnam("postfix").pw_uid, -1)
        os.chown(self.mail, nobody.pw_uid, nobody.pw_gid)
        boxes = "".join(f"{name}@{domain} {name}/\n" for name in names)
        (self._home / "boxes").write_text(boxes)
        (self._home / "master.cf").write_text(_SERVICES.format(port=self.port))
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self._home / "queue",
            "data_directory": self._home / "data",
            "maillog_file_prefixes": self._home,
            "maillog_file": self._home / "log",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "myhostname": "postfix.bench.localhost",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "in_flow_delay": "0s",
            "virtual_mailbox_domains": domain,
            "virtual_mailbox_base": self.mail,
            "virtual_mailbox_maps": f"texthash:{self._home / 'boxes'}",
            "virtual_uid_maps": f"static:{nobody.pw_uid}",
            "virtual_gid_maps": f"static:{nobody.pw_gid}",
            "relayhost": f"[127.0.0.1]:{relay}" if relay else "",
            **self._where(),
        }
        (self._home / "main.cf").write_text(
            "".join(f"{name} = {value}\n" for name, value in settings.items())
        )

    @staticmethod
    def _where() -> dict[str, str]:
        """Where this system keeps Postfix's own programs: as its postconf says."""
        names = (
            "command_directory",
            "daemon_directory",
            "shlib_directory",
            "meta_directory",
        )
        told = subprocess.run(
            [program("postconf"), "-d", *names],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return dict(line.split(" = ", 1) for line in told.splitlines())

    def _command(self, word: str) -> None:
        with (self._home / "said").open("ab") as said:
            done = subprocess.run(
                [self._program, "-c", str(self._home), word],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment(),
                check=False,
            )
        if done.returncode:
            raise RuntimeError(
                f"postfix {word} failed: {(self._home / 'said').read_text()[-500:]}"
            )

    @property
    def pid(self) -> int:
        """The process that all others descend from."""
        return int((self._home / "queue" / "pid" / "master.pid").read_text())

    def _delivered(self) -> Iterator[Path]:
        return self.mail.glob("*/new/*")

    def count(self) -> int:
        """The messages in the maildirs."""
        return sum(1 for _ in self._delivered())

    def until(self, count: int, seconds: float = 120.0) -> float:
        """Wait for so many messages; gives when the last of them was put in place.

        :returns: by the clock of time.time(): a maildir's file changes its inode when
            it is renamed into its place.
        """
        deadline = time.monotonic() + seconds
        while self.count() < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"Postfix delivered {self.count()} of {count}")
            time.sleep(0.1)
        return max(path.stat().st_ctime for path in self._delivered())
