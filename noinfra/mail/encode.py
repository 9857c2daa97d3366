"""Header fields as they go out: encoded words, parameters, folding.

1. What comes in is refused where it holds a control character, so no value can end a
   field and begin another (CRLF injection); the error names the field.
2. A field is built of words that a line may break between, each led by its own blanks;
   `fold` alone makes lines. They have at most 76 octets wherever a word allows it, and
   998 always (RFC 5322, 2.1.1).
3. A header is ASCII, with encoded words (RFC 2047) and RFC 2231 parameters, unless an
   internationalised address forces it to be UTF-8 (RFC 6532): then `utf8` is set.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

from noinfra.mail.address import Address, AddressError, Mailbox, quoted

#: The preferred length of a line, the one for encoded words (RFC 2047, 2), and the
#: greatest length (RFC 5322, 2.1.1), all without the line's end.
LINE: Final = 76
MAX_LINE: Final = 998
#: The longest unstructured field; other servers refuse much less.
MAX_TEXT: Final = 32 * 1024
#: The most text that one word of a line may hold before it is encoded instead.
_LONG_WORD: Final = 900

# C0, DEL, C1, and the separators at which some software ends a line.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")
# Without * ' and %, which are legal but which some take for RFC 2231.
_TOKEN = re.compile(r"[!#$&+\-.0-9A-Z^_`a-z{|}~]+")
_ATOMS = re.compile(
    r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?: [A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*"
)
_DOT_ATOM = re.compile(
    r"[^\s\x00-\x20()<>\[\]:;@\\,.\"\x7f]+(?:\.[^\s\x00-\x20()<>\[\]:;@\\,.\"\x7f]+)*"
)
_WORDS = re.compile(r"[ \t]*[^ \t]+")
_BEFORE_ENCODED = re.compile(r"(?= =\?)")
# RFC 2047, section 5 (3): what a Q word may hold as it is, even within a phrase.
_Q_SAFE: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)
#: Octets in an encoded word, without "=?utf-8?b?" and "?="; RFC 2047 allows 63, but
#: this leaves room for a field's name on the same line.
_ENCODED_ROOM: Final = 48
_CHUNK_2231: Final = 54


class ComposeError(ValueError):
    """A value cannot stand where it was to be put in a message."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


def check_text(field: str, text: str) -> str:
    """Return the text unless it holds control characters (a tab is none here)."""
    if found := _CONTROLS.search(text):
        raise ComposeError(
            field, f"holds the character {found[0]!a}; remove line ends and controls"
        )
    return text


def check_field_name(field: str, name: str) -> str:
    """Return a field's name if it is one (RFC 5322, 3.6.8)."""
    if not _FIELD_NAME.fullmatch(name):
        raise ComposeError(
            field, f"{name[:80]!a} is no header name: use letters, digits and hyphens"
        )
    return name


def neutral(text: str) -> str:
    """Text that others wrote, on one line: blanks and controls become single spaces."""
    return _BLANK.sub(" ", text).strip()


def fold(name: str, words: Iterable[str]) -> bytes:
    """A field with its line end, broken between words where a line would be too long.

    Each word but the first brings the blanks before it. A line never consists of
    blanks alone (RFC 5322, 3.2.2).
    """
    lines: list[str] = []
    line = f"{name}:"
    for number, word in enumerate(words):
        spaced = f" {word}" if number == 0 else word
        # The name stays in company, as some parsers take "Name:" CRLF for an empty
        # field; but an encoded word may not stand on a longer line (RFC 2047, 2).
        breakable = word.startswith("=?") if number == 0 else word[0] in " \t"
        if breakable and _octets(line) + _octets(spaced) > LINE:
            lines.append(line)
            line = spaced
        else:
            line += spaced
    lines.append(line)
    if any(_octets(one) > MAX_LINE for one in lines):
        raise ComposeError(name, "has a word too long for a line; shorten it")
    return "".join(f"{one}\r\n" for one in lines).encode("utf-8")


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def text_field(name: str, text: str, *, utf8: bool = False) -> bytes:
    """An unstructured field, such as Subject or one of a caller's own."""
    if len(text) > MAX_TEXT:
        raise ComposeError(name, f"is longer than {MAX_TEXT} characters; shorten it")
    return fold(name, text_words(check_text(name, text), utf8=utf8))


def text_words(text: str, *, utf8: bool = False) -> list[str]:
    """The words of an unstructured field; what needs it becomes encoded words.

    Encoded is all from the first word that needs it to the last, since the blanks
    between encoded words do not count (RFC 2047, 6.2).
    """
    if text != text.strip(" \t"):
        # Blanks at the ends would be lost, so that they are encoded too.
        return _spaced(encoded_words(text))
    words = _WORDS.findall(text)
    needy = [number for number, word in enumerate(words) if _needs_encoding(word, utf8)]
    if not needy:
        return words
    first, last = needy[0], needy[-1] + 1
    middle = "".join(words[first:last])
    blanks = middle[: len(middle) - len(middle.lstrip(" \t"))]
    encoded = _spaced(encoded_words(middle.lstrip(" \t")))
    return [*words[:first], blanks + encoded[0], *encoded[1:], *words[last:]]


def _needs_encoding(word: str, utf8: bool) -> bool:
    bare = word.lstrip(" \t")
    # What looks like an encoded word would be decoded; a run of blanks might be cut.
    return not (utf8 or bare.isascii()) or "=?" in bare or _octets(word) > _LONG_WORD


def _spaced(words: list[str]) -> list[str]:
    """Words that a single space goes before, but for the first."""
    return words[:1] + [f" {word}" for word in words[1:]]


def encoded_words(text: str) -> list[str]:
    """Text as encoded words of whole characters (RFC 2047, 2).

    Q where it is not much longer, as for most European text, since people can read it;
    else B. The alphabet of Q is the one for phrases, so the words may stand anywhere.
    """
    octets = text.encode("utf-8")
    quoted = len(octets) + 2 * sum(one not in _Q_SAFE and one != 32 for one in octets)
    use_q = quoted <= len(octets) * 16 // 9
    return [
        f"=?utf-8?q?{_q(piece)}?=" if use_q else f"=?utf-8?b?{_b(piece)}?="
        for piece in _pieces(text, use_q)
    ]


def _pieces(text: str, use_q: bool) -> Iterator[bytes]:
    """Cut text into runs of whole characters, each of which fits an encoded word."""
    piece, size = bytearray(), 0
    for character in text:
        octets = character.encode("utf-8")
        cost = len(_q(octets)) if use_q else len(octets)
        if size + cost > (_ENCODED_ROOM if use_q else _ENCODED_ROOM // 4 * 3):
            yield bytes(piece)
            piece, size = bytearray(), 0
        piece += octets
        size += cost
    yield bytes(piece)


def _q(octets: bytes) -> str:
    return "".join(
        chr(one) if one in _Q_SAFE else "_" if one == 32 else f"={one:02X}"
        for one in octets
    )


def _b(octets: bytes) -> str:
    return b64encode(octets).decode("ascii")


def phrase_words(field: str, name: str, *, utf8: bool = False) -> list[str]:
    """A display name: atoms, a quoted string, or encoded words (RFC 5322, 3.2.5)."""
    check_text(field, name)
    if "=?" not in name and len(name) <= LINE - 20:
        if _ATOMS.fullmatch(name):
            return _WORDS.findall(name)
        if (name.isascii() or utf8) and "\t" not in name:
            return [quoted(name)]
    return _spaced(encoded_words(name))


def addr_spec(field: str, address: Address) -> str:
    """An address as a header has it; its domain in A-labels where that will do."""
    local = check_text(field, address.local)
    if not _DOT_ATOM.fullmatch(local):
        local = quoted(local)
    try:
        ascii_domain = address.ascii_domain
    except AddressError as error:
        raise ComposeError(field, f"has a wrong address: {error}") from error
    keep = address.domain.isascii() or not local.isascii()
    return f"{local}@{address.domain if keep else ascii_domain}"


def mailbox_words(field: str, mailbox: Mailbox, *, utf8: bool = False) -> list[str]:
    """A mailbox with its name, if it has one (RFC 5322, 3.4)."""
    address = addr_spec(field, mailbox.address)
    if not mailbox.name:
        return [address]
    return [*phrase_words(field, mailbox.name, utf8=utf8), f" <{address}>"]


def mailboxes_field(
    name: str, mailboxes: Iterable[Mailbox], *, utf8: bool = False
) -> bytes:
    """A field that lists mailboxes, such as To."""
    words: list[str] = []
    for mailbox in mailboxes:
        first, *others = mailbox_words(name, mailbox, utf8=utf8)
        if words:
            words[-1] += ","
            first = f" {first}"
        words += [first, *others]
    return fold(name, words)


def ids_field(name: str, ids: Iterable[str]) -> bytes:
    """A field of message identifiers, which come without their angle brackets."""
    return fold(name, _spaced([f"<{check_text(name, one)}>" for one in ids]))


def parameter_words(field: str, name: str, value: str) -> list[str]:
    """A MIME parameter as words, each to follow a semicolon (RFC 2045, 5.1; RFC 2231).

    A short ASCII value is a token or a quoted string. Any other is percent-encoded
    UTF-8 in numbered pieces, which are never longer than a line.
    """
    check_text(field, value)
    if value.isascii() and len(value) <= LINE - 18 - len(name):
        return [f"{name}={value if _TOKEN.fullmatch(value) else quoted(value)}"]
    # RFC 2231, 7: attribute-char is a token's without * ' and %.
    encoded = quote(value, safe="!#$&+-.^_`{|}~")
    pieces = list(_percent_pieces(encoded))
    if len(pieces) == 1:
        return [f"{name}*=utf-8''{encoded}"]
    pieces[0] = f"utf-8''{pieces[0]}"
    return [f"{name}*{number}*={piece}" for number, piece in enumerate(pieces)]


def _percent_pieces(encoded: str) -> Iterator[str]:
    """Cut percent-encoded text without cutting a triplet."""
    start = 0
    while len(encoded) - start > _CHUNK_2231:
        cut = start + _CHUNK_2231
        triplet = encoded.rfind("%", cut - 2, cut)
        cut = triplet if triplet >= 0 else cut
        yield encoded[start:cut]
        start = cut
    yield encoded[start:]


def parameters_field(
    field: str, value: str, parameters: Iterable[Iterable[str]]
) -> bytes:
    """A MIME field: a value, then parameters as made by `parameter_words`."""
    words = [value, *(f" {word}" for words in parameters for word in words)]
    ended = [*(f"{word};" for word in words[:-1]), words[-1]]
    # Encoded words within quotes, which strictly may not stand there, are broken too.
    return fold(field, [one for word in ended for one in _BEFORE_ENCODED.split(word)])
