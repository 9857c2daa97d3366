"""Times as the API writes them: ISO 8601 in UTC, to the millisecond, with a final Z."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

_FORM = Meta(
    extra_json_schema={"format": "date-time", "examples": ["2026-01-31T09:30:00.000Z"]}
)
Time = Annotated[str, _FORM]
Whenever = Time | None

_encode = msgspec.json.Encoder().encode


def spell_time(time: datetime) -> str:
    """A time in UTC.

    msgspec writes a time ten times as fast as isoformat does, but to the microsecond,
    and leaves the fraction out where it is nothing.
    """
    octets = _encode(time)
    if len(octets) == 29:
        return octets[1:24].decode() + "Z"
    return octets[1:20].decode() + ".000Z"


def spell_whenever(time: datetime | None) -> str | None:
    """A time in UTC, or none."""
    return None if time is None else spell_time(time)
