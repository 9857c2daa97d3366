"""What goes into a statement and comes out of a row, beyond what psycopg2 does.

In: str, int, float, bool, bytes, datetime, Decimal, UUID and None as they are; a list
as an array; `Json` as json or jsonb; `Values` as the rows of a VALUES list. psycopg2
quotes in the reactor's thread, and 5 MB of bytes take some 10 ms: send them in pieces
of at most `PIECE` octets, one statement each (``octets = octets || %(piece)s`` copies;
a row for each piece does not).

Out: bytea is bytes; timestamptz an aware datetime, in UTC as the session is; json and
jsonb their text, undecoded, so that a front can pass it on; uuid a str; xid8 an int.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from psycopg2.extensions import (
    INTEGER,
    UNICODE,
    ISQLQuote,
    QuotedString,
    connection,
    new_array_type,
    new_type,
    register_type,
)

PIECE = 512 * 1024
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with U+FFFD for what PostgreSQL's text cannot hold."""
    return _UNSTORABLE.sub("\ufffd", text)


class Json:
    """A parameter for a json or jsonb column: anything that msgspec can encode."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __conform__(self, protocol: object) -> QuotedString | None:
        if protocol is not ISQLQuote:
            return None
        return QuotedString(msgspec.json.encode(self._value).decode())


class Values:
    """The rows of a VALUES list, so that many rows travel in one statement.

    ``insert into label (message_id, name) values %(rows)s`` with ``rows=Values("(%s,
    %s)", [(1, "a"), (2, "b")])``. In a ``from (values ...)`` PostgreSQL does not know
    the types: cast in the template, as in ``(%s::bigint, %s)``.

    :raises ValueError: there are no rows; SQL has no empty VALUES.
    """

    __slots__ = ("_connection", "_rows", "_template")

    def __init__(
        self, template: str, rows: Iterable[Sequence[object] | Mapping[str, object]]
    ) -> None:
        self._template = template
        self._rows = list(rows)
        if not self._rows:
            raise ValueError("VALUES needs at least one row; send nothing instead.")

    def __conform__(self, protocol: object) -> Values | None:
        return self if protocol is ISQLQuote else None

    def prepare(self, session: connection) -> None:
        """psycopg2 tells for which session to quote."""
        self._connection = session

    def getquoted(self) -> bytes:
        """What takes the place of the parameter."""
        mogrify = self._connection.cursor().mogrify
        return b",".join([mogrify(self._template, row) for row in self._rows])


def _bytes(value: str | bytes | None, cursor: object) -> bytes | None:
    # bytea_output is hex in every session of ours.
    return bytes.fromhex(value[2:]) if isinstance(value, str) else None


def _time(value: str | bytes | None, cursor: object) -> datetime | None:
    # ISO and UTC in every session of ours; psycopg2 makes a new zone for each value.
    return datetime.fromisoformat(value) if isinstance(value, str) else None


# The numbers are those of pg_type.dat; they never change.
_BYTES = new_type((17,), "BYTES", _bytes)
# The driver's own casters are in C.
_JSON = new_type((114, 3802), "JSON_TEXT", UNICODE)
_XID8 = new_type((5069,), "XID8", INTEGER)
_TIME = new_type((1184,), "UTC", _time)
_UUIDS = new_array_type((2951,), "UUID[]", UNICODE)


def register_types(session: connection) -> None:
    """Teach a session the types above; the driver's global tables stay as they are."""
    for caster in (_BYTES, _JSON, _XID8, _TIME, _UUIDS):
        register_type(caster, session)
