"""One mail's data on its way in: its line ends are looked at, its size is bounded.

Once the data is refused it is dropped, and what comes is only counted, since the client
hears of it at the end of the data, and not before (RFC 5321, 4.1.1.4 and 3.3).

Lines may be of any length. The 1000 octets of RFC 5321, 4.5.3.1.6 are what every server
must take, many senders exceed them, and nothing here reads by lines.

NUL is taken: the data may hold any of the 128 ASCII codes (RFC 5321, 4.5.2), and a
reader is to accept it (RFC 5322, 4.1). What such a message means, `noinfra.mail` tells.
"""

from __future__ import annotations

from noinfra.errors import Refusal, TooLarge
from noinfra.fronts.smtp.refusals import BareLineEnd, FarTooLarge, StorageFull
from noinfra.fronts.smtp.spool import Spool, Storage

# Up to so many times the limit we read to the end, to say 552 where the client listens.
PATIENCE = 4
BARE = (
    "The data holds a bare CR or LF; lines of mail end with CRLF (RFC 5321, 2.3.8)."
    " Have your software send CRLF."
)


class Intake:
    """The data of one transaction, from DATA or from chunks."""

    def __init__(self, storage: Storage, limit: int, bare_lf: bool) -> None:
        self._spool = Spool(storage)
        self._limit = limit
        self._bare_lf = bare_lf
        self._cr = False
        self._wrong: Refusal | None = None
        self.size = 0

    def add(self, octets: bytes) -> None:
        """Take some data.

        :raises FarTooLarge: there is no end to it.
        """
        self.size += len(octets)
        if self.size > PATIENCE * self._limit:
            raise FarTooLarge(f"A message has at most {self._limit} octets. Closing.")
        if self.refusal is not None:
            self.close()
        elif octets:
            self._write(octets)

    @property
    def refusal(self) -> Refusal | None:
        """What is wrong with the data: first its size, wherever the rest stands."""
        if self.size > self._limit:
            return TooLarge(f"A message has at most {self._limit} octets.")
        return self._wrong

    def _write(self, octets: bytes) -> None:
        if self._cr:
            octets = b"\r" + octets
        self._cr = octets.endswith(b"\r")
        if self._cr:
            octets = octets[:-1]
        lines = octets.count(b"\r\n")
        feeds = octets.count(b"\n")
        if octets.count(b"\r") != lines or (feeds != lines and not self._bare_lf):
            self._refuse(BareLineEnd(BARE))
            return
        if feeds != lines:
            octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        try:
            self._spool.write(octets)
        except OSError as error:
            self._refuse(StorageFull(f"Cannot keep the data now ({error.strerror})."))

    def _refuse(self, refusal: Refusal) -> None:
        self._wrong = refusal
        self.close()

    async def octets(self) -> bytes:
        """All of the data, once it has ended.

        :raises Refusal: it cannot be taken.
        """
        if self._cr and self._wrong is None:
            self._refuse(BareLineEnd(BARE))
        if (refusal := self.refusal) is not None:
            raise refusal
        try:
            return await self._spool.read()
        except OSError as error:
            raise StorageFull(f"Cannot read the data ({error.strerror}).") from error

    def close(self) -> None:
        """Let go of the data."""
        self._spool.close()
