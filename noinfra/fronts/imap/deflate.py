"""COMPRESS=DEFLATE (RFC 4978): raw deflate in both directions, a little at a time.

A kilobyte can stand for a megabyte, so that input is unpacked only as far as there is
room for what comes out.
"""

from __future__ import annotations

import zlib

# 32 KiB and 32 KiB a connection instead of four times as much of each; RFC 4978 leaves
# it to the sender. Clients choose their own window, which may be the largest.
_WINDOW = -13
_MEMORY = 6
_LARGEST_WINDOW = -15


class Deflated:
    """Both directions of one connection."""

    def __init__(self) -> None:
        self._out = zlib.compressobj(
            level=6, method=zlib.DEFLATED, wbits=_WINDOW, memLevel=_MEMORY
        )
        self._in = zlib.decompressobj(wbits=_LARGEST_WINDOW)
        self._waiting = b""

    def pack(self, octets: bytes) -> bytes:
        """What to send for octets that the client shall read now."""
        return self._out.compress(octets) + self._out.flush(zlib.Z_SYNC_FLUSH)

    def feed(self, octets: bytes) -> None:
        """Take what the client sent."""
        self._waiting += octets

    def unpack(self, most: int) -> bytes:
        """What the client sent, as far as there is room; "" when there is no more now.

        :raises zlib.error: it is no deflate.
        """
        if self._in.eof:
            raise zlib.error("the stream has ended")
        octets = self._in.decompress(self._waiting, most)
        self._waiting = self._in.unconsumed_tail
        return octets
