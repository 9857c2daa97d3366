"""What a running daemon tells of itself: a file and a lock in its state directory.

``ready.json`` says where a daemon listens, from when it serves until it stops. The lock
says that a process works in the directory at all; the kernel frees it however that
process ends. So nothing is ever stale: `Ready.read` believes the file only while the
lock is held.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Self

import msgspec
from attrs import field, frozen

from noinfra.errors import ConfigurationError

FILE = "ready.json"
LOCK = "noinfra.lock"

# `read` takes the lock for an instant to see whether it is free; we outwait that.
PATIENCE = 1.0


@frozen(kw_only=True)
class Ready:
    """A daemon that serves.

    ``ports`` and ``addresses`` (``host:port``) are by listener, as far as this process
    has them: ``smtp``, ``submission`` and ``imap`` (STARTTLS), ``submissions`` and
    ``imaps`` (TLS), and ``web``.
    """

    base_url: str
    ports: dict[str, int] = field(factory=dict)
    addresses: dict[str, str] = field(factory=dict)
    domain: str
    hostname: str
    root_key_file: str
    # This start made the root key: the one time that it is shown.
    root_key_made: bool = False
    pid: int

    def write(self, state: Path) -> None:
        """Make it known, at once as a whole."""
        fresh = state / f"{FILE}.new"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
        fresh.replace(state / FILE)

    @classmethod
    def read(cls, state: Path) -> Self | None:
        """The daemon that serves from this directory, if one does."""
        try:
            octets = (state / FILE).read_bytes()
        except OSError:
            return None
        if not locked(state):
            return None
        return msgspec.json.decode(octets, type=cls)

    @staticmethod
    def remove(state: Path) -> None:
        """Say that the daemon serves no longer."""
        (state / FILE).unlink(missing_ok=True)


class StateLock:
    """The state directory, made if need be, as this process's own until it is released.

    :raises ConfigurationError: another process has it, or it cannot be used.
    """

    def __init__(self, state: Path) -> None:
        prepare_state(state)
        try:
            self._fd = os.open(
                state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise _unusable(state, error) from error
        try:
            self._take(state)
        except BaseException:
            os.close(self._fd)
            raise

    def _take(self, state: Path) -> None:
        deadline = time.monotonic() + PATIENCE
        while not _try(self._fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
                raise ConfigurationError(
                    f"The state directory {state} is in use by process "
                    f"{holder or 'another'}; stop that one, or name another directory "
                    "with --state."
                )
            time.sleep(0.02)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        # What a daemon left that was killed.
        Ready.remove(state)

    def release(self) -> None:
        """Let others have the directory."""
        os.close(self._fd)


def locked(state: Path) -> bool:
    """Whether some process works in the state directory."""
    try:
        fd = os.open(state / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _try(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def prepare_state(state: Path) -> None:
    """Make the directory; refuse the system's own, as ``var`` is in ``/``.

    :raises ConfigurationError: it cannot be used.
    """
    try:
        # Others may pass through, as the database's user must, but not look around.
        state.mkdir(mode=0o711, parents=True, exist_ok=True)
        if _is_the_systems(state):
            raise ConfigurationError(
                f"{state} is a directory of the system; name a state directory with "
                "--state."
            )
        if not os.access(state, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unusable(state, error) from error


def _is_the_systems(state: Path) -> bool:
    """Whether it is / or directly below, and holds something that is not ours.

    A volume that a container is given is empty, or has been ours before.
    """
    top = state.parent.parent == state.parent
    held = {entry.name for entry in state.iterdir()} - {"lost+found"} if top else set()
    return bool(held) and held.isdisjoint((LOCK, "postgres"))


def _unusable(state: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The state directory {state} cannot be used ({error.strerror}); let this user "
        "write there, or name another with --state."
    )
