"""Mail programs that others wrote open an inbox, while others work in it over REST."""

from __future__ import annotations

import imaplib
import re
import smtplib
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

from twisted.trial.unittest import TestCase

from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import Daemon, start_daemon
from tests.e2e.sink import program

T = TypeVar("T")
PATIENCE = 15.0
FOLDERS = {"INBOX", "Archive", "Drafts", "Sent", "Spam", "Trash"}


def trusting() -> ssl.SSLContext:
    """A client's context, for certificates that nobody vouches for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def until(question: Callable[[], T | None]) -> T:
    """The answer, once there is one; only in threads."""
    deadline = monotonic() + PATIENCE
    while not (answer := question()):
        assert monotonic() < deadline, "it did not come"
        sleep(0.05)
    return answer


def run(*command: object) -> bytes:
    """What a program says on its standard output; it must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, timeout=60)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


class ImapTest(TestCase):
    """A daemon with an inbox, me@."""

    timeout = 240

    async def setUp(self) -> None:
        self.daemon: Daemon = await start_daemon(
            self, {"imap": {"port": 0, "tls_port": 0}}
        )
        self.api = Api(self.daemon.base_url, self.daemon.root_key)
        self.me: str = await in_thread(self.api.make_inbox, "me")
        self.key = self.daemon.root_key
        self.port = self.daemon.ports["imaps"]

    def client(self) -> imaplib.IMAP4_SSL:
        """A connection that has logged in; only in threads."""
        client = imaplib.IMAP4_SSL(
            "127.0.0.1", self.port, ssl_context=trusting(), timeout=30
        )
        client.login(self.me, self.key)
        return client

    def deliver(self, subject: str, body: str = "hi") -> None:
        """Mail from outside."""
        with smtplib.SMTP("127.0.0.1", self.daemon.ports["smtp"], timeout=30) as edge:
            edge.sendmail(
                "ada@example.net",
                [self.me],
                f"From: Ada <ada@example.net>\r\nTo: {self.me}\r\n"
                f"Subject: {subject}\r\nMessage-ID: <{subject}@example.net>\r\n\r\n"
                f"{body}\r\n",
            )

    def message(self, subject: str) -> dict[str, Any]:
        """The message of this subject, as the API has it."""

        def find() -> dict[str, Any] | None:
            messages = self.api.messages(self.me)
            found = [one for one in messages if one["subject"] == subject]
            return found[0] if found else None

        return until(find)


class ClientTests(ImapTest):
    """One client, one thing."""

    async def test_imaplib(self) -> None:
        """Python's client reads, flags, searches, copies, moves, appends, expunges."""

        def talk() -> None:
            for number in range(3):
                self.deliver(f"s{number}", f"word{number}")
            client = self.client()
            listed = [str(line, "ascii").split(' "/" ')[1] for line in client.list()[1]]  # type: ignore[arg-type]  # typeshed has None for a line
            self.assertEqual({name.strip('"') for name in listed}, FOLDERS)
            self.assertEqual(client.select()[1], [b"3"])
            raw = client.fetch("2", "(BODY.PEEK[])")[1][0]
            assert isinstance(raw, tuple)
            self.assertEqual(raw[1], self.api.raw(self.me, self.message("s1")["id"]))
            size = client.fetch("2", "RFC822.SIZE")[1]
            self.assertEqual(size, [b"2 (RFC822.SIZE %d)" % len(raw[1])])
            part = client.fetch("3", "BODY[1]<0.5>")[1][0]
            assert isinstance(part, tuple)
            self.assertEqual(part[1], b"word2")
            self.assertEqual(client.search(None, "UNSEEN")[1], [b"1 2"])
            self.assertEqual(client.search(None, "TEXT", "word1")[1], [b"2"])
            self.assertEqual(client.search(None, "SUBJECT", "s0")[1], [b"1"])
            found = client.sort("(REVERSE SUBJECT)", "UTF-8", "ALL")[1]
            self.assertEqual(found, [b"3 2 1"])
            self.assertEqual(client.create("Work/2026")[0], "OK")
            self.assertIn(b"COPYUID", client.copy("1:2", "Work/2026")[1][0])
            self.assertEqual(client.uid("MOVE", "1", "Archive")[0], "OK")
            client.store("1", "+FLAGS", "\\Deleted")
            self.assertEqual(client.expunge()[0], "OK")
            mail = b"Subject: mine\r\n\r\nhi\r\n"
            appended = client.append("Sent", "(\\Seen $Mine)", "", mail)[1][0]
            self.assertIn(b"APPENDUID", appended)
            self.assertEqual(client.select("Sent")[1], [b"1"])
            flags = client.fetch("1", "FLAGS")[1][0]
            assert isinstance(flags, bytes)
            self.assertEqual(
                set(re.findall(rb"[\\$]\w+", flags)), {b"\\Seen", b"$Mine"}
            )
            self.assertEqual(client.select()[1], [b"1"])
            client.logout()

        await in_thread(talk)

    async def test_curl(self) -> None:
        """With curl one lists, reads, searches and appends."""
        curl = program("curl")
        url, login = f"imaps://127.0.0.1:{self.port}", f"{self.me}:{self.key}"
        upload = Path(self.mktemp()).absolute()

        def talk() -> None:
            self.deliver("first")
            self.assertIn(b'"Drafts"', run(curl, "-skS", "-u", login, f"{url}/"))
            read = run(curl, "-skS", "-u", login, f"{url}/INBOX;MAILINDEX=1")
            self.assertIn(b"Subject: first\r\n", read)
            mail = b"Subject: second\r\n\r\nfrom curl\r\n"
            upload.write_bytes(mail)
            run(curl, "-skS", "-u", login, f"{url}/INBOX", "-T", upload)
            read = run(curl, "-skS", "-u", login, f"{url}/INBOX;UID=2")
            self.assertEqual(read, mail)
            found = run(curl, "-skS", "-u", login, f"{url}/INBOX", "-X", "SEARCH ALL")
            self.assertEqual(found, b"* SEARCH 1 2\r\n")

        await in_thread(talk)

    async def test_mbsync(self) -> None:
        """A maildir and the inbox become one, whichever side changed; twice the same."""
        mbsync, directory = program("mbsync"), Path(self.mktemp()).absolute()

        def both_sides() -> tuple[set[str], set[str]]:
            client, ours, theirs = self.client(), set(), set()
            for folder in (*FOLDERS, "Mine"):
                count = int(client.select(folder)[1][0] or b"0")
                fetched = client.fetch("1:*", "BODY.PEEK[HEADER]")[1] if count else []
                for one in fetched:
                    if isinstance(one, tuple):
                        ours.add(f"{folder} {subject(one[1])}")
                for path in (directory / folder).glob("*/*"):
                    theirs.add(f"{folder} {subject(path.read_bytes())}")
            client.logout()
            return ours, theirs

        def talk() -> None:
            config = self.config(directory)
            for number in range(20):
                self.deliver(f"in{number}")
            run(mbsync, "-c", config, "-a")
            new = directory / "INBOX" / "new"
            (new / "1.local").write_bytes(b"Subject: up\n\nhi\n")
            for name in ("cur", "new", "tmp"):
                (directory / "Mine" / name).mkdir(parents=True)
            (directory / "Mine" / "cur" / "2.local:2,FS").write_bytes(
                b"Subject: own\n\n"
            )
            client = self.client()
            client.select()
            client.uid("MOVE", "3", "Archive")
            client.uid("STORE", "4", "+FLAGS", "\\Deleted")
            client.expunge()
            client.logout()
            (gone,) = (path for path in new.iterdir() if ",U=5" in path.name)
            gone.unlink()
            for _ in range(2):
                run(mbsync, "-c", config, "-a")
            expected = {f"INBOX in{n}" for n in range(20) if n not in (2, 3, 4)}
            expected |= {"INBOX up", "Archive in2", "Mine own"}
            self.assertEqual(both_sides(), (expected, expected))
            self.assertIn("starred", self.message("own")["labels"])

        await in_thread(talk)

    def config(self, directory: Path) -> Path:
        """A configuration of mbsync, for a fresh maildir."""
        directory.mkdir()
        path = directory.with_suffix(".mbsyncrc")
        path.write_text(f"""\
IMAPAccount ours
Host 127.0.0.1
Port {self.port}
User {self.me}
Pass {self.key}
SSLType IMAPS
CertificateFile {self.daemon.state}/tls/smtp.crt

IMAPStore far
Account ours

MaildirStore near
Path {directory}/
Inbox {directory}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")
        return path


class OneThingTests(ImapTest):
    """What happens in a mail client, and what happens over REST, are one thing."""

    async def test_labels(self) -> None:
        """Flags are labels, and labels are keywords, both ways."""

        def talk() -> None:
            self.deliver("one")
            found = self.message("one")
            self.assertIn("unread", found["labels"])
            client = self.client()
            client.select()
            client.store("1", "+FLAGS", "(\\Seen \\Flagged todo)")
            labels = self.message("one")["labels"]
            self.assertTrue({"starred", "todo"} <= set(labels), labels)
            self.assertNotIn("unread", labels)
            path = f"/v1/inboxes/{self.me}/messages/{found['id']}"
            changed = self.api.call(
                "PATCH", path, {"addLabels": ["done"], "removeLabels": ["starred"]}
            )
            self.assertLess(changed.status, 300, changed.body)
            client.noop()
            flags = client.fetch("1", "FLAGS")[1][0]
            assert isinstance(flags, bytes)
            self.assertIn(b"done", flags)
            self.assertNotIn(b"\\Flagged", flags)

        await in_thread(talk)

    async def test_idle(self) -> None:
        """An idle session hears of new mail within a second of SMTP's 250."""

        def talk() -> float:
            client = self.client()
            client.select()
            client.send(b"i IDLE\r\n")
            self.assertEqual(client.readline(), b"+ idling\r\n")
            self.deliver("news")
            start = monotonic()
            self.assertEqual(client.readline(), b"* 1 EXISTS\r\n")
            took = monotonic() - start
            client.send(b"DONE\r\n")
            self.assertTrue(client.readline().startswith(b"i OK"))
            return took

        self.assertLess(await in_thread(talk), 1.0)

    async def test_revoked(self) -> None:
        """A key that is revoked ends its sessions, idle ones too."""

        def talk() -> None:
            made = self.api.post(
                "/v1/api-keys",
                {"name": "mail", "preset": "read-only", "inboxId": self.me},
            )
            key_id = made.get("id") or made["key"]["id"]
            secret = made.get("secret") or made["key"]
            client = imaplib.IMAP4_SSL(
                "127.0.0.1", self.port, ssl_context=trusting(), timeout=30
            )
            client.login(self.me, secret)
            with self.assertRaises(imaplib.IMAP4.readonly):
                client.select()
            client.send(b"i IDLE\r\n")
            self.assertEqual(client.readline(), b"+ idling\r\n")
            answered = self.api.call("DELETE", f"/v1/api-keys/{key_id}")
            self.assertLess(answered.status, 300, answered.body)
            self.assertTrue(client.readline().startswith(b"* BYE [EXPIRED]"))

        await in_thread(talk)


def subject(octets: bytes) -> str:
    """The subject of a mail, as it stands there."""
    found = re.search(rb"^Subject: (\S+)", octets, re.MULTILINE)
    assert found is not None, octets
    return found[1].decode()
