"""What the use cases of messages and threads share: bounds, labels, turns."""

from __future__ import annotations

from datetime import datetime

from noinfra.app.directory import Home
from noinfra.app.ids import first_id_at
from noinfra.errors import Invalid, NotFound
from noinfra.store.database import Tx
from noinfra.store.messages import lock_inbox

# Labels that the server gives, and nobody else.
SYSTEM_LABELS = frozenset(("received", "sent"))
# Messages and threads are paged by the ids of messages, which are in order of time.
MESSAGE = "msg_"


async def turn_at(tx: Tx, home: Home) -> None:
    """Wait for our turn at an inbox.

    :raises NotFound: it is gone.
    """
    if not await lock_inbox(tx, home.inbox_id):
        raise NotFound(f"There is no inbox {home.inbox_id}.")


def label_changes(add: list[str], remove: list[str]) -> tuple[list[str], list[str]]:
    """What to add and remove, unless it is the server's own or both at once.

    :raises Invalid: it is.
    """
    for field, names in (("addLabels", add), ("removeLabels", remove)):
        taken = SYSTEM_LABELS.intersection(names)
        if taken:
            raise Invalid(
                f"The label {min(taken)} is the server's own, and stays as it is.",
                field=field,
            )
    both = set(add) & set(remove)
    if both:
        raise Invalid(
            f"The label {min(both)} is to be added and removed; decide for one.",
            field="addLabels",
        )
    return add, remove


def id_at(time: datetime | None) -> str | None:
    """The smallest message id of a time.

    :raises Invalid: the time has no zone.
    """
    if time is None:
        return None
    if time.tzinfo is None:
        raise Invalid(f"The time {time.isoformat()} needs a zone, such as Z.")
    return first_id_at(MESSAGE, int(time.timestamp() * 1000))


def least(one: str | None, other: str | None) -> str | None:
    """The narrower of two upper bounds."""
    return min((value for value in (one, other) if value is not None), default=None)


def most(one: str | None, other: str | None) -> str | None:
    """The narrower of two lower bounds."""
    return max((value for value in (one, other) if value is not None), default=None)
