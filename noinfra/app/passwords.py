"""The password of an inbox, for mail clients: made by us, shown once, kept as a hash.

The hash is slow by intention (scrypt, RFC 7914) and worked out in a thread, few at a
time. Whoever was let in once is known by a fast keyed hash as long as the stored one
stays the same, so that clients which reconnect all day cost next to nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThread

from noinfra.app.directory import Home
from noinfra.app.ids import new_id
from noinfra.errors import NotFound, TemporaryFailure
from noinfra.store.database import Database
from noinfra.store.events import Events
from noinfra.store.passwords import Passwords as PasswordTable

# Some 50 ms and 16 MB for each guess.
_N, _R, _P = 1 << 14, 8, 1
_AT_ONCE = 2
# Beyond, whoever guesses waits for those who guessed before.
_WAITING = 64
_REMEMBERED = 50_000
# No client sends more, and hashing it would cost.
_LONGEST = 1024


@frozen(kw_only=True)
class NewPassword:
    """A password, and its secret, which is shown this once."""

    password_id: str
    secret: str = field(repr=False)


@define
class Passwords:
    """The use cases of inbox passwords; who may call them is decided before."""

    database: Database
    _secret: bytes = field(factory=lambda: os.urandom(32), repr=False)
    _known: set[bytes] = field(factory=set, repr=False)
    _turns: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(_AT_ONCE))
    _waiting: int = 0

    async def rotate(self, home: Home) -> NewPassword:
        """Make the inbox a new password; the one before ends."""
        secret = new_password()
        hashed = await self._in_turn(secret, os.urandom(16))
        password_id = new_id("pwd_")
        async with self.database.tenant(home.customer_id) as tx:
            table = PasswordTable(tx)
            before = await table.get(home.inbox_id)
            made = await table.put(home.inbox_id, home.customer_id, password_id, hashed)
            if not made:
                raise NotFound(f"There is no inbox {home.address}.")
            if before is not None:
                await table.tell(before.password_id)
            await self._tell(Events(tx), home, "inbox.password.created", password_id)
        return NewPassword(password_id=password_id, secret=secret)

    async def remove(self, home: Home) -> None:
        """End the password of an inbox, if it has one."""
        async with self.database.tenant(home.customer_id) as tx:
            table = PasswordTable(tx)
            password_id = await table.remove(home.inbox_id)
            if password_id is not None:
                await table.tell(password_id)
                await self._tell(
                    Events(tx), home, "inbox.password.deleted", password_id
                )

    async def verify(self, home: Home, secret: str) -> str | None:
        """The id of the inbox's password, if this is it."""
        stored = await PasswordTable(self.database.single(home.customer_id)).get(
            home.inbox_id
        )
        if stored is None or len(secret) > _LONGEST:
            return None
        mark = self._mark(home.inbox_id, stored.hash, secret)
        if mark in self._known:
            return stored.password_id
        salt = base64.b64decode(stored.hash.split("$")[-2])
        hashed = await self._in_turn(secret, salt)
        if not hmac.compare_digest(hashed, stored.hash):
            return None
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known.add(mark)
        return stored.password_id

    async def is_current(self, home: Home, password_id: str) -> bool:
        """Whether this is still the inbox's password."""
        stored = await PasswordTable(self.database.single(home.customer_id)).get(
            home.inbox_id
        )
        return stored is not None and stored.password_id == password_id

    def _mark(self, inbox_id: str, stored: str, secret: str) -> bytes:
        """What stands for a secret in memory: of no use to anybody who reads it."""
        said = "\0".join((inbox_id, stored, secret)).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, key=self._secret, digest_size=32).digest()

    async def _in_turn(self, secret: str, salt: bytes) -> str:
        if self._waiting >= _WAITING:
            raise TemporaryFailure("Too many log in at once; try again soon.")
        self._waiting += 1
        try:
            hashing: Deferred[str] = self._turns.run(
                deferToThread, scrypt_hash, secret, salt
            )
            return await hashing
        finally:
            self._waiting -= 1

    async def _tell(
        self, events: Events, home: Home, type: str, password_id: str
    ) -> None:
        await events.add(
            type,
            customer_id=home.customer_id,
            deployment_id=home.deployment_id,
            agent_id=home.agent_id,
            inbox_id=home.inbox_id,
            data={"passwordId": password_id},
        )


def new_password() -> str:
    """Twenty letters and digits in fours, easy to type: 100 bits of chance."""
    letters = base64.b32encode(secrets.token_bytes(15))[:20].decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, 20, 4))


def scrypt_hash(secret: str, salt: bytes) -> str:
    """What is stored of a secret, with all that is needed to check it."""
    hashed = hashlib.scrypt(
        secret.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=_N,
        r=_R,
        p=_P,
        maxmem=64 * 1024 * 1024,
        dklen=32,
    )
    parts = base64.b64encode(salt).decode(), base64.b64encode(hashed).decode()
    return f"scrypt${_N}${_R}${_P}${parts[0]}${parts[1]}"
