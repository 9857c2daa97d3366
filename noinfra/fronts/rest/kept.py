"""Answers that are kept for as long as nothing has changed that they tell of."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import OrderedDict
from hashlib import blake2b

import msgspec
from attrs import frozen

from noinfra.fronts.rest.answer import Answer

#: What all answers together may take, and a single one, in octets.
MOST = 32 * 1024 * 1024
LARGEST = 256 * 1024
#: About what keeping an answer takes beside its body.
_EACH = 1024


@frozen
class Known:
    """What is known of a request that came before.

    :ivar request: what its path and query say, decoded.
    :ivar version: the state of the mail that the answer was made from, or an older one.
    """

    request: msgspec.Struct
    version: str
    tag: bytes
    answer: Answer


class Kept:
    """Answers by what was asked for, the least recently used of which go first.

    Nobody gets one before it is known that they may read what it tells of, and that its
    version still holds.
    """

    def __init__(self, release: str, most: int = MOST, largest: int = LARGEST) -> None:
        """Nothing is kept yet.

        :param release: of the program: another may spell the same otherwise.
        """
        self._release = release.encode()
        self._most = most
        self._largest = largest
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._octets = 0

    @property
    def octets(self) -> int:
        """What all of them take."""
        return self._octets

    def find(self, uri: bytes) -> Known | None:
        """What is known of a path with its query."""
        known = self._known.get(uri)
        if known is not None:
            self._known.move_to_end(uri)
        return known

    def keep(self, uri: bytes, known: Known) -> None:
        """Keep an answer in the place of an older one, if it is not too large."""
        self._drop(self._known.pop(uri, None), uri)
        if _size(uri, known) > self._largest:
            return
        self._known[uri] = known
        self._octets += _size(uri, known)
        while self._octets > self._most:
            oldest, gone = self._known.popitem(last=False)
            self._drop(gone, oldest)

    def tag(self, version: str, uri: bytes) -> bytes:
        """The name of an answer (RFC 9110, 8.8.3).

        It is weak, as it is made of what the answer is made from.
        """
        digest = blake2b(digest_size=15)
        for part in (self._release, version.encode(), uri):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return b'W/"' + urlsafe_b64encode(digest.digest()) + b'"'

    def _drop(self, known: Known | None, uri: bytes) -> None:
        if known is not None:
            self._octets -= _size(uri, known)


def _size(uri: bytes, known: Known) -> int:
    return len(known.answer.body) + 2 * len(uri) + _EACH


def is_named(tag: bytes, condition: str | None) -> bool:
    """Whether an If-None-Match header field lists a tag (RFC 9110, 13.1.2).

    ``*`` would be any, and is of no use to who reads.
    """
    if condition is None:
        return False
    wanted = tag.decode().removeprefix("W/")
    return any(one.strip().removeprefix("W/") == wanted for one in condition.split(","))
