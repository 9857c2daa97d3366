"""SMTP replies, as RFC 5321, 4.2 has them, read from octets that a stranger chose."""

import re
from collections.abc import Iterator

from attrs import frozen

MAX_LINE = 2048
"""Octets in a line; RFC 5321, 4.5.3.1.5 says 512, and some hosts say more."""
MAX_LINES = 128
MAX_TEXT = 500

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(rb"([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|$)")


class Malformed(Exception):
    """The peer does not speak SMTP; the text says what it said."""


@frozen(kw_only=True)
class Reply:
    """One reply: its code, and what stands after the code on each line."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def enhanced(self) -> str:
        """The enhanced status code; class and zeros when there is none that fits."""
        found = _ENHANCED.match(self.lines[0])
        # RFC 2034, 4: it opens each line, and its class agrees with the code's.
        if found and found[1][0] == ord("0") + self.code // 100:
            return found[1].decode("ascii")
        return f"{self.code // 100}.0.0"

    @property
    def text(self) -> str:
        """The lines as one, printable, without the enhanced code, at most 500 long."""
        return printable(b" ".join(_ENHANCED.sub(b"", line, 1) for line in self.lines))


def printable(octets: bytes) -> str:
    """What may be stored, logged and shown of the octets.

    Control characters and those that steer the writing direction become spaces, what
    is not UTF-8 becomes U+FFFD.
    """
    text = octets[: 4 * MAX_TEXT].decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text[:MAX_TEXT].strip()


class ReplyReader:
    """Cuts a stream into replies. It holds at most one line and one reply."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = b""
        self._lines: list[bytes] = []

    @property
    def midway(self) -> bool:
        """Whether octets wait for the rest of their reply."""
        return bool(self._rest or self._lines)

    def feed(self, octets: bytes) -> Iterator[Reply]:
        """Yield the replies that the octets complete.

        :raises Malformed: after the replies before it; the stream is of no use then.
        """
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            if (reply := self._line(line)) is not None:
                yield reply
        if len(self._rest) > MAX_LINE:
            raise Malformed("It sent a line without end.")

    def _line(self, line: bytes) -> Reply | None:
        if len(line) > MAX_LINE:
            raise Malformed("It sent a line without end.")
        found = _LINE.fullmatch(line.removesuffix(b"\r"))
        if found is None:
            raise Malformed(f"It sent what is no SMTP reply: {printable(line)[:80]}")
        code, mark, text = found.groups(b"")
        if self._lines and code != self._code:
            raise Malformed("It changed the code within a reply.")
        if len(self._lines) == MAX_LINES:
            raise Malformed("It sent a reply of too many lines.")
        self._code = code
        self._lines.append(text)
        if mark == b"-":
            return None
        reply = Reply(code=int(code), lines=tuple(self._lines))
        self._lines.clear()
        return reply
