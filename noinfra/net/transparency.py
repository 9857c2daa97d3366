r"""The dots of RFC 5321, 4.5.2, for a message that comes in pieces cut anywhere.

What leaves holds CR and LF only as CRLF pairs (RFC 5321, 2.3.8): a host that took a
bare one for a line end would see a command where we sent a message ("SMTP smuggling").
A bare CR or LF therefore becomes CRLF here, although stored mail has none.
"""

import re

_BARE = re.compile(rb"\r\n|\r|\n")


class Transparency:
    """Turns a message's pieces into what follows DATA, without looking back at them."""

    def __init__(self) -> None:
        self._line_start = True
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """The piece as it goes over the wire; a final CR waits for what follows it."""
        octets = self._held + piece if self._held else piece
        self._held = b""
        if octets.endswith(b"\r"):
            octets, self._held = octets[:-1], b"\r"
        return self._stuffed(octets)

    def finish(self) -> bytes:
        """What ends the message: the end of its last line, and the line of one dot."""
        octets = b"\r\n" if self._held else b""
        self._held = b""
        octets = self._stuffed(octets)
        return octets + (b".\r\n" if self._line_start else b"\r\n.\r\n")

    def _stuffed(self, octets: bytes) -> bytes:
        if not octets:
            return octets
        pairs = octets.count(b"\r\n")
        if octets.count(b"\n") != pairs or octets.count(b"\r") != pairs:
            octets = _BARE.sub(b"\r\n", octets)
        dot = self._line_start and octets.startswith(b".")
        self._line_start = octets.endswith(b"\n")
        octets = octets.replace(b"\r\n.", b"\r\n..")
        return b"." + octets if dot else octets
