"""Mail into folders, many messages in one transaction.

The one place that gives a message its UID, its modseq and its thread. An inbox's row is
locked first, so what follows happens to an inbox one transaction at a time, in whatever
process: UIDs ascend, threads are joined against all that came before, and any two
transactions lock their inboxes in the same order.

Threads grow together only when mail comes that was *awaited*: a message started its
thread by referring to it, and nobody else has claimed its place. What mail refers to
that joined a thread of others is not awaited. So a stranger, who can write any
Message-ID and any References, can join one thread with a mail, and never two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from attrs import define, evolve, field, frozen

from noinfra.errors import NotFound
from noinfra.mail.thread import place, thread_key
from noinfra.store.database import Tx
from noinfra.store.filing import Filed, Filing, Placed
from noinfra.store.inserting import insert
from noinfra.store.parameters import Values


def digest(rfc_message_id: str) -> bytes:
    """What a Message-ID is looked up by: its hash, as its length is the sender's."""
    return hashlib.sha256(rfc_message_id.encode("utf-8", "replace")).digest()[:16]


@frozen
class _Known:
    """A Message-ID that the inbox has met: its thread, and whether it is awaited."""

    thread_id: str
    awaited: bool


@define
class _Ground:
    """What the transaction finds, kept up to date while the batch is placed."""

    uids: dict[int, int] = field(factory=dict)
    modseqs: dict[int, int] = field(factory=dict)
    known: dict[tuple[str, bytes], _Known] = field(factory=dict)
    receipts: dict[tuple[str, bytes], str] = field(factory=dict)


@define
class _Batch:
    """What the messages of a batch amount to, gathered before it is written."""

    placed: list[Placed] = field(factory=list)
    references: dict[tuple[str, bytes], tuple[Filing, _Known]] = field(factory=dict)
    # Thread, and the thread that it takes in, in order.
    absorbed: list[tuple[Filing, str, str]] = field(factory=list)


async def file(tx: Tx, filings: Sequence[Filing]) -> list[Filed]:
    """Put messages into their folders, in order, with their events and deliveries.

    :raises NotFound: an inbox or a folder is gone; nothing was filed.
    :raises UniqueViolation: an idempotency key is taken.
    """
    if not filings:
        return []
    ground = await _lock_and_look(tx, filings)
    batch = _Batch()
    filed = [_place(one, ground, batch) for one in filings]
    contents: dict[tuple[str, bytes], int] = {}
    if batch.placed:
        contents = await insert(
            tx,
            batch.placed,
            [
                (inbox_id, hashed, filing.customer_id, known.thread_id, known.awaited)
                for (inbox_id, hashed), (filing, known) in batch.references.items()
            ],
        )
    for filing, thread_id, absorbed in batch.absorbed:
        await _absorb(tx, filing, thread_id, absorbed)
    return _after_all(filings, filed, batch, contents)


def _after_all(
    filings: Sequence[Filing],
    filed: list[Filed],
    batch: _Batch,
    contents: dict[tuple[str, bytes], int],
) -> list[Filed]:
    """With their contents, and the threads they ended in, as some were absorbed."""
    ends: dict[str, str] = {}
    for _, thread_id, absorbed in reversed(batch.absorbed):
        ends[absorbed] = ends.get(thread_id, thread_id)
    return [
        one
        if one.duplicate
        else evolve(
            one,
            thread_id=ends.get(one.thread_id, one.thread_id),
            content_id=_content_id(filing, contents),
        )
        for filing, one in zip(filings, filed, strict=True)
    ]


def _content_id(filing: Filing, contents: dict[tuple[str, bytes], int]) -> int:
    content = filing.content
    if isinstance(content, int):
        return content
    return contents[filing.customer_id, content.sha256]


async def _lock_and_look(tx: Tx, filings: Sequence[Filing]) -> _Ground:
    counts: dict[int, int] = {}
    for one in filings:
        counts[one.folder_id] = counts.get(one.folder_id, 0) + 1
    # Two statements, since the second must see what was committed while the first one
    # waited; and one round trip, since others wait for what is locked.
    found = await tx.rows(
        """
        with locked as (
            select 1 from inbox where inbox_id = any(%(inbox_ids)s)
            order by inbox_id for no key update
        ),
        wanted (folder_id, n) as (values %(counts)s)
        update folder set uidnext = uidnext + n, modseq = modseq + n
        from wanted, (select count(*) from locked) as all_locked
        where folder.folder_id = wanted.folder_id;
        select 'folder', '', null::bytea, '', false, folder_id, uidnext, modseq
        from folder where folder_id = any(%(folder_ids)s)
        union all
        select 'reference', inbox_id, digest, thread_id, awaited, 0, 0, 0
        from thread_reference where (inbox_id, digest) in (values %(digests)s)
        union all
        select 'receipt', inbox_id, receipt, message_id, false, 0, 0, 0
        from message where (inbox_id, receipt) in (values %(receipts)s)
        """,
        inbox_ids=sorted({one.inbox_id for one in filings}),
        folder_ids=list(counts),
        counts=Values("(%s::bigint, %s::bigint)", counts.items()),
        digests=Values(
            "(%s, %s::bytea)",
            {(f.inbox_id, d) for f in filings for d in _digests(f)} | {("", None)},
        ),
        receipts=Values(
            "(%s, %s::bytea)",
            {(f.inbox_id, f.receipt) for f in filings if f.receipt} | {("", None)},
        ),
    )
    ground = _Ground()
    for kind, inbox_id, hashed, id_, awaited, folder_id, uidnext, modseq in found:
        if kind == "folder":
            # All its places are taken by now; these messages get the last ones.
            ground.uids[folder_id] = uidnext - counts[folder_id]
            ground.modseqs[folder_id] = modseq - counts[folder_id] + 1
        elif kind == "reference":
            ground.known[inbox_id, hashed] = _Known(id_, awaited)
        else:
            ground.receipts[inbox_id, hashed] = id_
    if len(ground.uids) != len(counts):
        raise NotFound("The inbox or its folder is gone.")
    return ground


def _digests(filing: Filing) -> list[bytes]:
    return [digest(one) for one in (_own_key(filing), *filing.ancestors) if one]


def _own_key(filing: Filing) -> str:
    return thread_key(filing.rfc_message_id) if filing.rfc_message_id else ""


def _place(filing: Filing, ground: _Ground, batch: _Batch) -> Filed:
    uid, modseq = ground.uids[filing.folder_id], ground.modseqs[filing.folder_id]
    receipt = (filing.inbox_id, filing.receipt) if filing.receipt else None
    if receipt and receipt in ground.receipts:
        return Filed(
            message_id=ground.receipts[receipt],
            thread_id="",
            uid=0,
            modseq=0,
            duplicate=True,
        )
    ground.uids[filing.folder_id] += 1
    ground.modseqs[filing.folder_id] += 1
    if receipt:
        ground.receipts[receipt] = filing.message_id
    thread_id = _thread(filing, ground, batch)
    batch.placed.append(Placed(filing, thread_id, uid, modseq))
    return Filed(
        message_id=filing.message_id, thread_id=thread_id, uid=uid, modseq=modseq
    )


def _thread(filing: Filing, ground: _Ground, batch: _Batch) -> str:
    """Join the thread of the closest known ancestor, and note what was learnt."""
    inbox_id, own_id = filing.inbox_id, _own_key(filing)
    ids = {id_: digest(id_) for id_ in (own_id, *filing.ancestors) if id_}
    met = {id_: ground.known.get((inbox_id, ids[id_])) for id_ in ids}
    known = {id_: one.thread_id for id_, one in met.items() if one}
    placement = place(own_id, filing.ancestors, known)
    thread_id = placement.thread or filing.thread_id
    own = met.get(own_id)
    expected = own is not None and own.awaited
    if placement.absorbs and expected:
        batch.absorbed.append((filing, thread_id, placement.absorbs))
        for key, one in ground.known.items():
            if one.thread_id == placement.absorbs and key[0] == inbox_id:
                ground.known[key] = _Known(thread_id, one.awaited)
    ours = placement.thread is None or (expected and not placement.absorbs)
    for id_, hashed in ids.items():
        before = ground.known.get((inbox_id, hashed))
        if before is None:
            learnt = _Known(thread_id, awaited=ours and id_ != own_id)
        elif id_ == own_id and before.awaited:
            learnt = _Known(before.thread_id, awaited=False)
        else:
            continue
        ground.known[inbox_id, hashed] = learnt
        batch.references[inbox_id, hashed] = (filing, learnt)
    return thread_id


async def _absorb(tx: Tx, filing: Filing, thread_id: str, absorbed: str) -> None:
    """Join two threads, now that the mail which links them is here."""
    await tx.statement(
        """
        with moved as (
            update message set thread_id = %(thread_id)s
            where thread_id = %(absorbed)s
        ),
        referred as (
            update thread_reference set thread_id = %(thread_id)s
            where thread_id = %(absorbed)s
        ),
        gone as (
            delete from thread where thread_id = %(absorbed)s
            returning message_count, last_message_id, created_at, updated_at
        ),
        joined as (
            update thread set
                message_count = thread.message_count + gone.message_count,
                last_message_id = greatest(
                    thread.last_message_id, gone.last_message_id
                ),
                created_at = least(thread.created_at, gone.created_at),
                updated_at = greatest(thread.updated_at, gone.updated_at)
            from gone where thread.thread_id = %(thread_id)s
        )
        insert into event (
            type, customer_id, deployment_id, agent_id, inbox_id, thread_id, data
        )
        values (
            'thread.updated', %(customer_id)s, %(deployment_id)s, %(agent_id)s,
            %(inbox_id)s, %(thread_id)s,
            json_build_object('absorbedThreadId', %(absorbed)s)
        )
        """,
        thread_id=thread_id,
        absorbed=absorbed,
        customer_id=filing.customer_id,
        deployment_id=filing.deployment_id,
        agent_id=filing.agent_id,
        inbox_id=filing.inbox_id,
    )
