"""Mail programs that others wrote send from an inbox, and hear what became of it."""

from __future__ import annotations

import json
import os
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message as Email
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from noinfra.net.reactor import NetReactor
from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Daemon, reactor, start_daemon
from tests.e2e.sink import program
from tests.net.mailhost import MailHost

REMOTE = "ada@example.net"
NODEMAILER = """
const options = JSON.parse(process.argv[1]);
const transport = require('nodemailer').createTransport(options.server);
transport.sendMail(options.mail).then(
    (sent) => console.log(sent.response),
    (error) => { console.error(error.message); process.exit(1); });
"""


def trusting() -> ssl.SSLContext:
    """A client's context, for certificates that nobody vouches for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class SubmissionTest(TestCase):
    """A daemon with an inbox, me@, and a mail host for all the rest of the world."""

    timeout = 240

    async def setUp(self) -> None:
        self.host = MailHost()
        self.host.listen(cast(NetReactor, reactor()))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.host.close()))
        routes = {"*": f"127.0.0.1:{self.host.port}"}
        self.daemon: Daemon = await start_daemon(self, {"outbound": {"routes": routes}})
        self.api = Api(self.daemon.base_url, self.daemon.root_key)
        self.me: str = await in_thread(self.api.make_inbox, "me")
        self.key = self.daemon.root_key

    def client(self) -> smtplib.SMTP_SSL:
        """A connection that has logged in; only in threads."""
        client = smtplib.SMTP_SSL(
            "127.0.0.1",
            self.daemon.ports["submissions"],
            timeout=30,
            context=trusting(),
        )
        client.login(self.me, self.key)
        return client

    def mail(self, subject: str) -> bytes:
        return f"From: {self.me}\r\nSubject: {subject}\r\n\r\nhi\r\n".encode()

    def until(self, subject: str, **query: object) -> list[dict[str, Any]]:
        """The messages with this subject, once there is one; only in threads."""
        deadline = monotonic() + 30
        while monotonic() < deadline:
            messages = self.api.messages(self.me, **query)
            found = [one for one in messages if one["subject"] == subject]
            if found:
                return found
            sleep(0.1)
        raise AssertionError(f"There is no {subject}: {messages}")


class ClientTests(SubmissionTest):
    """swaks, msmtp, nodemailer, smtplib."""

    def run_program(self, words: Sequence[str], text: str = "", **env: str) -> str:
        """What a program says; only in threads.

        :raises AssertionError: it fails.
        """
        ended = subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **env},
            check=False,
        )
        said = ended.stdout + ended.stderr
        self.assertEqual(ended.returncode, 0, said)
        return said

    def check(self, subject: str, said: str) -> None:
        """It is in Sent at once, and reaches the remote host; only in threads."""
        messages = self.api.messages(self.me)
        (message,) = [one for one in messages if one["subject"] == subject]
        self.assertIn(f"Queued as {message['id']}", said)
        self.assertEqual(message["labels"], ["sent"])
        deadline = monotonic() + 30
        while monotonic() < deadline:
            arrived = [
                one
                for one in map(message_from_bytes, list(self.host.messages))
                if one["Subject"] == subject
            ]
            if arrived:
                break
            sleep(0.05)
        (email,) = arrived
        self.assertIn("with ESMTPSA", email["Received"])
        self.assertEqual(len(email.get_all("DKIM-Signature", [])), 2)
        self.assertIsNone(email["Bcc"])

    async def test_swaks(self) -> None:
        """By swaks: mail goes by PLAIN and LOGIN, with STARTTLS and with TLS at once."""
        swaks = program("swaks")

        def run() -> None:
            for mechanism in ("PLAIN", "LOGIN"):
                for port, tls in (
                    ("submission", ["--tls"]),
                    ("submissions", ["--tls-on-connect"]),
                ):
                    subject = f"{mechanism} {port}"
                    said = self.run_program(
                        [
                            *(swaks, "--server", "127.0.0.1"),
                            *("--port", str(self.daemon.ports[port]), *tls),
                            *("--auth", mechanism, "--auth-user", self.me),
                            *("--auth-password", self.key, "--from", self.me),
                            *("--to", REMOTE, "--header", f"Subject: {subject}"),
                        ]
                    )
                    self.check(subject, said)

        await in_thread(run)

    async def test_swaks_refused(self) -> None:
        """What the server refuses, swaks tells: no TLS, a bad key, another's address."""
        swaks = program("swaks")
        base = [swaks, "--server", "127.0.0.1", "--to", REMOTE]
        base += ["--port", str(self.daemon.ports["submission"])]
        good = ["--tls", "--auth", "PLAIN", "--auth-user", self.me]
        cases = (
            (["--auth", "PLAIN", "--auth-user", self.me, "--from", self.me], ""),
            ([*good, "--auth-password", "wrong", "--from", self.me], "535 5.7.8 "),
            (
                [*good, "--auth-password", self.key, "--from", "a@b.example"],
                "550 5.7.1 ",
            ),
            (
                [
                    *(*good, "--auth-password", self.key, "--from", self.me),
                    *("--h-From", "ceo@example.net"),
                ],
                "550 5.7.1 ",
            ),
        )

        def run(words: list[str]) -> tuple[int, str]:
            ended = subprocess.run(
                words, input="x\n", capture_output=True, text=True, check=False
            )
            return ended.returncode, ended.stdout + ended.stderr

        for words, reply in cases:
            status, said = await in_thread(run, [*base, *words])
            self.assertNotEqual(status, 0, said)
            self.assertIn(reply, said)
        self.assertEqual(await in_thread(self.api.messages, self.me), [])

    async def test_msmtp(self) -> None:
        """By msmtp: mail goes by both kinds of TLS, to recipients of the header."""
        msmtp = program("msmtp")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        for port, starttls in (("submission", "on"), ("submissions", "off")):
            config = directory / port
            config.touch(mode=0o600)
            config.write_text(
                f"account default\nhost 127.0.0.1\nport {self.daemon.ports[port]}\n"
                f"tls on\ntls_starttls {starttls}\ntls_certcheck off\nauth on\n"
                f"user {self.me}\npassword {self.key}\nfrom {self.me}\n"
            )

            def run(subject: str, config: Path) -> None:
                text = (
                    f"From: {self.me}\nTo: {REMOTE}\nBcc: hidden@example.net\n"
                    f"Subject: {subject}\n\n.hello\n"
                )
                words = [msmtp, "-v", "-C", str(config), "--read-recipients"]
                self.check(subject, self.run_program(words, text))
                (message,) = self.until(subject)
                self.assertEqual(message["bcc"], ["hidden@example.net"])

            await in_thread(run, f"msmtp {port}", config)

    async def test_nodemailer(self) -> None:
        """By nodemailer: mail goes by both kinds of TLS, with a file and with names."""
        node, npm = program("node"), shutil.which("npm")
        modules = os.environ.get("NODE_PATH") or (
            subprocess.run(
                [npm, "root", "--global"], capture_output=True, text=True, check=False
            ).stdout.strip()
            if npm
            else ""
        )
        if not (Path(modules) / "nodemailer").is_dir():
            raise SkipTest("nodemailer is not installed")

        def run(port: str) -> None:
            subject = f"nodemailer {port} é"
            options = {
                "server": {
                    "host": "127.0.0.1",
                    "port": self.daemon.ports[port],
                    "secure": port == "submissions",
                    "auth": {"user": self.me, "pass": self.key},
                    "tls": {"rejectUnauthorized": False},
                },
                "mail": {
                    "from": {"name": "Jürgen, agent", "address": self.me},
                    "to": REMOTE,
                    "subject": subject,
                    "text": "hello",
                    "attachments": [{"filename": "a.txt", "content": "file"}],
                },
            }
            said = self.run_program(
                [node, "-e", NODEMAILER, json.dumps(options)], NODE_PATH=modules
            )
            (message,) = self.until(subject)
            self.assertIn(f"Queued as {message['id']}", said)
            self.assertEqual(message["attachments"][0]["filename"], "a.txt")

        for port in ("submission", "submissions"):
            await in_thread(run, port)


class SessionTests(SubmissionTest):
    """What a session may do, and for how long."""

    async def test_revoked(self) -> None:
        """A key that is revoked in the midst of a session ends at the next MAIL."""

        def run() -> None:
            request = {"name": "mail", "preset": "runtime", "inboxId": self.me}
            made = self.api.post("/v1/api-keys", request)
            self.key = made["secret"] if "secret" in made else made["key"]
            with self.client() as client:
                client.sendmail(self.me, [REMOTE], self.mail("before"))
                self.api.call("DELETE", f"/v1/api-keys/{made['id']}")
                deadline = monotonic() + 5
                while (code := client.mail(self.me)[0]) == 250:
                    self.assertLess(monotonic(), deadline)
                    client.rset()
                self.assertEqual(code, 530)
            self.assertEqual(len(self.until("before")), 1)

        await in_thread(run)

    async def test_port_25(self) -> None:
        """The edge offers no AUTH, in clear or in TLS."""

        def run() -> None:
            port = self.daemon.ports["smtp"]
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
                client.ehlo()
                self.assertNotIn("auth", client.esmtp_features)
                client.starttls(context=trusting())
                client.ehlo()
                self.assertNotIn("auth", client.esmtp_features)
                self.assertEqual(client.docmd("AUTH", "PLAIN")[0], 502)

        await in_thread(run)

    async def test_fifty(self) -> None:
        """The fifty-first recipient is for another mail; the fifty get theirs."""

        def run() -> None:
            with self.client() as client:
                to = [f"{number}@example.net" for number in range(51)]
                refused = client.sendmail(self.me, to, self.mail("many"))
                self.assertEqual(
                    {name: said[0] for name, said in refused.items()},
                    {"50@example.net": 452},
                )
            (message,) = self.until("many")
            self.assertEqual(len(message["bcc"]), 50)

        await in_thread(run)

    async def test_local(self) -> None:
        """Mail to another inbox of ours is there at once, with its thread."""

        def run() -> None:
            other = self.api.make_inbox("other")
            octets = (
                f"From: {self.me}\r\nTo: {other}\r\nMessage-ID: <own@laptop>\r\n"
                "Subject: here\r\n\r\nhi\r\n"
            ).encode()
            with self.client() as client:
                client.sendmail(
                    self.me, [other], octets, rcpt_options=["NOTIFY=SUCCESS"]
                )
            mine, other_me = self.me, other
            self.me = other_me
            (message,) = self.until("here")
            self.assertIn("received", message["labels"])
            self.me = mine
            (report,) = self.until("Your message was delivered")
            (sent,) = self.until("here")
            self.assertEqual(report["threadId"], sent["threadId"])

        await in_thread(run)


class ReportTests(SubmissionTest):
    """Delivery status notifications (RFC 3461)."""

    def send(
        self, subject: str, to: str, mail: Sequence[str], rcpt: Sequence[str]
    ) -> None:
        with self.client() as client:
            client.sendmail(self.me, [to], self.mail(subject), mail, rcpt)

    def report(self, subject: str) -> dict[str, str]:
        """The fields of the one notification with this subject; only in threads."""
        (message,) = self.until(subject, labels="received")
        email = message_from_bytes(self.api.raw(self.me, message["id"]))
        status = cast(list[Email], email.get_payload())[1]
        blocks = cast(list[Email], status.get_payload())
        return {name: value for block in blocks for name, value in block.items()}

    async def test_passed_on(self) -> None:
        """A server that knows DSN is told all of it, and reports itself."""

        def run() -> None:
            self.send(
                "on",
                REMOTE,
                ["RET=HDRS", "ENVID=e+2B1"],
                ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;q+40r.example"],
            )
            deadline = monotonic() + 30
            while not self.host.messages and monotonic() < deadline:
                sleep(0.05)
            (mail,) = [one for one in self.host.commands if one.startswith("MAIL ")]
            (rcpt,) = [one for one in self.host.commands if one.startswith("RCPT ")]
            self.assertIn(" RET=HDRS ENVID=e+2B1", mail)
            self.assertIn(" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;q+40r.example", rcpt)
            # What comes back is not ours: the host would have to send it.
            self.assertEqual(self.api.messages(self.me, labels="received"), [])

        await in_thread(run)

    async def test_relayed(self) -> None:
        """Where a server knows no DSN, we tell that it was relayed."""
        self.host.extensions = ("PIPELINING", "8BITMIME")

        def run() -> None:
            self.send("on", REMOTE, ["ENVID=e1"], ["NOTIFY=SUCCESS"])
            fields = self.report("Your message was passed on")
            self.assertEqual(fields["Action"], "relayed")
            self.assertEqual(fields["Final-Recipient"], f"rfc822; {REMOTE}")
            self.assertEqual(fields["Original-Envelope-Id"], "e1")

        await in_thread(run)

    async def test_failed(self) -> None:
        """A refusal is told, to who said nothing of reports; and not to who wants none."""
        self.host.says["RCPT"] = "550 5.1.1 Nobody here."

        def run() -> None:
            self.send("quiet", REMOTE, [], ["NOTIFY=NEVER"])
            self.send("loud", "eve@example.net", [], [])
            fields = self.report("Your message was not delivered")
            self.assertEqual(fields["Action"], "failed")
            self.assertEqual(fields["Status"], "5.1.1")
            self.assertEqual(fields["Final-Recipient"], "rfc822; eve@example.net")
            self.assertIn("Nobody here.", fields["Diagnostic-Code"])

        await in_thread(run)
