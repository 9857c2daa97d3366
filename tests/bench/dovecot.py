"""Dovecot, with a configuration, a socket directory and maildirs of its own in the stage.

It serves IMAP over TLS and takes mail by LMTP. Its settings are its defaults, but for
what keeps it on the loopback and apart, and for limits that would refuse a load.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterable
from pathlib import Path

from tests.bench.stage import Stage, answers, free_port, program, until
from tests.bench.table import LeftOut

PASSWORD = "secret"
_LIBRARY = Path("/usr/lib/dovecot")
_SETTINGS = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
listen = 127.0.0.1
protocols = imap lmtp
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = maildir:{mail}/%n
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
postmaster_address = postmaster@bench.example
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%n allow_all_users=yes
}}
service anvil {{
  client_limit = 5000
}}
service auth {{
  client_limit = 5000
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
protocol imap {{
  mail_max_userip_connections = 1000
}}
"""


class Dovecot:
    """It runs from when it is made until the stage is left.

    :param certificate: a certificate, and its key beside it, for its TLS.
    """

    def __init__(self, stage: Stage, certificate: Path, key: Path) -> None:
        command = program("dovecot")
        if os.geteuid():
            raise LeftOut("Dovecot starts as root only")
        for part in ("imap", "lmtp"):
            if not (_LIBRARY / part).exists():
                raise LeftOut(f"dovecot-{part}d is not installed")
        self._home = stage.directory / "dovecot"
        self._owner = pwd.getpwnam("nobody")
        self.mail = self._home / "mail"
        for folder in (self._home, self.mail):
            folder.mkdir(mode=0o755)
        os.chown(self.mail, self._owner.pw_uid, self._owner.pw_gid)
        self.port, self.lmtp = free_port(), free_port()
        file = self._home / "dovecot.conf"
        file.write_text(
            _SETTINGS.format(
                home=self._home,
                mail=self.mail,
                certificate=certificate,
                key=key,
                uid=self._owner.pw_uid,
                gid=self._owner.pw_gid,
                password=PASSWORD,
                port=self.port,
                lmtp=self.lmtp,
            )
        )
        stage.start([command, "-F", "-c", file], self._home / "said")
        until("Dovecot does not listen", lambda: answers(self.port))
        until("Dovecot takes no mail", lambda: answers(self.lmtp))

    def fill(self, name: str, mails: Iterable[bytes]) -> None:
        """Put mail into a new inbox's maildir, as mail that no client has seen yet."""
        box = self.mail / name
        for folder in (box, *(box / part for part in ("cur", "new", "tmp"))):
            folder.mkdir(mode=0o700)
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
        for number, octets in enumerate(mails):
            # maildir(5): seconds, a unique part, a host; in the order in which it came.
            path = box / "new" / f"{1_700_000_000 + number}.M{number}.bench"
            path.write_bytes(octets)
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)


def deliver(port: int, recipient: str, octets: bytes) -> None:
    """One message by LMTP (RFC 2033); back when it is delivered."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        reader = client.makefile("rb")

        def hear() -> None:
            line = reader.readline()
            while line[3:4] == b"-":
                line = reader.readline()
            if line[:1] not in b"23":
                raise RuntimeError(f"Dovecot's LMTP says {line!r}")

        hear()
        for command in (
            b"LHLO bench.example",
            b"MAIL FROM:<writer@bench.example>",
            b"RCPT TO:<" + recipient.encode() + b">",
            b"DATA",
            octets + b".",
        ):
            client.sendall(command + b"\r\n")
            hear()
