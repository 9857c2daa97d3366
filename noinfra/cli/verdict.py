"""What doctor finds: one thing looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from attrs import field, frozen

Level = Literal["ok", "warn", "fail"]


@frozen(kw_only=True)
class Verdict:
    """One thing that was looked at."""

    name: str
    level: Level
    text: str
    remedy: str = ""
    # What to publish in the DNS, each a line of a zone file.
    records: tuple[str, ...] = field(factory=tuple)


def ok(name: str, text: str) -> Verdict:
    """All is well."""
    return Verdict(name=name, level="ok", text=text)


def warn(name: str, text: str, remedy: str, *records: str) -> Verdict:
    """It works, but not for everybody, or not for ever."""
    return Verdict(
        name=name, level="warn", text=text, remedy=remedy, records=tuple(records)
    )


def fail(name: str, text: str, remedy: str, *records: str) -> Verdict:
    """It cannot work."""
    return Verdict(
        name=name, level="fail", text=text, remedy=remedy, records=tuple(records)
    )


def report(verdicts: Iterable[Verdict]) -> str:
    """The verdicts for a person to read."""
    lines = []
    for verdict in verdicts:
        lines.append(f"{verdict.level:4}  {verdict.name}: {verdict.text}")
        if verdict.remedy:
            lines.append(f"      {verdict.remedy}")
        lines += [f"        {record}" for record in verdict.records]
    return "\n".join(lines) + "\n"
