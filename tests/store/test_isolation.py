"""Row-level security: nothing crosses a customer, whatever statement is run."""

from __future__ import annotations

import psycopg2
from attrs import evolve
from twisted.internet.defer import Deferred

from noinfra.errors import NotFound
from noinfra.store.contents import Contents
from noinfra.store.events import START, Events, Wanted
from noinfra.store.idempotency import Idempotencies
from noinfra.store.inboxes import Inboxes
from noinfra.store.keys import Keys
from noinfra.store.messages import Messages, delete, lock_inbox, move, relabel
from noinfra.store.placing import file
from noinfra.store.queue import Queue
from noinfra.store.tenants import Agents, Customers, Deployments
from noinfra.store.threads import Threads
from tests.store.mailstore import MailStoreTest, filing
from tests.store.test_messages import EVERYTHING


class IsolationTests(MailStoreTest):
    """Two customers, with a row of every kind each."""

    async def setUp(self) -> None:
        await super().setUp()
        self.two = await self.inbox("cus_2", "two@noinfra.example")
        self.filed = await self.file(
            filing(self.one, "a@x", to=["bob@example.com"], folder="Sent"),
            filing(self.two, "b@x", to=["bob@example.com"], folder="Sent"),
        )
        for customer_id in ("cus_1", "cus_2"):
            async with self.database.system() as tx:
                await Agents(tx).add(
                    f"agt_{customer_id}",
                    customer_id,
                    f"dep_{customer_id}",
                    "agent",
                    "external",
                    {},
                )
                await Keys(tx).add(
                    key_id=f"key_{customer_id}",
                    customer_id=customer_id,
                    deployment_id=None,
                    inbox_id=None,
                    name="key",
                    prefix="nim",
                    sha256=customer_id.encode(),
                    permissions=[],
                )
                await tx.statement(
                    "insert into retired_address (address, customer_id)"
                    " values (%(address)s, %(customer_id)s)",
                    address=f"old-{customer_id}@noinfra.example",
                    customer_id=customer_id,
                )
                await tx.statement(
                    "insert into unused_content (content_id, customer_id)"
                    " select content_id, customer_id from content"
                    " on conflict do nothing"
                )
                await tx.statement(
                    "insert into idempotency values"
                    " (%(customer_id)s, 's', 'k', 'r', 'm')",
                    customer_id=customer_id,
                )
                await tx.statement(
                    "insert into attempt (customer_id, delivery_id, started_at,"
                    " finished_at, response) select customer_id, delivery_id, now(),"
                    " now(), 'ok' from delivery where customer_id = %(customer_id)s",
                    customer_id=customer_id,
                )

    async def tables(self) -> list[str]:
        """The tables that belong to customers."""
        rows = await self.rows(
            """
            select relname::text from pg_class join pg_attribute on attrelid = oid
            where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
            and attname = 'customer_id' and not attisdropped order by 1
            """
        )
        return [str(row[0]) for row in rows]

    async def test_every_table(self) -> None:
        """Every table with a customer has row security, and both policies."""
        rows = await self.rows(
            """
            select relname::text, relrowsecurity,
                (
                    select json_agg(
                        format('%%s to %%s for %%s: %%s | %%s', polname,
                            (select rolname from pg_roles where oid = polroles[1]),
                            polcmd, pg_get_expr(polqual, polrelid),
                            pg_get_expr(polwithcheck, polrelid))
                        order by polname
                    ) from pg_policy where polrelid = pg_class.oid
                )
            from pg_class
            where relname::text = any(%(tables)s)
            and relnamespace = 'public'::regnamespace
            """,
            tables=await self.tables(),
        )
        self.assertGreaterEqual(len(rows), 16)
        own = "(customer_id = current_setting('noinfra.customer'::text, true))"
        for name, secured, policies in rows:
            self.assertTrue(secured, name)
            self.assertEqual(
                policies,
                f'["system to noinfra_system for *: true | true", '
                f'"tenant to noinfra_tenant for *: {own} | {own}"]',
                name,
            )

    async def test_other_tables(self) -> None:
        """What belongs to no customer is not a tenant's to see or change."""
        rows = await self.rows(
            """
            select relname::text from pg_class
            where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')
            and relname::text <> all(%(tables)s)
            and has_table_privilege('noinfra_tenant', oid,
                'select, insert, update, delete, truncate, references, trigger')
            """,
            tables=await self.tables(),
        )
        self.assertEqual(rows, [])

    async def test_seen(self) -> None:
        """Each sees its own rows of every table; a stranger none; the system all."""
        for table in await self.tables():
            seen = {}
            for who in ("cus_1", "cus_2", "cus_3", None):
                seen[who] = await self.database.single(who).rows(
                    f"select distinct customer_id from {table} order by 1"
                )
            if not seen[None]:
                # Filled by mail clients only.
                continue
            self.assertEqual(seen["cus_1"], [("cus_1",)], table)
            self.assertEqual(seen["cus_2"], [("cus_2",)], table)
            self.assertEqual(seen["cus_3"], [], table)
            self.assertEqual(seen[None], [("cus_1",), ("cus_2",)], table)

    async def test_written(self) -> None:
        """Another's rows cannot be changed, deleted or made; nor one's own given away."""
        for table in await self.tables():
            single = self.database.single("cus_1")
            for statement in (
                f"delete from {table} where customer_id = 'cus_2'",
                f"update {table} set customer_id = 'cus_1' where customer_id = 'cus_2'",
            ):
                self.assertEqual(await single.statement(statement), 0, table)
            if await single.value(f"select count(*) from {table}"):
                giving = Deferred.fromCoroutine(
                    single.statement(f"update {table} set customer_id = 'cus_2'")
                )
                await self.assertFailure(giving, psycopg2.errors.InsufficientPrivilege)

    async def test_functions(self) -> None:
        """Through no function of the store does a tenant reach another's rows."""
        theirs = self.filed[1]
        born = self.two
        content_id = await self.value(
            "select content_id from content where customer_id = 'cus_2'"
        )
        single = self.database.single("cus_1")
        messages, threads = Messages(single), Threads(single)
        inbox_id, message_id = born.inbox_id, theirs.message_id
        selection = evolve(EVERYTHING, inbox_id=inbox_id)
        empty = [
            await messages.select(selection),
            await messages.get(inbox_id, message_id),
            await messages.letter(inbox_id, message_id),
            await messages.letters(inbox_id, theirs.thread_id, above=None, limit=9),
            await messages.newest_of_thread(inbox_id, theirs.thread_id),
            await messages.deliveries(message_id),
            await messages.attempts(message_id),
            await threads.page(
                inbox_id, labels=[], below=None, above=None, ascending=True, limit=9
            ),
            await threads.get(inbox_id, theirs.thread_id),
            await threads.message_ids(inbox_id, theirs.thread_id),
            await Contents(single).whole([int(str(content_id))]),
            await Events(single).after(START, Wanted(customer_id="cus_2"), 10),
            await Events(single).after(START, Wanted(inbox_id=inbox_id), 10),
            await Idempotencies(single).find("cus_2", "s", "k"),
            await Inboxes(single).get(inbox_id),
            await Inboxes(single).place(born.address),
            await Inboxes(single).by_client_id("cus_2", "c"),
            await Inboxes(single).page("cus_2", None, None, None, None, 9),
            await Inboxes(single).update(
                inbox_id, rename=True, display_name="x", status=None, metadata={}
            ),
            await Inboxes(single).retire(inbox_id=inbox_id),
            await Keys(single).get("key_cus_2"),
            await Keys(single).use(b"cus_2"),
            await Keys(single).page("cus_2", None, None, None, 9),
            await Keys(single).revoke("key_cus_2"),
            await Customers(single).get("cus_2"),
            await Customers(single).page("cus_2", None, 9),
            await Customers(single).update("cus_2", "x", {}),
            await Deployments(single).get("dep_cus_2"),
            await Deployments(single).first("cus_2"),
            await Deployments(single).page("cus_2", None, None, 9),
            await Deployments(single).update("dep_cus_2", "x", {}),
            await Deployments(single).remove("dep_cus_2"),
            await Agents(single).get("agt_cus_2"),
            await Agents(single).page("cus_2", None, None, None, 9),
            await Agents(single).update("agt_cus_2", "x", None, {}),
            await Agents(single).remove("agt_cus_2"),
        ]
        for number, found in enumerate(empty):
            self.assertFalse(found, number)
        async with self.database.tenant("cus_1") as tx:
            self.assertFalse(await lock_inbox(tx, inbox_id))
            self.assertEqual(
                await relabel(
                    tx, inbox_id, message_id=message_id, add=["x"], remove=[]
                ),
                [],
            )
            self.assertEqual(await move(tx, inbox_id, [message_id], "Trash"), 0)
            self.assertEqual(await delete(tx, inbox_id, [message_id]), 0)
            await Inboxes(tx).remove([inbox_id])
        self.assertEqual(await self.value("select count(*) from message"), 2)
        self.assertEqual(await self.value("select count(*) from inbox"), 2)

    async def test_filing_as_tenant(self) -> None:
        """Mail is not filed in another's inbox, and the queue is not a tenant's."""
        with self.assertRaises(NotFound):
            async with self.database.tenant("cus_1") as tx:
                await file(tx, [filing(self.two)])
        claiming = Deferred.fromCoroutine(
            Queue(self.database.single("cus_1")).claim(
                "x", seconds=1, held={}, each=1, limit=1
            )
        )
        await self.assertFailure(claiming, psycopg2.errors.InsufficientPrivilege)

    async def test_retired_address(self) -> None:
        """An address that was another customer's cannot be had, though it is not seen."""
        for address, expected in (
            ("old-cus_1@noinfra.example", True),
            ("old-cus_2@noinfra.example", False),
            ("new@noinfra.example", True),
            ("two@noinfra.example", False),
        ):
            async with self.database.tenant("cus_1") as tx:
                inbox = await Inboxes(tx).add(
                    f"inb_{address}",
                    "cus_1",
                    "dep_cus_1",
                    None,
                    address,
                    None,
                    None,
                    {},
                )
            self.assertEqual(inbox is not None, expected, address)
        self.assertEqual(
            await self.value(
                "select count(*) from inbox where inbox_id like 'inb_old%%'"
            ),
            1,
        )
