"""Which mailboxes LIST means (RFC 9051, 6.3.9): patterns with wildcards, parents.

A pattern is a small automaton whose states are the bits of a number. Its cost for a
name grows with the name's length alone, however many wildcards there are: a regular
expression would try all ways to share the name among them.
"""

from __future__ import annotations

import re
from collections import defaultdict

from noinfra.mail.imap.names import DELIMITER, with_inbox

MAX_PATTERN = 1000

_WILDCARDS = re.compile(r"[*%]{2,}")


class Pattern:
    """A pattern; "*" stands for anything, "%" for anything within one level."""

    def __init__(self, pattern: str) -> None:
        pattern = _WILDCARDS.sub(_joined, with_inbox(pattern))
        self._any = self._level = 0
        self._literal: defaultdict[str, int] = defaultdict(int)
        for place, character in enumerate(pattern):
            if character == "*":
                self._any |= 1 << place
            elif character == "%":
                self._level |= 1 << place
            else:
                self._literal[character] |= 1 << place
        self._end = 1 << len(pattern)

    def matches(self, name: str) -> bool:
        """Whether the pattern means the name."""
        literal, wild = self._literal, self._any | self._level
        states = self._opened(1)
        for character in name:
            stays = self._any if character == DELIMITER else wild
            moves = (states & literal.get(character, 0)) << 1
            states = self._opened(moves | states & stays)
            if not states:
                return False
        return bool(states & self._end)

    def _opened(self, states: int) -> int:
        """The states, and those behind a wildcard that stands for nothing."""
        return states | (states & (self._any | self._level)) << 1


def _joined(found: re.Match[str]) -> str:
    return "*" if "*" in found[0] else "%"


def parents(name: str) -> list[str]:
    """The names above a name, the nearest first."""
    levels = name.split(DELIMITER)[:-1]
    return [DELIMITER.join(levels[:count]) for count in range(len(levels), 0, -1)]
