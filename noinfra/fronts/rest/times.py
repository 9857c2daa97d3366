"""The types of times, for the documentation, and times that may be none."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from noinfra.app.times import spell_time

_FORM = Meta(
    extra_json_schema={"format": "date-time", "examples": ["2026-01-31T09:30:00.000Z"]}
)
Time = Annotated[str, _FORM]
Whenever = Time | None


def spell_whenever(time: datetime | None) -> str | None:
    """A time in UTC, or none."""
    return None if time is None else spell_time(time)
