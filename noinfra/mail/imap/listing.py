"""Which mailboxes LIST means (RFC 9051, 6.3.9): patterns with wildcards, and parents."""

from __future__ import annotations

import re
from collections.abc import Iterable

from noinfra.mail.imap.names import DELIMITER, with_inbox

_WILDCARD = re.compile(r"[*%]+")


def matcher(reference: str, patterns: Iterable[str]) -> re.Pattern[str]:
    """What matches the names that the patterns mean, each behind the reference.

    Wildcards that stand together are one, so that no name takes long.
    """
    return re.compile("|".join(_expression(reference + one) for one in patterns))


def _expression(pattern: str) -> str:
    pattern = with_inbox(pattern)
    pieces, at = [], 0
    for found in _WILDCARD.finditer(pattern):
        pieces.append(re.escape(pattern[at : found.start()]))
        pieces.append(".*" if "*" in found[0] else f"[^{DELIMITER}]*")
        at = found.end()
    pieces.append(re.escape(pattern[at:]))
    return f"(?:{''.join(pieces)})"


def parents(name: str) -> list[str]:
    """The names above a name, the nearest first."""
    levels = name.split(DELIMITER)[:-1]
    return [DELIMITER.join(levels[:count]) for count in range(len(levels), 0, -1)]
