"""Mail programs that others wrote, in batch: what they do and what the API says agree."""

from __future__ import annotations

import hashlib
import imaplib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

from twisted.trial.unittest import SkipTest

from noinfra.mail.imap.names import decode_utf7
from tests.e2e.api import in_thread
from tests.e2e.mailclient import MailClientTest, run, within
from tests.e2e.sink import program

# Folder, then the file names of a maildir without what numbers them.
Seen = dict[str, list[tuple[str, str]]]

IMAPFLOW = """
const { ImapFlow } = require('imapflow');
const options = JSON.parse(process.argv[1]);
const client = new ImapFlow({ ...options, logger: false });
(async () => {
    await client.connect();
    const listed = (await client.list()).map((box) => [box.path, box.specialUse]);
    const lock = await client.getMailboxLock('INBOX');
    const subjects = [];
    for await (const one of client.fetch('1:*', { envelope: true, flags: true }))
        subjects.push(one.envelope.subject);
    const found = await client.search({ subject: 'two' }, { uid: true });
    const { content } = await client.download(String(found[0]), undefined, { uid: true });
    const pieces = [];
    for await (const piece of content) pieces.push(piece);
    await client.messageFlagsAdd(String(found[0]), ['\\\\Seen', 'todo'], { uid: true });
    await client.messageMove({ subject: 'one' }, 'Archive');
    await client.messageDelete({ subject: 'three' });
    const arrived = new Promise((told) => client.once('exists', told));
    const idling = client.idle();
    console.error('idling');
    const { count } = await arrived;
    lock.release();
    await client.append('Drafts', 'Subject: draft\\r\\n\\r\\nhi\\r\\n', ['\\\\Draft']);
    await client.logout();
    console.log(JSON.stringify(
        { listed, subjects, count, body: Buffer.concat(pieces).toString() }));
})().catch((error) => { console.error(error); process.exit(1); });
"""


def maildir(path: Path) -> Path:
    """Make a maildir."""
    for part in ("cur", "new", "tmp"):
        (path / part).mkdir(parents=True)
    return path


def subject_of(octets: bytes) -> str:
    """The subject of a mail, as it stands there."""
    found = re.search(rb"^Subject: ([^\r\n]*)", octets, re.MULTILINE)
    assert found is not None, octets
    return found[1].decode()


def mailbox_flags(path: Path) -> str:
    """The letters of maildir(5) in the name of a message's file."""
    return path.name.partition(":2,")[2]


def in_maildirs(directory: Path) -> Seen:
    """What maildirs hold: subjects with the letters of their flags."""
    found: Seen = {}
    for path in directory.glob("**/*"):
        if path.is_file() and path.parent.name in ("cur", "new"):
            folder = str(path.parent.parent.relative_to(directory))
            one = subject_of(path.read_bytes()), mailbox_flags(path)
            found.setdefault(folder, []).append(one)
    return {folder: sorted(held) for folder, held in found.items()}


def fingerprint(directory: Path) -> str:
    """Of all names and contents below a directory."""
    whole = hashlib.sha256()
    for path in sorted(directory.glob("**/*")):
        whole.update(f"{path.relative_to(directory)}\n".encode())
        if path.is_file() and path.parent.name in ("cur", "new"):
            whole.update(path.read_bytes())
    return whole.hexdigest()


class SynchronisingTests(MailClientTest):
    """Two sides that become one, whichever of them has changed."""

    def imap_letters(self) -> Seen:
        """What the folders hold, by a client of Python's; only in threads."""
        letters = {"\\Seen": "S", "\\Flagged": "F", "\\Answered": "R", "\\Draft": "D"}
        client, found = self.client(), Seen()
        for line in client.list()[1]:
            assert isinstance(line, bytes)
            name = line.rpartition(b' "/" ')[2].strip(b'"').decode()
            if client.select(f'"{name}"', readonly=True)[1] == [b"0"]:
                continue
            fetched = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER])")[1]
            for one in fetched:
                if isinstance(one, tuple):
                    flags = imaplib.ParseFlags(one[0])
                    held = {letters.get(flag.decode(), "") for flag in flags}
                    shown = subject_of(one[1]), "".join(sorted(held))
                    found.setdefault(name, []).append(shown)
        client.logout()
        return {folder: sorted(held) for folder, held in found.items()}

    def agree(self, directory: Path) -> None:
        """The maildirs, the folders and the API hold the same; only in threads."""
        ours = self.imap_letters()
        self.assertEqual(in_maildirs(directory), ours)
        subjects = {
            decode_utf7(folder.encode()): [subject for subject, _ in held]
            for folder, held in ours.items()
        }
        self.assertEqual(subjects, self.folders())

    async def test_mbsync(self) -> None:
        """By mbsync: mail, flags, folders and deletions go both ways, each of them once."""
        mbsync, directory = program("mbsync"), self.directory / "mail"
        directory.mkdir()
        config = self.file("mbsyncrc", self.mbsyncrc(directory))

        def sync() -> None:
            run(mbsync, "-c", config, "-a")

        def theirs(subject: str) -> Path:
            (path,) = [
                path
                for path in directory.glob("**/*")
                if path.is_file()
                and path.parent.name in ("cur", "new")
                and subject_of(path.read_bytes()) == subject
            ]
            return path

        def flag(subject: str, letters: str) -> None:
            path = theirs(subject)
            name = f"{path.name.partition(':2,')[0]}:2,{letters}"
            path.rename(path.parent.parent / "cur" / name)

        def talk() -> None:
            self.deliver(*(f"in{number}" for number in range(12)))
            sync()
            self.agree(directory)
            # There, and here, in the same interval.
            maildir(directory / "Work")
            # It writes names as they are: in modified UTF-7 (RFC 3501, 5.1.3).
            maildir(directory / "Work" / "&AMQ- &- B")
            inbox = directory / "INBOX"
            (inbox / "new" / "1.new").write_bytes(b"Subject: up\n\nhi\n")
            own = directory / "Work" / "&AMQ- &- B" / "cur" / "2.own:2,FS"
            own.write_bytes(b"Subject: own\n\nhi\n")
            draft = directory / "Drafts" / "cur" / "3.draft:2,DS"
            draft.write_bytes(b"Subject: draft\n\nnot done\n")
            flag("in0", "FRS")
            flag("in1", "S")
            theirs("in2").unlink()
            theirs("in3").rename(directory / "Archive" / "cur" / "4.moved:2,S")
            self.deliver("late")
            self.label("in4", addLabels=["starred"], removeLabels=["unread"])
            self.label("in1", addLabels=["starred"])
            self.delete("in5")
            self.delete("in6", permanent=True)
            client = self.client()
            client.create("Other")
            client.select()
            client.uid("COPY", "8", "Other")
            client.uid("MOVE", "9", "Spam")
            client.logout()
            sync()
            sync()
            self.agree(directory)
            before = fingerprint(directory), self.imap_letters(), self.events()
            sync()
            after = fingerprint(directory), self.imap_letters(), self.events()
            self.assertEqual(before, after)
            folders = self.folders()
            self.assertEqual(
                folders.pop("INBOX"),
                sorted(["up", "late", *(f"in{n}" for n in (0, 1, 4, 7, 9, 10, 11))]),
            )
            self.assertEqual(
                folders,
                {
                    "Archive": ["in3"],
                    "Drafts": ["draft"],
                    "Other": ["in7"],
                    "Spam": ["in8"],
                    "Trash": ["in5"],
                    "Work/Ä & B": ["own"],
                },
            )
            self.assertIn(("in4", "FS"), in_maildirs(directory)["INBOX"])
            self.assertIn(("in1", "FS"), in_maildirs(directory)["INBOX"])
            labels = set(self.soon("own")["labels"])
            self.assertEqual(labels & {"starred", "unread"}, {"starred"})
            for type in (
                "message.labels.updated",
                "message.deleted",
                "message.appended",
                "draft.created",
            ):
                self.assertIn(type, after[2])

        await in_thread(talk)

    def mbsyncrc(self, directory: Path) -> str:
        """All folders, both ways."""
        return f"""\
IMAPAccount ours
Host 127.0.0.1
Port {self.port}
User {self.me}
Pass {self.password}
SSLType IMAPS
CertificateFile {self.certificate}

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
"""

    async def test_offlineimap(self) -> None:
        """By offlineimap3: the same, and another run changes nothing."""
        offlineimap, directory = program("offlineimap"), self.directory / "mail"
        config = self.file("offlineimaprc", self.offlineimaprc(directory))

        def sync() -> None:
            run(
                offlineimap, "-c", config, "-o", "-u", "basic", HOME=str(self.directory)
            )

        def talk() -> None:
            self.deliver(*(f"in{number}" for number in range(6)))
            sync()
            self.agree(directory)
            inbox = directory / "INBOX"
            for path in [*(inbox / "new").iterdir(), *(inbox / "cur").iterdir()]:
                subject = subject_of(path.read_bytes())
                if subject == "in0":
                    name = f"{path.name.partition(':2,')[0]}:2,FS"
                    path.rename(inbox / "cur" / name)
                elif subject == "in1":
                    path.unlink()
            up = inbox / "new" / "1700000000_0.1.here"
            up.write_bytes(b"Subject: up\nMessage-ID: <up@here>\n\nhi\n")
            maildir(directory / "Own")
            self.deliver("late")
            self.label("in2", addLabels=["starred"], removeLabels=["unread"])
            self.delete("in3")
            for _ in range(2):
                sync()
            self.agree(directory)
            before = fingerprint(directory), self.imap_letters(), self.events()
            sync()
            after = fingerprint(directory), self.imap_letters(), self.events()
            self.assertEqual(before, after)
            inside = in_maildirs(directory)
            self.assertEqual(
                inside,
                {
                    "INBOX": [
                        *(("in0", "FS"), ("in2", "FS"), ("in4", ""), ("in5", "")),
                        *(("late", ""), ("up", "")),
                    ],
                    "Trash": [("in3", "")],
                },
            )
            client = self.client()
            self.assertEqual(client.select("Own")[0], "OK")
            client.logout()

        await in_thread(talk)

    def offlineimaprc(self, directory: Path) -> str:
        """All folders, both ways; it knows the certificate by its SHA-1."""
        der = PEM_cert_to_DER_cert(self.certificate.read_text())
        certificate = hashlib.sha1(der, usedforsecurity=False).hexdigest()
        return f"""\
[general]
accounts = ours
metadata = {self.directory}/offlineimap
[Account ours]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {directory}
sep = /
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {self.port}
remoteuser = {self.me}
remotepass = {self.password}
ssl = yes
cert_fingerprint = {certificate}
folderfilter = lambda name: True
"""


class ReadingTests(MailClientTest):
    """Programs that fetch, look at and change what is in the inbox."""

    async def test_curl(self) -> None:
        """By curl: lists, fetches, searches, flags and appends; seen at once over REST."""
        curl, url = program("curl"), f"imaps://127.0.0.1:{self.port}"
        upload = self.file("mail", "Subject: mine\r\n\r\nfrom curl\r\n")

        def ask(path: str, *options: object) -> str:
            login = f"{self.me}:{self.password}"
            return run(curl, "-skS", "-u", login, f"{url}/{path}", *options)

        def talk() -> None:
            self.deliver("one", "two")
            listed = ask("")
            for name in ("INBOX", "Archive", "Drafts", "Sent", "Spam", "Trash"):
                self.assertRegex(listed, rf'"/" "?{name}"?\r\n')
            read = ask("INBOX;UID=1")
            self.assertEqual(read.encode(), self.api.raw(self.me, self.id_of("one")))
            self.soon("one", lambda one: "unread" not in one["labels"])
            self.assertIn("unread", self.soon("two")["labels"])
            self.assertEqual(ask("INBOX;UID=2;SECTION=TEXT").rstrip(), "two it is.")
            self.assertEqual(ask("INBOX?TEXT%20two"), "* SEARCH 2\r\n")
            ask("INBOX", "-X", "STORE 2 +FLAGS.SILENT (\\Flagged)")
            self.soon("two", lambda one: "starred" in one["labels"])
            for folder in ("INBOX", "Drafts", "Archive"):
                ask(folder, "-T", upload)
            self.assertEqual(ask("Drafts;UID=1"), upload.read_bytes().decode())
            self.assertEqual(
                self.folders(),
                {
                    "Archive": ["mine"],
                    "Drafts": ["mine"],
                    "INBOX": ["mine", "one", "two"],
                },
            )
            self.assertEqual(self.events().count("draft.created"), 1)

        await in_thread(talk)

    def id_of(self, subject: str) -> str:
        (message,) = self.found(subject)
        return str(message["id"])

    async def test_neomutt(self) -> None:
        """By neomutt: tags, flags, moves, deletes; what was done over REST is there."""
        neomutt = program("neomutt")

        def drive(folder: str, *commands: str) -> str:
            setup = (
                f'set imap_user="{self.me}" imap_pass="{self.password}"',
                f'set folder="imaps://127.0.0.1:{self.port}/" spoolfile="+INBOX"',
                f"set certificate_file={self.certificate} ssl_verify_host=no",
                "set confirmappend=no confirmcreate=no delete=yes move=no quit=yes",
                f'set header_cache="" record="" tmpdir={self.directory}',
                "set sort=mailbox-order wait_key=no mark_old=no",
            )
            config = self.file("neomuttrc", "\n".join(setup) + "\n")
            # It reads its keys from a terminal; script(1) gives it one.
            keys = "".join(commands)
            words = [neomutt, "-n", "-F", config, "-f", f"+{folder}", "-e"]
            command = " ".join(
                f"'{word}'" for word in [*map(str, words), f'push "{keys}"']
            )
            return run(program("script"), "-qefc", command, "/dev/null", TERM="vt100")

        def talk() -> None:
            self.deliver("one", "two", "three", "four")
            self.label("four", addLabels=["starred"])
            drive(
                "INBOX",
                "<first-entry><set-flag>!",
                "<first-entry><next-entry><set-flag>r<clear-flag>N",
                "<first-entry><next-entry><next-entry><save-message>=Archive<enter>",
                "<sync-mailbox><exit>",
            )
            self.soon("one", lambda one: "starred" in one["labels"])
            self.soon("two", lambda one: "unread" not in one["labels"])
            self.soon("three", lambda one: one["folder"] == "Archive")
            drive(
                "INBOX",
                "<tag-pattern>~F<enter><tag-prefix><delete-message>",
                "<sync-mailbox><exit>",
            )
            within(1, lambda: not self.found("one"))
            self.assertEqual(self.folders(), {"Archive": ["three"], "INBOX": ["two"]})
            self.assertEqual(self.events().count("message.deleted"), 3)

        await in_thread(talk)

    async def test_getmail(self) -> None:
        """By getmail6: everything comes once, octet by octet, and is then deleted."""
        getmail, directory = program("getmail"), maildir(self.directory / "mail")
        self.file(
            "getmailrc",
            f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = 127.0.0.1\n"
            f"port = {self.port}\nusername = {self.me}\npassword = {self.password}\n"
            f'mailboxes = ("INBOX", "Archive")\n'
            # As root it delivers through a program only.
            "[destination]\ntype = MDA_external\npath = /bin/sh\n"
            f'arguments = ("-c", "cat >$(mktemp {directory}/new/XXXXXX)")\n'
            "allow_root_commands = true\nunixfrom = false\n"
            "[options]\ndelete = true\nread_all = false\ndelivered_to = false\n"
            "received = false\n",
        )

        def fetch() -> None:
            run(
                getmail, f"--getmaildir={self.directory}", "--rcfile=getmailrc",
                HOME=str(self.directory),
            )  # fmt: skip

        def talk() -> None:
            self.deliver(*(f"in{number}" for number in range(5)))
            client = self.client()
            client.select()
            client.uid("MOVE", "5", "Archive")
            client.logout()
            raw = sorted(
                self.api.raw(self.me, one["id"]) for one in self.api.messages(self.me)
            )
            for _ in range(2):
                fetch()
            got = [
                # The one field that cannot be left out.
                re.sub(rb"X-getmail-retrieved-.*\n", b"", path.read_bytes())
                for path in (directory / "new").iterdir()
            ]
            self.assertEqual(
                sorted(octets.replace(b"\n", b"\r\n") for octets in got), raw
            )
            self.assertEqual(self.folders(), {})
            self.assertEqual(self.events().count("message.deleted"), 5)

        await in_thread(talk)

    async def test_fetchmail(self) -> None:
        """By fetchmail: unread mail comes once and is read then; none is lost."""
        fetchmail, directory = program("fetchmail"), self.directory
        config = self.file(
            "fetchmailrc",
            f"set no bouncemail\npoll 127.0.0.1 protocol IMAP port {self.port} "
            f'user "{self.me}" password "{self.password}" '
            "options ssl no sslcertck keep\n"
            f"mda \"/bin/sh -c 'cat >>{directory}/mbox; echo >>{directory}/mbox'\"\n",
        )

        def fetch(*good: int) -> None:
            ended = subprocess.run(
                [fetchmail, "--fetchmailrc", str(config), "--pidfile", "pid"],
                env={**os.environ, "FETCHMAILHOME": str(directory)},
                cwd=directory,
                capture_output=True,
                timeout=60,
                check=False,
            )
            # 0: it got some; 1: there was none.
            self.assertIn(ended.returncode, good, ended.stdout + ended.stderr)

        def talk() -> None:
            self.deliver("one", "two", "three")
            self.label("two", removeLabels=["unread"])
            fetch(0)
            fetch(1)
            got = (directory / "mbox").read_text()
            self.assertEqual(re.findall("^Subject: (.*)", got, re.M), ["one", "three"])
            unread = self.api.messages(self.me, labels="unread")
            self.assertEqual(unread, [])

        await in_thread(talk)

    async def test_imapflow(self) -> None:
        """By imapflow: lists, reads, flags, moves, deletes, idles and appends."""
        node = program("node")
        modules = node_modules("imapflow")
        options = {
            "host": "127.0.0.1",
            "port": self.port,
            "secure": True,
            "auth": {"user": self.me, "pass": self.password},
            "tls": {"rejectUnauthorized": False},
        }

        def talk() -> dict[str, Any]:
            self.deliver("one", "two", "three")
            with subprocess.Popen(
                [node, "-e", IMAPFLOW, json.dumps(options)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "NODE_PATH": modules},
            ) as process:
                assert process.stderr is not None
                line = process.stderr.readline()
                if line != b"idling\n":
                    self.fail(line + process.communicate(timeout=30)[1])
                within(1, lambda: "todo" in self.found("two")[0]["labels"])
                self.assertEqual(self.folders(), {"Archive": ["one"], "INBOX": ["two"]})
                self.deliver("news")
                said, errors = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 0, errors)
            told: dict[str, Any] = json.loads(said)
            return told

        told = await in_thread(talk)
        self.assertEqual(told["subjects"], ["one", "two", "three"])
        self.assertEqual(told["count"], 2)
        self.assertIn("\r\n\r\ntwo it is.\r\n", told["body"])
        uses = {path: use for path, use in told["listed"]}
        for name in ("Archive", "Drafts", "Sent", "Trash"):
            self.assertEqual(uses[name], f"\\{name}")
        self.assertEqual(uses["Spam"], "\\Junk")
        (draft,) = await in_thread(self.found, "draft")
        self.assertEqual(draft["folder"], "Drafts")
        events = await in_thread(self.events)
        self.assertEqual(events.count("draft.created"), 1)
        self.assertEqual(events.count("message.deleted"), 1)


class SendingTests(MailClientTest):
    """What a client has sent it puts into Sent, where it is already."""

    async def test_sent_once(self) -> None:
        """A copy in Sent, after msmtp has submitted it, is the message that is there."""
        msmtp, curl = program("msmtp"), program("curl")
        config = self.file(
            "msmtprc",
            f"account default\nhost 127.0.0.1\nport {self.daemon.ports['submissions']}\n"
            "tls on\ntls_starttls off\ntls_certcheck off\nauth on\n"
            f"user {self.me}\npassword {self.password}\nfrom {self.me}\n",
        )
        text = (
            f"From: {self.me}\nTo: ada@example.net\nSubject: out\n"
            "Message-ID: <own@laptop.example>\n\nhello\n"
        )
        copy = self.file("copy", "")
        copy.write_bytes(text.replace("\n", "\r\n").encode())

        def talk() -> None:
            run(msmtp, "-C", config, "--read-recipients", text=text)
            sent = self.soon("out")
            url = f"imaps://127.0.0.1:{self.port}/Sent"
            login = f"{self.me}:{self.password}"
            run(curl, "-skS", "-u", login, url, "-T", copy)
            self.assertEqual(
                [(one["id"], one["folder"]) for one in self.found("out")],
                [(sent["id"], "Sent")],
            )
            client = self.client()
            self.assertEqual(client.select("Sent")[1], [b"1"])
            client.logout()
            within(30, lambda: self.host.messages)
            self.assertEqual(len(self.host.messages), 1)

        await in_thread(talk)


def node_modules(package: str) -> str:
    """Where Node finds what is installed for all.

    :raises SkipTest: the package is not there.
    """
    npm = shutil.which("npm")
    modules = os.environ.get("NODE_PATH", "")
    if not modules and npm is not None:
        modules = subprocess.run(
            [npm, "root", "--global"], capture_output=True, text=True, check=False
        ).stdout.strip()
    if not (Path(modules) / package).is_dir():
        raise SkipTest(f"{package} is not installed")
    return modules
