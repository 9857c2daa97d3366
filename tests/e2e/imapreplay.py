"""An IMAP session that believes what it is told, and nothing else; it blocks.

It replays untagged responses on a list of messages, as a mail client does, and fails
where they break a rule that clients rely on (RFC 9051, 7.5.1; RFC 7162).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from typing import Self

from attrs import define, field

from tests.e2e.mailclient import trusting

# RFC 9051, 7.5.1: while these are at work, no number may change.
NUMBERED = ("FETCH", "STORE", "SEARCH")
SEEN = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: (.*))?")
VANISHED = re.compile(rb"\* VANISHED ([\d,:]+)")
FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
UID = re.compile(rb"UID (\d+)")
MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")


@define(eq=False)
class Known:
    """A message as far as it is known."""

    uid: int | None = None
    flags: frozenset[str] | None = None
    modseq: int = 0


@define(eq=False)
class Replay:
    """One session, and the mailbox that it has open.

    :ivar messages: by sequence number, the first one being 1.
    """

    port: int
    user: str
    password: str
    messages: list[Known] = field(factory=list)
    name: str = ""
    _socket: socket.socket = field(init=False)
    _read: bytes = b""
    _number: int = 0
    _asked: str = ""
    _said: list[bytes] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        self._socket = trusting().wrap_socket(plain)
        self._line()
        self.ask(f"LOGIN {self.user} {self.password}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    # ----------------------------------------------------------------------------------
    # Speaking

    def begin(self, command: str) -> None:
        """Say a command, and leave its answer for `end`."""
        self._number += 1
        self._asked = command
        self._socket.sendall(f"t{self._number} {command}\r\n".encode())

    def end(self, *good: str) -> list[bytes]:
        """Replay the responses up to the tagged one; gives them all.

        :raises AssertionError: it is another than those expected.
        """
        tag, lines = b"t%d " % self._number, []
        while not (line := self._line()).startswith(tag):
            lines.append(line)
            self._replay(line)
        status = line.split(b" ")[1].decode()
        assert status in (good or ("OK",)), (self._asked, line)
        return [*lines, line]

    def ask(self, command: str, *good: str) -> list[bytes]:
        """A command and all its responses."""
        self.begin(command)
        return self.end(*good)

    def idle(self) -> None:
        """Begin to idle (RFC 2177)."""
        self.begin("IDLE")
        while not (line := self._line()).startswith(b"+"):
            self._replay(line)

    def hear(self) -> bytes:
        """Replay one response that comes by itself."""
        line = self._line()
        self._replay(line)
        return line

    def done(self) -> None:
        """Idle no longer."""
        self._socket.sendall(b"DONE\r\n")
        self.end()

    def select(self, name: str) -> None:
        """Open a mailbox, and learn all of it."""
        self.messages, self.name = [], name
        self.ask(f'SELECT "{name}"')
        self.learn()

    def learn(self) -> None:
        """Ask for what is not known of messages that were announced."""
        unknown = [
            number
            for number, one in enumerate(self.messages, 1)
            if one.uid is None or one.flags is None
        ]
        if unknown:
            self.ask(f"FETCH {','.join(map(str, unknown))} (UID FLAGS)")

    @property
    def view(self) -> list[tuple[int | None, frozenset[str]]]:
        """What it shows its user."""
        return [(one.uid, one.flags or frozenset()) for one in self.messages]

    @property
    def uids(self) -> list[int]:
        """Those that are known."""
        return [one.uid for one in self.messages if one.uid is not None]

    def store_silently(self, uids: Iterable[int], sign: str, flags: set[str]) -> None:
        """Change flags, and take it for granted that they are changed as asked."""
        named = sorted(uids)
        shown = " ".join(sorted(flags))
        self.begin(
            f"UID STORE {','.join(map(str, named))} {sign}FLAGS.SILENT ({shown})"
        )
        # What the server tells in its answer is newer than what we presume here.
        for one in self.messages:
            if one.uid in named and one.flags is not None:
                if sign == "+":
                    one.flags |= flags
                elif sign == "-":
                    one.flags -= flags
                else:
                    one.flags = frozenset(flags)

    # ----------------------------------------------------------------------------------
    # Hearing

    def _line(self) -> bytes:
        while b"\r\n" not in self._read:
            more = self._socket.recv(65536)
            assert more, f"the server hung up at {self._asked!r}"
            self._read += more
        line, _, self._read = self._read.partition(b"\r\n")
        return line

    def _replay(self, line: bytes) -> None:
        assert not line.startswith(b"* BYE"), line
        if (gone := VANISHED.fullmatch(line)) is not None:
            self._may_shrink(line)
            self._vanish(numbers(gone[1]), line)
        elif (found := SEEN.fullmatch(line)) is not None:
            number, what = int(found[1]), found[2]
            if what == b"EXISTS":
                assert number >= len(self.messages), (line, len(self.messages))
                new = number - len(self.messages)
                self.messages += [Known() for _ in range(new)]
                return
            assert 1 <= number <= len(self.messages), (line, len(self.messages))
            if what == b"EXPUNGE":
                self._may_shrink(line)
                del self.messages[number - 1]
            else:
                self._fetched(self.messages[number - 1], line)

    def _vanish(self, uids: set[int], line: bytes) -> None:
        unknown = len(uids.difference(self.uids))
        self.messages = [one for one in self.messages if one.uid not in uids]
        for _ in range(unknown):
            # One that was announced, and gone before its UID could be asked for.
            nameless = [one for one in self.messages if one.uid is None]
            assert nameless, line
            self.messages.remove(nameless[0])

    def _may_shrink(self, line: bytes) -> None:
        verb = self._asked.split(" ")[0]
        assert verb not in NUMBERED, (self._asked, line)

    @staticmethod
    def _fetched(one: Known, line: bytes) -> None:
        if (uid := UID.search(line)) is not None:
            assert one.uid in (None, int(uid[1])), (one, line)
            one.uid = int(uid[1])
        if (modseq := MODSEQ.search(line)) is not None:
            assert int(modseq[1]) >= one.modseq, (one, line)
            one.modseq = int(modseq[1])
        if (flags := FLAGS.search(line)) is not None:
            one.flags = frozenset(flags[1].decode().split())


def numbers(octets: bytes) -> set[int]:
    """The numbers of a set without an asterisk."""
    found: set[int] = set()
    for part in octets.decode().split(","):
        low, _, high = part.partition(":")
        found.update(range(int(low), int(high or low) + 1))
    return found
