"""Who opens an inbox: by a key, or by the inbox's own password."""

from __future__ import annotations

import time

from twisted.internet.defer import Deferred, gatherResults

from noinfra.app import passwords as module
from noinfra.app.passwords import Passwords, new_password
from noinfra.app.requests import CreateKey, KeyById
from noinfra.errors import Forbidden, NotFound, TemporaryFailure, Unauthenticated
from tests.app.mailbox import MailboxTest
from tests.app.world import ROOT
from tests.pace import within


class LoginTests(MailboxTest):
    async def key(self, *permissions: str, **more: str) -> tuple[str, str]:
        """A new key: its id, and its secret."""
        made = await self.keys.create(
            self.ours,
            CreateKey(name="k", permissions=list(permissions), preset=None, **more),
        )
        return made.key.key_id, made.secret

    async def test_by_key(self) -> None:
        """A key of the inbox's customer opens it, in any case of the address."""
        key_id, secret = await self.key(
            "messages:read", "messages:update", inbox_id=self.agent.inbox_id
        )
        who = await self.logins.login(self.agent.address.upper(), secret)
        self.assertEqual(who.home.inbox_id, self.agent.inbox_id)
        self.assertEqual(who.credential_id, key_id)
        self.assertEqual(
            (who.read_only, who.can_send, who.can_delete), (False, False, False)
        )
        with self.assertRaises(Forbidden):
            await self.logins.login(self.agent.address, secret, "messages:send")

    async def test_read_only(self) -> None:
        """A key that may not update opens the inbox read-only."""
        _, secret = await self.key("messages:read")
        self.assertTrue((await self.logins.login(self.agent.address, secret)).read_only)

    async def test_refused(self) -> None:
        """Another's inbox, no inbox, no key, and no permission."""
        _, secret = await self.key("messages:read")
        _, narrow = await self.key("inboxes:read")
        for address, given, refusal in (
            (self.other.address, secret, Unauthenticated),
            ("nobody@noinfra.example", secret, Unauthenticated),
            ("agent", secret, Unauthenticated),
            (self.agent.inbox_id, secret, Unauthenticated),
            (self.agent.address, secret + "x", Unauthenticated),
            (self.agent.address, "", Unauthenticated),
            (self.agent.address, "x" * 5000, Unauthenticated),
            ("a\0@noinfra.example", "x", Unauthenticated),
            (self.agent.address, narrow, Forbidden),
        ):
            with self.assertRaises(refusal):
                await self.logins.login(address, given)

    async def test_revoked(self) -> None:
        """A revoked key opens nothing, and is known to be no longer good."""
        key_id, secret = await self.key("messages:read")
        who = await self.logins.login(self.agent.address, secret)
        self.assertTrue(await self.logins.still_good(who))
        await self.keys.revoke(ROOT, KeyById(key_id=key_id))
        self.assertFalse(await self.logins.still_good(who))
        with self.assertRaises(Unauthenticated):
            await self.logins.login(self.agent.address, secret)

    async def test_by_password(self) -> None:
        """The inbox's password opens it, to read, write and send."""
        made = await self.passwords.rotate(self.who.home)
        who = await self.logins.login(self.agent.address, made.secret)
        self.assertEqual(who.credential_id, made.password_id)
        self.assertEqual((who.read_only, who.can_send), (False, True))
        self.assertEqual(who.access.inbox_id, self.agent.inbox_id)
        with self.assertRaises(Unauthenticated):
            await self.logins.login(self.other.address, made.secret)

    async def test_rotated(self) -> None:
        """A new password ends the old one, in every process at once."""
        elsewhere = Passwords(self.database)
        old = await self.passwords.rotate(self.who.home)
        who = await self.logins.login(self.agent.address, old.secret)
        new = await elsewhere.rotate(self.who.home)
        self.assertFalse(await self.logins.still_good(who))
        with self.assertRaises(Unauthenticated):
            await self.logins.login(self.agent.address, old.secret)
        await self.logins.login(self.agent.address, new.secret)
        await elsewhere.remove(self.who.home)
        with self.assertRaises(Unauthenticated):
            await self.logins.login(self.agent.address, new.secret)
        self.assertEqual(
            (await self.told())[-3:],
            [
                "inbox.password.created",
                "inbox.password.created",
                "inbox.password.deleted",
            ],
        )

    async def test_no_inbox(self) -> None:
        """An inbox that is gone gets no password."""
        await self.rows(
            "delete from inbox where inbox_id = %(id)s returning 1",
            id=self.agent.inbox_id,
        )
        with self.assertRaises(NotFound):
            await self.passwords.rotate(self.who.home)

    async def test_fast_again(self) -> None:
        """Who was let in once is let in without the slow hash."""
        made = await self.passwords.rotate(self.who.home)
        await self.passwords.verify(self.who.home, made.secret)
        self.patch(Passwords, "_in_turn", None)
        started = time.perf_counter()
        for _ in range(20):
            found = await self.passwords.verify(self.who.home, made.secret)
            self.assertEqual(found, made.password_id)
        self.assertLess(time.perf_counter() - started, within(2))

    async def test_not_kept(self) -> None:
        """Neither the secret nor a fast hash of it is stored."""
        made = await self.passwords.rotate(self.who.home)
        stored = await self.value("select hash from inbox_password")
        self.assertTrue(stored.startswith("scrypt$16384$8$1$"))
        self.assertNotIn(made.secret, stored)
        self.assertNotIn(made.secret, repr(made))

    async def test_crowd(self) -> None:
        """Beyond a number of guesses at once, more are put off."""
        self.patch(module, "_WAITING", 3)
        await self.passwords.rotate(self.who.home)
        guesses = await gatherResults(
            [Deferred.fromCoroutine(self.guess(f"wrong {n}")) for n in range(6)]
        )
        self.assertIn("later", guesses)
        self.assertIn("no", guesses)
        self.assertEqual(await self.guess("again"), "no")

    async def guess(self, secret: str) -> str:
        try:
            found = await self.passwords.verify(self.who.home, secret)
        except TemporaryFailure:
            return "later"
        return "yes" if found else "no"

    def test_chance(self) -> None:
        """Passwords are long, easy to type, and differ."""
        made = {new_password() for _ in range(100)}
        self.assertEqual(len(made), 100)
        for one in made:
            self.assertRegex(one, r"\A[a-z2-7]{4}(-[a-z2-7]{4}){4}\Z")
