"""A process that fills an inbox by the store's own way, in batches, without SMTP."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.task import react

from noinfra.app.content import Derived, derived
from noinfra.app.directory import Directory, Home
from noinfra.app.ids import new_id
from noinfra.app.receive import announcement
from noinfra.mail.thread import ancestry
from noinfra.store.database import Database, session
from noinfra.store.filing import Filing
from noinfra.store.placing import file
from noinfra.store.pool import Pool
from tests.bench.mails import Mails

_BATCH = 500
# So many mails are read in earnest; the others differ from these in their ids alone.
SAMPLES = 192
SIZE = 2048


class Plan(msgspec.Struct, kw_only=True):
    """Which inbox of which database, and how many messages."""

    dsn: str
    inbox_id: str
    count: int


def filings(home: Home, count: int) -> Iterator[Filing]:
    """Messages that came just now."""
    mails = Mails("sample", [home.address], SIZE)
    samples = [derived(mails.octets(number)) for number in range(SAMPLES)]
    series = Mails(f"fill-{home.inbox_id}", [home.address], SIZE)
    for number in range(count):
        yield _filing(home, series, number, samples[number % SAMPLES])


def _filing(home: Home, series: Mails, number: int, sample: Derived) -> Filing:
    own = series.message_id(number)
    parent = series.message_id(number - 1) if sample.in_reply_to else None
    at, message_id = datetime.now(UTC), new_id("msg_")
    digest = hashlib.sha256(own.encode()).digest()
    return Filing(
        message_id=message_id,
        customer_id=home.customer_id,
        deployment_id=home.deployment_id,
        agent_id=home.agent_id,
        inbox_id=home.inbox_id,
        folder_id=home.folders["INBOX"],
        thread_id=new_id("thr_"),
        content=evolve(sample.content, sha256=digest),
        direction="inbound",
        state="received",
        labels=("received", "unread"),
        mail_from="writer@bench.example",
        rcpt_to=home.address,
        tag=None,
        rfc_message_id=own,
        in_reply_to=parent,
        reference_ids=(parent,) if parent else (),
        ancestors=ancestry(own, [parent] if parent else [], []),
        subject=sample.subject,
        from_=sample.from_,
        to_=sample.to_,
        cc=sample.cc,
        bcc="[]",
        reply_to=sample.reply_to,
        preview=sample.preview,
        attachments=sample.attachments,
        size=sample.content.size,
        sent_at=sample.sent_at,
        received_at=at,
        key_id=None,
        receipt=None,
        event_type="message.received",
        event_data=announcement(message_id, home.address, sample, at),
    )


async def fill(reactor: PosixReactorBase, plan: Plan) -> None:
    """File them all."""
    pool = Pool(reactor, plan.dsn, size=1, setup=session())
    await pool.start()
    try:
        database = Database(pool)
        directory = Directory(
            database=database, domains=frozenset(), postmaster="postmaster"
        )
        home = await directory.find(plan.inbox_id)
        if home is None:
            raise LookupError(f"there is no inbox {plan.inbox_id}")
        batch: list[Filing] = []
        for number, filing in enumerate(filings(home, plan.count), 1):
            batch.append(filing)
            if len(batch) == _BATCH or number == plan.count:
                async with database.system() as tx:
                    await file(tx, batch)
                batch.clear()
    finally:
        await pool.close()


def main(reactor: PosixReactorBase) -> Deferred[None]:
    """Read the plan, and follow it."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    filling = Deferred.fromCoroutine(fill(reactor, plan))
    return filling.addCallback(lambda _: sys.stdout.write("{}") and None)


if __name__ == "__main__":
    react(main)
