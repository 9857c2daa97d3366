"""Mail that a caller writes: checked, composed, and released."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from attrs import define, frozen
from twisted.internet.threads import deferToThread

from noinfra.app.access import Access
from noinfra.app.content import LARGE
from noinfra.app.directory import Home
from noinfra.app.homes import Homes
from noinfra.app.ids import new_id
from noinfra.app.letters import Letters
from noinfra.app.release import Addressee, Outbound, Release, require_active
from noinfra.app.requests import (
    ForwardMessage,
    ReplyAllToMessage,
    ReplyToMessage,
    ReplyToThread,
    SendMessage,
    Written,
)
from noinfra.app.selecting import SYSTEM_LABELS
from noinfra.app.writing import (
    NOTHING,
    Answered,
    Outgoing,
    answer_to,
    everyone_else,
    read,
    sent_on,
    subject_of_reply,
    write,
)
from noinfra.errors import (
    IdempotencyMismatch,
    Invalid,
    NotFound,
    TooLarge,
)
from noinfra.mail.compose import compose
from noinfra.mail.encode import ComposeError
from noinfra.mail.mailbox import Mailbox
from noinfra.mail.thread import ancestry
from noinfra.model import Message
from noinfra.store.database import Database
from noinfra.store.failures import UniqueViolation
from noinfra.store.filing import Idempotency
from noinfra.store.idempotency import Idempotencies
from noinfra.store.messages import Messages


@frozen(kw_only=True)
class Sent:
    """A mail on its way. Not created: the Idempotency-Key had sent it already."""

    message: Message
    created: bool


@define
class Send:
    """The use cases of sending."""

    database: Database
    homes: Homes
    letters: Letters
    release: Release
    size_limit: int
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def send(self, access: Access, request: SendMessage) -> Sent:
        """Send a new mail."""
        home = await self._sender(access, request)
        return await self._once(
            access,
            home,
            request,
            lambda: self._new(home, request),
        )

    async def _new(self, home: Home, request: SendMessage) -> Outgoing:
        return write(
            home,
            request,
            to=read(request.to, "to"),
            cc=read(request.cc, "cc"),
            subject=request.subject,
            answered=NOTHING,
            now=self.now(),
        )

    async def reply(self, access: Access, request: ReplyToMessage) -> Sent:
        """Answer a message, in its thread."""
        home = await self._sender(access, request)
        original = await self.letters.message(home, request.message_id)
        return await self._answer(access, home, request, original, request.to, ())

    async def reply_all(self, access: Access, request: ReplyAllToMessage) -> Sent:
        """Answer a message to its sender and to its other recipients."""
        home = await self._sender(access, request)
        original = await self.letters.message(home, request.message_id)
        others = everyone_else(original, home)
        return await self._answer(access, home, request, original, [], others)

    async def reply_to_thread(self, access: Access, request: ReplyToThread) -> Sent:
        """Answer the newest message of a thread."""
        home = await self._sender(access, request)
        original = await Messages(
            self.database.single(home.customer_id)
        ).newest_of_thread(home.inbox_id, request.thread_id)
        if original is None:
            raise NotFound(f"There is no thread {request.thread_id} in this inbox.")
        others = everyone_else(original, home) if request.reply_all else ()
        return await self._answer(access, home, request, original, request.to, others)

    async def forward(self, access: Access, request: ForwardMessage) -> Sent:
        """Send a message on, with its files, within its thread."""
        home = await self._sender(access, request)
        original = await self.letters.message(home, request.message_id)

        async def forwarded() -> Outgoing:
            octets = await self.letters.octets(original)
            body = await self.letters.body(original)
            carried = await deferToThread(
                sent_on, request, original, octets, body.text, body.html
            )
            return write(
                home,
                request,
                to=read(request.to, "to"),
                cc=read(request.cc, "cc"),
                subject=request.subject or carried.subject,
                answered=Answered.to(original),
                now=self.now(),
                files=carried.files,
                text=carried.text,
                html=carried.html,
            )

        return await self._once(access, home, request, forwarded)

    async def _answer(
        self,
        access: Access,
        home: Home,
        request: Written,
        original: Message,
        to: list[str],
        others: tuple[Mailbox, ...],
    ) -> Sent:
        async def answered() -> Outgoing:
            recipients = read(to, "to") or answer_to(original, home)
            return write(
                home,
                request,
                to=recipients,
                cc=(*others, *read(request.cc, "cc")),
                subject=subject_of_reply(original),
                answered=Answered.to(original),
                now=self.now(),
            )

        return await self._once(access, home, request, answered)

    async def _sender(self, access: Access, request: Written) -> Home:
        home = await self.homes.of(access, request.inbox_id)
        require_active(home)
        taken = SYSTEM_LABELS.intersection(request.labels)
        if taken:
            raise Invalid(
                f"The label {min(taken)} is the server's own; leave it out.",
                field="labels",
            )
        return home

    async def _once(
        self,
        access: Access,
        home: Home,
        request: Written,
        written: Callable[[], Awaitable[Outgoing]],
    ) -> Sent:
        """Send, unless the Idempotency-Key has been used: then answer what it sent.

        :raises IdempotencyMismatch: the key was used for another request.
        """
        key = _idempotency(home, request)
        if key is not None:
            sent = await self._sent_before(home, key)
            if sent is not None:
                return sent
        outgoing = await written()
        try:
            message = await self._release(access, home, request, outgoing, key)
        except UniqueViolation as error:
            # The same request is under way beside us, and was first.
            sent = await self._sent_before(home, key) if key is not None else None
            if error.constraint != "idempotency_key" or sent is None:
                raise
            return sent
        return Sent(message=message, created=True)

    async def _sent_before(self, home: Home, key: Idempotency) -> Sent | None:
        used = await Idempotencies(self.database.single(home.customer_id)).find(
            home.customer_id, key.scope, key.idempotency_key
        )
        if used is None:
            return None
        if used.request != key.request:
            raise IdempotencyMismatch(
                "This Idempotency-Key was used for another request within a day; "
                "send the same request again, or take a new key."
            )
        message = await self.letters.message(home, used.message_id)
        return Sent(message=message, created=False)

    async def _release(
        self,
        access: Access,
        home: Home,
        request: Written,
        outgoing: Outgoing,
        key: Idempotency | None,
    ) -> Message:
        composition = outgoing.composition
        answered = composition.in_reply_to
        return await self.release.release(
            access,
            home,
            Outbound(
                message_id=new_id("msg_"),
                octets=await self._composed(outgoing),
                domain=home.domain,
                mail_from=home.address,
                recipients=[
                    Addressee(address=to.address) for to in outgoing.recipients
                ],
                bcc=outgoing.bcc,
                labels=request.labels,
                ancestors=ancestry(
                    composition.message_id,
                    [answered] if answered else [],
                    composition.references,
                ),
                idempotency=key,
            ),
        )

    async def _composed(self, outgoing: Outgoing) -> bytes:
        """The octets.

        :raises Invalid: something that the caller gave cannot stand in a mail.
        :raises TooLarge: the mail is larger than others take.
        """
        composition = outgoing.composition
        size = sum(len(one.content) for one in composition.attachments)
        if size > self.size_limit:
            raise self._too_large()
        try:
            if size < LARGE:
                octets = compose(composition)
            else:
                octets = await deferToThread(compose, composition)
        except ComposeError as error:
            raise Invalid(f"{error}.", field=error.field) from error
        if len(octets) > self.size_limit:
            raise self._too_large()
        return octets

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The mail is larger than {self.size_limit} octets; send the files in "
            "another way, or several mails.",
            limit=self.size_limit,
        )


def _idempotency(home: Home, request: Written) -> Idempotency | None:
    if request.idempotency_key is None:
        return None
    bare = msgspec.structs.replace(request, idempotency_key=None)
    said = type(request).__name__.encode() + msgspec.json.encode(bare)
    return Idempotency(
        scope=home.inbox_id,
        idempotency_key=request.idempotency_key,
        request=hashlib.sha256(said).digest(),
    )
