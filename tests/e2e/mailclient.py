"""A daemon for mail programs: an inbox with a password, what the API says of it."""

from __future__ import annotations

import imaplib
import os
import smtplib
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from noinfra.net.reactor import NetReactor
from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Daemon, reactor, start_daemon
from tests.net.mailhost import MailHost

T = TypeVar("T")
# What is done on one side is to be seen on the other within this time, in seconds.
AT_ONCE = 1.0


def trusting() -> ssl.SSLContext:
    """A client's context, for certificates that nobody vouches for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def within(seconds: float, question: Callable[[], T | None]) -> T:
    """The answer, once there is one; only in threads.

    :raises AssertionError: it does not come in time.
    """
    deadline = monotonic() + seconds
    while not (answer := question()):
        assert monotonic() < deadline, "it did not come"
        sleep(0.02)
    return answer


def foreign_environment() -> dict[str, str]:
    """Ours, without what would make another Python load our packages."""
    ours = ("PYTHON", "COVERAGE", "VIRTUAL_ENV")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)}


def run(*command: object, text: str = "", **environment: str) -> str:
    """What a program says; only in threads.

    :raises AssertionError: it fails.
    """
    words = [str(word) for word in command]
    ended = subprocess.run(
        words,
        input=text.encode(),
        capture_output=True,
        timeout=60,
        env={**foreign_environment(), **environment},
        check=False,
    )
    said = (ended.stdout + ended.stderr).decode("utf-8", "replace")
    assert ended.returncode == 0, (words, said)
    return said


class MailClientTest(TestCase):
    """A daemon with an inbox, me@, and a mail host for all the rest of the world."""

    timeout = 240

    async def setUp(self) -> None:
        self.host = MailHost()
        self.host.listen(cast(NetReactor, reactor()))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.host.close()))
        routes = {"*": f"127.0.0.1:{self.host.port}"}
        self.daemon: Daemon = await start_daemon(self, {"outbound": {"routes": routes}})
        self.api = Api(self.daemon.base_url, self.daemon.root_key)
        made = await in_thread(
            self.api.post, "/v1/inboxes", {"username": "me", "password": True}
        )
        self.me: str = made["address"]
        self.password: str = made["password"]
        self.port = self.daemon.ports["imaps"]
        self.certificate = self.daemon.state / "tls" / "smtp.crt"
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)

    def file(self, name: str, text: str) -> Path:
        """A file of a client, that nobody else may read."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def client(self) -> imaplib.IMAP4_SSL:
        """A connection that has logged in; only in threads."""
        client = imaplib.IMAP4_SSL(
            "127.0.0.1", self.port, ssl_context=trusting(), timeout=30
        )
        client.login(self.me, self.password)
        return client

    def deliver(self, *subjects: str) -> None:
        """Mail from outside; only in threads."""
        with smtplib.SMTP("127.0.0.1", self.daemon.ports["smtp"], timeout=30) as edge:
            for subject in subjects:
                edge.sendmail(
                    "ada@example.net",
                    [self.me],
                    f"From: Ada <ada@example.net>\r\nTo: {self.me}\r\n"
                    f"Subject: {subject}\r\nMessage-ID: <{subject}@example.net>\r\n"
                    f"\r\n{subject} it is.\r\n",
                )

    def found(self, subject: str) -> list[dict[str, Any]]:
        """The messages with this subject, wherever they are; only in threads."""
        messages = self.api.messages(self.me, includeTrash="true", includeSpam="true")
        return [one for one in messages if one["subject"] == subject]

    def soon(
        self, subject: str, so: Callable[[dict[str, Any]], bool] = bool
    ) -> dict[str, Any]:
        """The one message with this subject, once it is as asked; only in threads."""
        (message,) = within(
            AT_ONCE, lambda: [one for one in self.found(subject) if so(one)]
        )
        return message

    def folders(self) -> dict[str, list[str]]:
        """The subjects in each folder that has any, as the API has them, sorted."""
        found: dict[str, list[str]] = {}
        for one in self.api.messages(self.me, includeTrash="true", includeSpam="true"):
            found.setdefault(one["folder"], []).append(one["subject"])
        return {folder: sorted(subjects) for folder, subjects in found.items()}

    def label(self, subject: str, **change: list[str]) -> None:
        """Change labels over REST: `addLabels`, `removeLabels`; only in threads."""
        (message,) = self.found(subject)
        path = f"/v1/inboxes/{self.me}/messages/{message['id']}"
        answered = self.api.call("PATCH", path, change)
        assert answered.status == 200, answered

    def delete(self, subject: str, permanent: bool = False) -> None:
        """To Trash over REST, or for good; only in threads."""
        (message,) = self.found(subject)
        path = f"/v1/inboxes/{self.me}/messages/{message['id']}"
        answered = self.api.call("DELETE", path + ("?permanent=true" * permanent))
        assert answered.status < 300, answered

    def events(self) -> list[str]:
        """The types of what has happened, in order; only in threads."""
        return [one["type"] for one in self.api.pages("/v1/events", limit=100)]
