"""Mail as people write it, as much as is wanted: prose, in short threads."""

from __future__ import annotations

import base64
import random

_SYLLABLES = (
    "an be ca de el fi go ha in jo ka le ma no or pa qui re sa ti um ve wi xa yo zu "
    "tra ste pro con ment tion able ing ed er est ly"
)
_TEXTS = 64
# Of so many mails to one inbox in a row, all but the first answer the one before.
_THREAD = 3


class Mails:
    """A series of mails of about one size; a number always gives the same mail.

    :param series: tells apart the Message-IDs of several series.
    """

    def __init__(self, series: str, recipients: list[str], size: int = 4096) -> None:
        self._series = series
        self._recipients = recipients
        chance = random.Random(1)
        syllables = _SYLLABLES.split()
        words = ["".join(chance.choices(syllables, k=2)) for _ in range(4000)]
        self._texts = [_prose(chance, words, size - 500) for _ in range(_TEXTS)]

    def recipient(self, number: int) -> str:
        """Whom a mail goes to: all in turn."""
        return self._recipients[number % len(self._recipients)]

    def message_id(self, number: int) -> str:
        """Its Message-ID, without the angle brackets."""
        return f"{self._series}.{number}@bench.example"

    def octets(self, number: int) -> bytes:
        """The mail (RFC 5322), without a line that begins with a dot."""
        turn, before = number // len(self._recipients), ""
        if turn % _THREAD:
            parent = f"<{self.message_id(number - len(self._recipients))}>"
            before = f"In-Reply-To: {parent}\r\nReferences: {parent}\r\n"
        head = (
            f"From: Writer {number % 97} <writer{number % 97}@bench.example>\r\n"
            f"To: {self.recipient(number)}\r\n"
            f"Subject: {'Re: ' if before else ''}Report {turn // _THREAD}\r\n"
            "Date: Fri, 20 Nov 2026 09:00:00 +0000\r\n"
            f"Message-ID: <{self.message_id(number)}>\r\n{before}"
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        )
        return head.encode() + self._texts[number % _TEXTS]


def _prose(chance: random.Random, words: list[str], size: int) -> bytes:
    lines: list[str] = []
    length = 0
    while length < size:
        # As in any language, few words are most of the text.
        line = " ".join(words[int(chance.paretovariate(0.6)) % 4000] for _ in range(11))
        lines.append(line.capitalize() + ".")
        length += len(line) + 3
    return "\r\n".join([*lines, ""]).encode()


def large(recipient: str, size: int) -> bytes:
    """A mail of about this many octets, nearly all of which are a file."""
    head = (
        f"From: writer@bench.example\r\nTo: {recipient}\r\nSubject: A large file\r\n"
        "Message-ID: <large@bench.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nHere it is.\r\n"
        "--b\r\nContent-Type: application/octet-stream\r\n"
        'Content-Disposition: attachment; filename="file.bin"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    ).encode()
    tail = b"\r\n--b--\r\n"
    lines = (size - len(head) - len(tail)) // 78
    octets = random.Random(2).randbytes(57 * lines)
    encoded = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return head + encoded.removesuffix(b"\r\n") + tail
