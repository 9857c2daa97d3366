"""Encoded words (RFC 2047): text of any language within a header of ASCII."""

import re
from collections.abc import Iterator

from noinfra.mail.charset import decode, storable
from noinfra.mail.transfer import base64_decode, quoted_printable_decode

_FOLD = re.compile(rb"\r?\n")
_LINE_BREAKS = re.compile(r"[\r\n]+")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# RFC 2047, 2, and the language of RFC 2231, 5.
_WORD_START = re.compile(r"=\?([^?*\s]{1,64})(?:\*[^?\s]{0,40})?\?([BbQq])\?")


def unfold(value: bytes) -> bytes:
    """The value on one line, without the white space around it (RFC 5322, 2.2.3)."""
    if b"\n" in value:
        value = _FOLD.sub(b"", value)
    return value.strip(b" \t\r\n")


def decode_words(value: bytes | str) -> str:
    """The value with its encoded words read (RFC 2047); never with line breaks in it.

    Laxer than section 5 in what mailers do wrong: words inside quotes, with white space
    in them, longer than 75, or touching their neighbours. A character that was split
    between two words (section 5 forbids it, many do it) is put together again.
    """
    text = value if isinstance(value, str) else decode(value, "utf-8")[0]
    if "=?" in text:
        text = "".join(_words_read(text))
    return one_line(text)


def one_line(text: str) -> str:
    """The text without line breaks and control characters, fit to be stored."""
    if not text.isprintable():
        text = _CONTROLS.sub("", _LINE_BREAKS.sub(" ", storable(text)))
    return text


def _words_read(text: str) -> Iterator[str]:
    run: list[tuple[str, str, str]] = []
    done = at = 0
    stop = -1
    while (start := text.find("=?", at)) >= 0:
        at = start + 2
        match = _WORD_START.match(text, start)
        if match is None:
            continue
        if stop < match.end():
            stop = text.find("?=", match.end())
            if stop < 0:
                break
        if text.find("=?", match.end(), stop) >= 0:
            continue  # this one never ends; a later one does
        between = text[done:start]
        if not run or (between and not between.isspace()):
            yield _run_read(run) + between
            run = []
        run.append((match[1].lower(), match[2].lower(), text[match.end() : stop]))
        done = at = stop + 2
    yield _run_read(run) + text[done:]


def _run_read(run: list[tuple[str, str, str]]) -> str:
    """Adjacent words: those of one character set are joined as octets, then decoded."""
    read: list[tuple[str, bytes]] = []
    pending = ""  # base64 that stopped within a quad
    for number, (charset, encoding, text) in enumerate(run):
        if encoding == "b":
            text, pending = pending + text, ""
            following = run[number + 1][:2] if number + 1 < len(run) else None
            if len(text) % 4 and "=" not in text and following == (charset, "b"):
                pending = text
                continue
        octets = _word_octets(encoding, text)
        if read and read[-1][0] == charset:
            octets = read.pop()[1] + octets
        read.append((charset, octets))
    return "".join(decode(octets, charset)[0] for charset, octets in read)


def _word_octets(encoding: str, text: str) -> bytes:
    octets = text.encode("utf-8", "surrogateescape")
    if encoding == "b":
        return base64_decode(octets)
    return quoted_printable_decode(octets.replace(b"_", b"=20"))
