"""Parameters of Content-Type and Content-Disposition (RFC 2045, 5.1; RFC 2231)."""

import re
from urllib.parse import unquote_to_bytes

from noinfra.mail.charset import decode
from noinfra.mail.words import decode_words, one_line, unfold

MAX_PARAMETERS = 200

_HEAD = re.compile(r'\s*+([^\s;"()=/]*+(?:[ \t]*+/[ \t]*+[^\s;"()=]*+)?+)(?!\s*+=)')
# What most fields are: a value, and at most one parameter without any oddity.
_TEXT = r"[!#-'*+\-.0-9A-Z^-~]++"
_USUAL = re.compile(
    rf"""({_TEXT}(?:/{_TEXT})?)(?:;\s*({_TEXT})=(?:"([^"\\]*+)"|({_TEXT})))?"""
)
_GAP = re.compile(r"[\s;,]*+")
_NAME = re.compile(r'([^\s=;"(),]++)\s*+(=?)\s*+')
_QUOTED = re.compile(
    r'"((?:[^"\\]++|\\.)*+)"(?=\s*+(?:[;(,]|\Z|[\w*-]++\s*+=))', re.DOTALL
)
_TOKEN = re.compile(r'[^\s;"()]++(?=\s*+(?:[;(]|\Z|[\w*-]++\s*+=))')
_UP_TO_SEMICOLON = re.compile(r"[^;]*+")
_ESCAPED = re.compile(r'\\(["\\])')
_COMMENT_AT_END = re.compile(r"\s\([^()]*\)\Z")
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)
_SECTION = re.compile(r"([^*]+)\*(?:(\d{1,3})(\*)?)?\Z")


def split_parameters(value: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The value before the first semicolon, and the parameters as they stand, unquoted.

    Names are in lower case; RFC 2231's sections and RFC 2047's words are left as they
    are.
    """
    usual = _USUAL.fullmatch(value)
    if usual is not None:
        head, name, quoted, token = usual.groups()
        text = token if quoted is None else quoted
        return head, () if name is None else ((name.lower(), text),)
    match = _HEAD.match(value)
    head = "" if match is None else match[1]
    at = 0 if match is None else match.end()
    parameters: list[tuple[str, str]] = []
    while at < len(value) and len(parameters) < MAX_PARAMETERS:
        at = _gap_end(value, at)
        found = _NAME.match(value, at)
        if found is None:
            at += 1
        elif not found[2]:
            at = found.end()
        else:
            text, at = _parameter_value(value, found.end())
            parameters.append((found[1].lower(), text))
    return "".join(head.split()), tuple(parameters)


def _gap_end(value: str, at: int) -> int:
    """Past semicolons, white space and comments."""
    while at < len(value):
        gap = _GAP.match(value, at)
        at = at if gap is None else gap.end()
        if not value.startswith("(", at):
            break
        at = comment_end(value, at)
    return at


def comment_end(value: str, at: int) -> int:
    """Past the comment that opens at this position, or at the end if none closes it."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(value, at):
        if mark[0] == "(":
            depth += 1
        elif mark[0] == ")":
            depth -= 1
            if depth == 0:
                return mark.end()
    return len(value)


def _parameter_value(value: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(value, at)
    if quoted is not None:
        # Only these two: C:\temp\a.txt comes unescaped from real mailers.
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    token = _TOKEN.match(value, at)
    if token is not None:
        return token[0], token.end()
    # Neither: blanks without quotes, or quotes within quotes.
    rest = _UP_TO_SEMICOLON.match(value, at)
    end = at if rest is None else rest.end()
    text = _COMMENT_AT_END.sub("", value[at:end]).strip()
    if text.startswith('"'):
        text = text.removeprefix('"').removesuffix('"')
    return text, end


def parse_parameters(value: bytes | str) -> tuple[str, dict[str, str]]:
    """The value in lower case, and its parameters, decoded (RFC 2045, 5.1; RFC 2231).

    Names are in lower case; the first of a name wins, but name* (RFC 2231) over name.
    """
    if isinstance(value, bytes):
        value = decode(unfold(value), "utf-8")[0]
    head, pairs = split_parameters(value)
    parameters: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    for name, text in pairs:
        section = _SECTION.match(name) if "*" in name else None
        if section is None:
            parameters.setdefault(name, decode_words(text))
        else:
            number, starred = (
                int(section[2] or 0),
                section[2] is None or bool(section[3]),
            )
            sections.setdefault(section[1], {}).setdefault(number, (text, starred))
    for name, pieces in sections.items():
        parameters[name] = _sections_read([pieces[number] for number in sorted(pieces)])
    return head.lower(), parameters


def _sections_read(pieces: list[tuple[str, bool]]) -> str:
    """The pieces of one parameter joined (RFC 2231, 3), then decoded (4)."""
    if not any(starred for _, starred in pieces):
        return decode_words("".join(text for text, _ in pieces))
    charset = "utf-8"
    first, starred = pieces[0]
    if starred and first.count("'") >= 2:
        label, _, first = first.split("'", 2)
        charset, pieces = label or charset, [(first, starred), *pieces[1:]]
    octets = b"".join(
        unquote_to_bytes(text) if starred else text.encode("utf-8", "replace")
        for text, starred in pieces
    )
    return one_line(decode(octets, charset)[0])
