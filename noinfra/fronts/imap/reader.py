"""The client's octets as lines and literals. Sans-IO: it is fed, and asked.

A command line ends with CRLF and with nothing else; a bare LF or CR, or a NUL, in one
is an error behind which nothing can be trusted. Octets are looked at once: the cost is
linear, however TCP cuts them.
"""

from __future__ import annotations

from noinfra.fronts.imap.refusals import BareLine, LineTooLong


class Reader:
    """What one client sent, and we have not looked at."""

    def __init__(self, limit: int) -> None:
        """Begin.

        :param limit: the octets of one line.
        """
        # CPython drops the front of a bytearray without moving the rest.
        self._octets = bytearray()
        self._seen = 0
        self.limit = limit

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
        """The next line without its CRLF, or None while it is incomplete.

        :raises LineTooLong: there is no telling what follows it.
        :raises BareLine: likewise.
        """
        octets = self._octets
        end = octets.find(b"\n", self._seen)
        if max(end, len(octets) if end < 0 else 0) > self.limit:
            # It may announce a literal at its end, so that skipping it is no way out.
            raise LineTooLong(
                f"A line has at most {self.limit} octets; write sets of messages as"
                " ranges. Closing."
            )
        if end < 0:
            self._seen = len(octets)
            return None
        line = bytes(octets[: end + 1])
        del octets[: end + 1]
        self._seen = 0
        if not line.endswith(b"\r\n"):
            raise BareLine("Lines end with CRLF; a bare LF is no line end. Closing.")
        line = line[:-2]
        if b"\r" in line or b"\0" in line:
            raise BareLine("A line holds no bare CR and no NUL. Closing.")
        return line

    def literal(self, size: int) -> bytes:
        """The next octets as they are, at most as many as asked for."""
        octets = bytes(self._octets[:size])
        del self._octets[:size]
        self._seen = 0
        return octets
