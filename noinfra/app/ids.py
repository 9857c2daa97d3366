"""Identifiers: a prefix that tells the kind, and a ULID.

A ULID is 48 bits of milliseconds and 80 of chance in Crockford's base 32, so that
identifiers sort by the time they were made, and lists are paged by them.
"""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))


def new_id(prefix: str) -> str:
    """A new identifier of the kind, such as ``msg_01K…``."""
    return prefix + ulid(time.time_ns() // 1_000_000, os.urandom(10))


def ulid(milliseconds: int, chance: bytes) -> str:
    """Twenty-six digits from a time since 1970 and ten octets of chance."""
    number = milliseconds << 80 | int.from_bytes(chance, "big")
    pairs = _PAIRS
    return "".join([pairs[number >> shift & 1023] for shift in _SHIFTS])


def first_id_at(prefix: str, milliseconds: int) -> str:
    """The smallest identifier that could have been made at a time."""
    return prefix + ulid(max(0, min(milliseconds, (1 << 48) - 1)), bytes(10))


def encode_number(number: int) -> str:
    """Thirteen digits for a 64-bit number, in the same alphabet and the same order."""
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(60, -1, -5))


def decode_number(text: str) -> int | None:
    """The number that `encode_number` wrote; None if it did not write this."""
    if len(text) != 13:
        return None
    number = 0
    for digit in text:
        value = _ALPHABET.find(digit)
        if value < 0:
            return None
        number = number << 5 | value
    return number if number < 1 << 63 else None
