"""Mail under load, and what became of each: accepted, refused for now, or unknown."""

from __future__ import annotations

import smtplib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.e2e.api import Api, in_thread
from tests.e2e.daemon import reactor

_serial = count(1)


@define
class Load:
    """Clients that send until they are told to stop, or the server is gone.

    :ivar accepted: by Message-ID, the recipients that were answered for with 250.
    :ivar unknown: sent, and the connection broke before the reply.
    :ivar refused: the replies to mail that was refused, and how often.
    """

    port: int
    inboxes: Sequence[str]
    accepted: dict[str, list[str]] = field(factory=dict)
    unknown: dict[str, list[str]] = field(factory=dict)
    refused: Counter[str] = field(factory=Counter)
    # The longest time that any client went without a 250, in seconds.
    longest: float = 0.0
    _stop: threading.Event = field(factory=threading.Event)
    _clients: list[Deferred[None]] = field(factory=list)

    def start(self, clients: int = 6) -> None:
        """Begin to send."""
        self._clients = [in_thread(self._send_on) for _ in range(clients)]

    async def until(self, accepted: int) -> None:
        """Wait until so many are accepted, in all."""
        while len(self.accepted) < accepted:
            await deferLater(reactor(), 0.01)

    async def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        await gatherResults(self._clients)

    def _send_on(self) -> None:
        last = time.monotonic()
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
                while not self._stop.is_set():
                    last = self._send(client, last)
        except (OSError, smtplib.SMTPException):
            return

    def _send(self, client: smtplib.SMTP, last: float) -> float:
        number = next(_serial)
        message_id = f"{number}@load.example"
        # Every third goes to all of them.
        some = [self.inboxes[number % len(self.inboxes)]]
        recipients = list(self.inboxes) if number % 3 == 0 else some
        body = "x" * 70 + "\r\n"
        octets = f"Message-ID: <{message_id}>\r\nSubject: {number}\r\n\r\n{body * (number % 40)}"
        self.unknown[message_id] = recipients
        try:
            client.sendmail("load@load.example", recipients, octets)
        except smtplib.SMTPDataError as error:
            del self.unknown[message_id]
            self._refuse(error.smtp_code, error.smtp_error)
            return last
        except smtplib.SMTPRecipientsRefused as error:
            del self.unknown[message_id]
            for code, text in error.recipients.values():
                self._refuse(code, text)
            return last
        del self.unknown[message_id]
        self.accepted[message_id] = recipients
        now = time.monotonic()
        self.longest = max(self.longest, now - last)
        return now

    def _refuse(self, code: int, text: bytes | str) -> None:
        said = text.decode() if isinstance(text, bytes) else text
        self.refused[f"{code} {said[:60]}"] += 1
        time.sleep(0.05)


@frozen
class Tally:
    """What is in the inboxes, held against what was sent."""

    accepted: int
    lost: int
    doubled: int
    unheard: int
    # Copies of mail for several inboxes of which some have it and some do not.
    torn: int


def tally(api: Api, load: Load) -> Tally:
    """Look into every inbox."""
    found: dict[str, Counter[str]] = {}
    for inbox in load.inboxes:
        found[inbox] = Counter(one["messageId"] for one in api.messages(inbox))
    lost = [
        (message_id, inbox)
        for message_id, inboxes in load.accepted.items()
        for inbox in inboxes
        if not found[inbox][message_id]
    ]
    doubled = [one for each in found.values() for one, n in each.items() if n > 1]
    here = {
        message_id: [inbox for inbox in inboxes if found[inbox][message_id]]
        for message_id, inboxes in load.unknown.items()
    }
    unheard = [message_id for message_id, inboxes in here.items() if inboxes]
    torn = [one for one in unheard if len(here[one]) != len(load.unknown[one])]
    return Tally(len(load.accepted), len(lost), len(doubled), len(unheard), len(torn))


def announced(api: Api, inboxes: Sequence[str]) -> tuple[int, int]:
    """Messages without an event of theirs, and events without a message or twice."""
    there = {one["id"] for inbox in inboxes for one in api.messages(inbox)}
    told = Counter(
        one["messageId"]
        for one in api.pages("/v1/events", limit=1000, types="message.received")
        if one["inboxId"]
    )
    return len(there - told.keys()), sum(told.values()) - len(there)
