"""The client's octets as lines, data and chunks. Sans-IO: it is fed, and asked.

Three rules keep one mail from hiding in another (SMTP smuggling, CVE-2023-51764 and its
kin), however TCP cuts the octets:

1. A command ends with CRLF. A bare LF or CR, or a NUL, before that is an error, decided
   at the first LF.
2. Data ends with CRLF "." CRLF and with nothing else; the CRLF of the DATA line itself
   may be the first of these (RFC 5321, 4.1.1.4).
3. A chunk has the length that BDAT says (RFC 3030, 2), whatever becomes of it.

Octets are looked at once, in blocks: the cost is linear, and only the few octets at the
edges of blocks are looked at again.
"""

from __future__ import annotations

from noinfra.fronts.smtp.refusals import BareLine, LineTooLong

# RFC 5321, 4.5.3.1.4 has 512 octets; the parameters of DSN and SMTPUTF8 add to them
# (RFC 3461, 4; RFC 6531, 3.4), and paths in UTF-8 are longer than the RFC's characters.
LINE = 2048
END = b"\r\n.\r\n"


class Reader:
    """What one client sent, and we have not looked at."""

    def __init__(self) -> None:
        # CPython drops the front of a bytearray without moving the rest, so that a
        # million small lines in it cost a million steps.
        self._octets = bytearray()
        self._seen = 0
        self._overlong = False
        self._held = b""
        self._first = False
        self.ended = False
        """Whether `data` has met the end of the data."""

    def __len__(self) -> int:
        return len(self._octets)

    def feed(self, octets: bytes) -> None:
        """Take what the client sent."""
        self._octets += octets

    def clear(self) -> None:
        """Forget all input."""
        self._octets.clear()
        self._seen = 0

    def line(self) -> bytes | None:
        """The next command line without its CRLF, or None while it is incomplete.

        :raises LineTooLong: it was, and has been skipped.
        :raises BareLine: what follows cannot be trusted.
        """
        octets = self._octets
        end = octets.find(b"\n", self._seen)
        if end < 0:
            self._look_on()
            return None
        line = bytes(octets[: end + 1])
        del octets[: end + 1]
        overlong, self._overlong, self._seen = self._overlong, False, 0
        if not line.endswith(b"\r\n"):
            raise BareLine("Lines end with CRLF; a bare LF is no line end. Closing.")
        if overlong or end >= LINE:
            raise LineTooLong(f"A command line has at most {LINE} octets.")
        line = line[:-2]
        if b"\r" in line or b"\0" in line:
            raise BareLine("A command line holds no bare CR and no NUL. Closing.")
        return line

    def _look_on(self) -> None:
        """Remember where to look on for a line's end; drop what is too long anyway."""
        if len(self._octets) > LINE:
            self._overlong = True
            del self._octets[:-1]  # perhaps the CR of its CRLF
        self._seen = len(self._octets)

    def start_data(self) -> None:
        """What follows is data."""
        self._held, self._first, self.ended = b"\r\n", True, False

    def data(self) -> bytes:
        """Data without dots of transparency, up to its end or that of the input.

        A dot is taken off after CRLF alone: no other line end was one to the client's
        own procedure (RFC 5321, 4.5.2).
        """
        if not self._octets:
            return b""
        octets = self._held + self._octets
        self.clear()
        end = octets.find(END)
        if end >= 0:
            self.ended = True
            self.feed(octets[end + len(END) :])
            content, self._held = octets[: end + 2], b""
        else:
            cut = len(octets) - beginning_of_end(octets)
            content, self._held = octets[:cut], octets[cut:]
        if self._first and content:
            self._first = False
            return content.replace(b"\r\n.", b"\r\n")[2:]
        return content.replace(b"\r\n.", b"\r\n")

    def chunk(self, size: int) -> bytes:
        """The next octets as they are, at most as many as asked for."""
        chunk = bytes(self._octets[:size])
        del self._octets[:size]
        return chunk


def beginning_of_end(octets: bytes) -> int:
    """How many of the last octets may be the beginning of the end of data."""
    for size in (4, 3, 2, 1):
        if octets.endswith(END[:size]):
            return size
    return 0
