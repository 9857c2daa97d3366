"""Where data waits until it is complete: a little in memory, the rest in files.

Writes go to a file without a name, in the pieces in which the client sends them (at
most 64 KiB), and so to the page cache; the file is read back whole, but in a thread.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

InThread = Callable[[Callable[[], bytes]], Deferred[bytes]]


@define
class Budget:
    """Octets that may be in memory at once, all connections together."""

    limit: int
    used: int = 0
    _queue: deque[tuple[int, Deferred[None]]] = field(factory=deque, init=False)

    def take(self, size: int) -> bool:
        """Take a share, if there is one."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    async def wait(self, size: int) -> int:
        """Take a share once there is one, in the order of asking.

        :returns: what to give back; no more than all there is.
        """
        size = min(size, self.limit)
        if self._queue or not self.take(size):
            turn: Deferred[None] = Deferred()
            self._queue.append((size, turn))
            await turn
        return size

    def give(self, size: int) -> None:
        """Give a share back."""
        self.used -= size
        while self._queue and self.take(self._queue[0][0]):
            self._queue.popleft()[1].callback(None)


@frozen(kw_only=True)
class Storage:
    """What spools have in common."""

    in_thread: InThread
    directory: Path | None = None
    """Where files are made; the system's place for temporary files when None."""
    # Large enough for all but mail with attachments.
    in_memory: int = 1 << 20
    collecting: Budget = field(factory=lambda: Budget(64 << 20))
    """For what is not complete yet; without a share it goes to a file."""
    reading: Budget = field(factory=lambda: Budget(256 << 20))
    """For what was in files and is being received; without a share it waits."""


class Spool:
    """The data of one mail."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._octets = bytearray()
        self._file: IO[bytes] | None = None
        self._collecting = 0
        self._reading = 0
        self.size = 0

    def write(self, octets: bytes) -> None:
        """Add to the data.

        :raises OSError: there is no room on disk.
        """
        self.size += len(octets)
        if self._file is None and not self._fits(len(octets)):
            self._move_to_file()
        if self._file is None:
            self._octets += octets
        else:
            self._file.write(octets)

    def _fits(self, size: int) -> bool:
        if self.size > self._storage.in_memory:
            return False
        if not self._storage.collecting.take(size):
            return False
        self._collecting += size
        return True

    def _move_to_file(self) -> None:
        # Unbuffered, so that a full disk shows here and not when the file is closed.
        directory = self._storage.directory
        self._file = TemporaryFile(buffering=0, prefix="smtp-", dir=directory)  # noqa: SIM115
        self._file.write(self._octets)
        self._forget()

    def _forget(self) -> None:
        self._octets = bytearray()
        self._storage.collecting.give(self._collecting)
        self._collecting = 0

    async def read(self) -> bytes:
        """All of the data; large data waits until there is memory for it.

        :raises OSError: the file cannot be read.
        """
        if self._file is None:
            octets, self._octets = bytes(self._octets), bytearray()
            return octets
        self._reading = await self._storage.reading.wait(self.size)
        descriptor, size = self._file.fileno(), self.size
        octets = await self._storage.in_thread(lambda: os.pread(descriptor, size, 0))
        if len(octets) != size:
            raise OSError(f"The spool holds {len(octets)} of {size} octets.")
        return octets

    def close(self) -> None:
        """Let go of the data and of its shares; do it when it has been received."""
        self._forget()
        self._storage.reading.give(self._reading)
        self._reading = 0
        if self._file is not None:
            self._file.close()
            self._file = None
