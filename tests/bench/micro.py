"""Reading mail, without a server: parsing, all that is stored of it, extracting replies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from noinfra.app.content import derived
from noinfra.mail.mime import parse
from noinfra.mail.reply import extract, extract_html
from tests.bench.mails import Mails, large
from tests.bench.stage import ROOT, Stage
from tests.bench.table import Row, Target, median

_REPLIES = ROOT.parent / "shared" / "corpora" / "reply-extraction" / "replies.json"


def measure(stage: Stage) -> Iterator[Row]:
    """Times are of the best of some rounds, since what disturbs only adds."""
    small = Mails("micro", ["a@bench.example"], 5000).octets(1)
    big = large("a@bench.example", 5_000_000)
    for name, octets, rounds in (("5 KB", small, 300), ("5 MB", big, 5)):
        for what, work in (("parse", parse), ("derive", derived)):
            yield Row(
                name=f"{what} of {name}",
                ours=_best(partial(work, octets), rounds) * 1e3,
                unit="ms",
            )
    yield from _replies(_REPLIES)


def _best(work: Callable[[], object], rounds: int) -> float:
    return min(_seconds(work) for _ in range(rounds))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _replies(path: Path) -> Iterator[Row]:
    if not path.exists():
        return
    spent = []
    for reply in json.loads(path.read_text("utf-8")):
        read = extract_html if reply["kind"] == "html" else extract
        spent.append(_best(partial(read, reply["input"]), 3) * 1e3)
    note = f"{len(spent)} replies of other projects' tests"
    for name, value, limit in (
        ("reply extraction, median", median(spent), 1.0),
        ("reply extraction, longest", max(spent), 10.0),
    ):
        yield Row(
            name=name,
            ours=value,
            unit="ms",
            target=Target("below", limit, "value"),
            note=note,
        )
