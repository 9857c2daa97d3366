"""The lenient reader of address fields (RFC 5322, 3.4, and its obsolete forms, 4.4).

It goes over the tokens of the field once, and gathers those of one entry until a comma,
a semicolon or another bracket ends it. Quotes, comments and brackets that never close
are taken for what they look like, and are not looked for again: time is linear.
"""

import re

from attrs import frozen

from noinfra.mail.charset import storable
from noinfra.mail.mailbox import (
    DOT_STRING,
    QUOTED_PAIR,
    QUOTED_STRING,
    UNSAFE,
    Address,
    Group,
    Mailbox,
)
from noinfra.mail.words import decode_words

_TOKEN = re.compile(
    r"""
      (?P<blank>[\s\x00-\x1f\x7f]++)
    | (?P<word>=\?[^?\s]{1,100}\?[BbQq]\?[^?\s]*+\?=)
    | (?P<atom>[^\s\x00-\x1f\x7f"(),:;<>@\[\]\\]++)
    | (?P<literal>\[[^\[\]\\\s]{1,255}\])
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# One entry as nearly all are written: a@b, <a@b>, Name <a@b> or "Name" <a@b>. In an
# address no "?" is taken, and after a bare name a blank is wanted, so that no encoded
# word (which may hold any mark but blanks) can reach out of the name.
_ATOM = r"[!#-'*+\-./0-9=A-Z^-~]++"
_USUAL = re.compile(
    rf"""
    (?: (?: "([ !#-\[\]-~]*+)"[ ]? | ((?:[!#-'*+\-./0-9=?A-Z^-~]++[ ])*+) )
        <({_ATOM})@({_ATOM})>
      | ({_ATOM})@({_ATOM})
    )
    (?:,[ ]?|\Z)
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_COMMENT_PART = re.compile(r"[^()\\]++|\\.|[()]|\\", re.DOTALL)


@frozen
class _Token:
    """A piece of an entry: an atom, (encoded) word, quoted, literal, or a mark."""

    kind: str
    text: str
    at: int
    glued: bool  # no blank or comment stands before it


def read_usual(value: str, *, decode: bool) -> tuple[Mailbox, ...] | None:
    """What a Reader would make of a list whose entries are all of the usual forms.

    None where one is not; it takes a tenth of the time.
    """
    entries: list[Mailbox] = []
    at, end = 0, len(value)
    while at < end:
        match = _USUAL.match(value, at)
        if match is None:
            return None
        quoted, name, local, domain, bare_local, bare_domain = match.groups()
        name = (quoted or name or "").strip(" ")
        if decode and "=?" in name:
            name = decode_words(name).strip()
        address = Address(local=local or bare_local, domain=domain or bare_domain)
        entries.append(Mailbox(name=name, address=address))
        at = match.end()
    return tuple(entries)


class Reader:
    """Reads one address list, from left to right."""

    def __init__(self, value: str, *, decode: bool) -> None:
        self._value = storable(value) if decode else value
        self._decode = decode
        self._at = 0
        self._quotes_close = self._comments_close = True
        self._glued = False
        self._entries: list[Mailbox | Group] = []
        self._group: tuple[str, int] | None = None  # its name, and its first entry
        self._tokens: list[_Token] = []
        self._comments: list[str] = []
        self._angle: list[_Token] | None = None
        self._in_angle = False
        self._after: list[_Token] = []  # what follows the closing bracket
        self._last_at: int | None = None  # in self._tokens
        self._surname = ""  # of Doe, John <john@example.com>
        self.junk: int | None = None

    def entries(self) -> tuple[Mailbox | Group, ...]:
        """The whole list; to be called once."""
        while (token := self._next()) is not None:
            if token.kind == "mark":
                self._mark(token)
            else:
                self._add(token)
        if self._in_angle or self._group is not None:
            self._note_junk(len(self._value))
        self._flush(last=True)
        return tuple(self._entries)

    def _note_junk(self, at: int) -> None:
        if self.junk is None:
            self.junk = at

    def _add(self, token: _Token) -> None:
        if self._in_angle and self._angle is not None:
            self._angle.append(token)
        elif self._angle is not None:
            self._note_junk(token.at)
            self._after.append(token)
        else:
            self._tokens.append(token)

    def _add_at(self, token: _Token) -> None:
        """Add an @; the second one of bare words begins another address."""
        bare = self._angle is None
        if bare and self._last_at is not None:
            first = len(self._tokens) - 1
            lowest = self._last_at + 1
            while first > lowest and _joined(*self._tokens[first - 1 : first + 1]):
                first -= 1
            if first > lowest:
                self._note_junk(self._tokens[first].at)
                following = self._tokens[first:]
                del self._tokens[first:]
                self._flush()
                self._tokens = following
        if bare:
            self._last_at = len(self._tokens)
        self._add(token)

    def _next(self) -> _Token | None:
        """The next token; blanks and comments are stepped over."""
        while self._at < len(self._value):
            start = self._at
            match = _TOKEN.match(self._value, start)
            if match is None or match.lastgroup is None:  # the pattern matches anything
                return None
            self._at = match.end()
            kind, text = match.lastgroup, match[0]
            if kind == "blank" or (text == "(" and self._comment(start)):
                self._glued = False
                continue
            if text == '"':
                quoted = (
                    _QUOTED.match(self._value, start) if self._quotes_close else None
                )
                if quoted is None:  # stands alone: then so does each one after it
                    self._quotes_close = False
                    self._note_junk(start)
                    continue
                self._at = quoted.end()
                kind, text = "quoted", QUOTED_PAIR.sub(r"\1", quoted[1])
            glued, self._glued = self._glued, True
            return _Token(kind, text, start, glued)
        return None

    def _comment(self, start: int) -> bool:
        """Step over the comment here (RFC 5322, 3.2.2); False if it never closes."""
        if not self._comments_close:
            return False
        depth = 0
        inner: list[str] = []
        for part in _COMMENT_PART.finditer(self._value, start):
            depth += (part[0] == "(") - (part[0] == ")")
            if depth == 0:
                self._comments.append("".join(inner[1:]).strip())
                self._at = part.end()
                return True
            inner.append(QUOTED_PAIR.sub(r"\1", part[0]))
        self._comments_close = False
        self._note_junk(start)
        return False

    def _mark(self, token: _Token) -> None:
        mark = token.text
        if mark == "<":
            self._open_angle(token)
        elif mark == ">" and self._in_angle:
            self._in_angle = False
        elif mark == "@":
            self._add_at(token)
        elif mark == "," and not (self._in_angle and _is_route(self._angle)):
            self._flush()
        elif mark == ":" and self._in_angle and _is_route(self._angle):
            self._angle = []
        elif mark == ":" and not self._in_angle and self._group is None:
            self._open_group(token)
        elif mark == ";":
            self._flush()
            self._close_group(token)
        else:
            self._note_junk(token.at)
            if not self._in_angle and mark in ":[]()":
                self._add(_Token("atom", mark, token.at, token.glued))

    def _open_angle(self, token: _Token) -> None:
        if self._angle is not None:
            self._note_junk(token.at)
            if self._angle and not _is_route(self._angle):
                # A comma is missing: what followed the last bracket is the next name.
                following, self._after = self._after, []
                self._flush()
                self._tokens = following
        self._angle, self._in_angle = [], True

    def _open_group(self, token: _Token) -> None:
        if _has_at(self._tokens) or self._angle is not None:
            self._note_junk(token.at)
            self._flush()
            return
        self._group = (self._text(self._tokens), len(self._entries))
        self._tokens, self._comments = [], []

    def _close_group(self, token: _Token) -> None:
        if self._group is None:
            self._note_junk(token.at)  # some clients put ; where , belongs
            return
        name, first = self._group
        members = tuple(e for e in self._entries[first:] if isinstance(e, Mailbox))
        self._entries[first:] = [Group(name=name, mailboxes=members)]
        self._group = None

    def _flush(self, *, last: bool = False) -> None:
        """End the entry: make a mailbox of what was gathered."""
        tokens, comments, angle = self._tokens, self._comments, self._angle
        after = self._after
        self._tokens, self._comments, self._after = [], [], []
        self._angle, self._last_at, self._in_angle = None, None, False
        if _has_at(after):
            self._finish(tokens, comments, angle, last=False)
            tokens, comments, angle = after, [], None
        elif not tokens:
            tokens = after
        self._finish(tokens, comments, angle, last=last)

    def _finish(
        self,
        tokens: list[_Token],
        comments: list[str],
        angle: list[_Token] | None,
        *,
        last: bool,
    ) -> None:
        if angle is not None and (angle or not tokens or _has_at(tokens)):
            if not angle and _has_at(tokens):
                tokens, angle = _split_bare(tokens)
            name = self._text(tokens)
        elif _has_at(tokens):
            tokens, angle = _split_bare(tokens)
            if tokens:
                self._note_junk(tokens[0].at)
            name = self._text(tokens)
        elif tokens or (comments and self._group is None):
            self._flush_without_address(
                tokens, comments, bracketed=angle is not None, last=last
            )
            return
        else:
            return
        if self._surname:
            name = f"{self._surname}, {name}" if name else self._emit_surname()
        self._surname = ""
        unsound = self._unsound(angle)
        if unsound is not None:
            self._note_junk(unsound)
        local, domain = _addr_spec(angle)
        if not (name or local or domain or comments):
            return
        self._emit(
            name or self._comment_text(comments), Address(local=local, domain=domain)
        )

    def _unsound(self, spec: list[_Token]) -> int | None:
        """Where an address departs from local@domain without blanks; else None."""
        at = [n for n, token in enumerate(spec) if token.kind == "mark"]
        if len(at) != 1:
            return spec[0].at if spec else self._at
        local, domain = spec[: at[0]], spec[at[0] + 1 :]
        sound = (
            len(local) == 1
            and len(domain) == 1
            and domain[0].kind in ("atom", "literal")
            and all(token.glued for token in spec[1:])
            and (
                QUOTED_STRING.match(self._value, local[0].at) is not None
                if local[0].kind == "quoted"
                else DOT_STRING.match(local[0].text) is not None
            )
        )
        return None if sound else spec[0].at

    def _flush_without_address(
        self,
        tokens: list[_Token],
        comments: list[str],
        *,
        bracketed: bool,
        last: bool,
    ) -> None:
        """A lone word is a local part; several are a name, or half of one."""
        text = self._text(tokens)
        bare = len(tokens) == 1 and tokens[0].kind == "atom" and not bracketed
        if self._surname:
            self._emit_surname()
        if tokens and not (comments or last) and self._name_follows():
            self._surname = text
        elif bare:
            self._emit(self._comment_text(comments), Address(local=text, domain=""))
        else:
            self._emit(text or self._comment_text(comments), _NOWHERE)

    def _name_follows(self) -> bool:
        """Whether a name with an angle address comes next."""
        return _NEXT_NAMED.match(self._value, self._at) is not None

    def _emit_surname(self) -> str:
        surname, self._surname = self._surname, ""
        if surname:
            self._emit(surname, _NOWHERE)
        return ""

    def _emit(self, name: str, address: Address) -> None:
        self._entries.append(Mailbox(name=name, address=address))

    def _comment_text(self, comments: list[str]) -> str:
        return self._shown(" ".join(filter(None, comments)))

    def _text(self, tokens: list[_Token]) -> str:
        """The tokens as a phrase, blanks where there were any."""
        parts: list[str] = []
        for token in tokens:
            if parts and not token.glued:
                parts.append(" ")
            parts.append(token.text)
        return self._shown("".join(parts))

    def _shown(self, text: str) -> str:
        text = UNSAFE.sub(" ", text)
        return (decode_words(text) if self._decode else text).strip()


_NOWHERE = Address(local="", domain="")
_NEXT_NAMED = re.compile(r"\s*+[^\s<>,;:@\"][^<>,;:@\"]{0,200}<[^<>,;]{0,320}@")


def _has_at(tokens: list[_Token]) -> bool:
    return any(token.text == "@" and token.kind == "mark" for token in tokens)


def _is_route(angle: list[_Token] | None) -> bool:
    """Whether an obsolete route <@a,@b:c@d> is being read (RFC 5322, 4.4)."""
    return bool(angle) and angle is not None and angle[0].kind == "mark"


def _split_bare(tokens: list[_Token]) -> tuple[list[_Token], list[_Token]]:
    """The words about an address that has no brackets, and the address."""
    at = max(n for n, token in enumerate(tokens) if token.text == "@")
    first = at - 1 if at else at
    while first > 0 and _joined(tokens[first - 1], tokens[first]):
        first -= 1
    last = at + 1
    while last + 1 < len(tokens) and _joined(tokens[last], tokens[last + 1]):
        last += 1
    return tokens[:first] + tokens[last + 1 :], tokens[first : last + 1]


def _joined(left: _Token, right: _Token) -> bool:
    """Whether two tokens are of one address: no blank between them, or a dot (4.4)."""
    return right.glued or right.text.startswith(".") or left.text.endswith(".")


def _addr_spec(tokens: list[_Token]) -> tuple[str, str]:
    """The local part and domain; the last @ divides them."""
    at = [
        n for n, token in enumerate(tokens) if (token.kind, token.text) == ("mark", "@")
    ]
    if not at:
        text = "".join(token.text for token in tokens)
        if tokens and tokens[0].kind == "quoted" and "@" in text:
            # <"a@b.example">: quoted whole, by mailers that do not know better.
            local, _, domain = text.rpartition("@")
            return _clean(local), _clean(domain)
        return _clean(text), ""
    local = "".join(token.text for token in tokens[: at[-1]])
    domain = "".join(token.text for token in tokens[at[-1] + 1 :])
    return _clean(local), _clean(domain)


def _clean(text: str) -> str:
    return UNSAFE.sub("", text).strip()
