"""Mail addresses as values, and the strict reading of paths (RFC 5321, 4.1.2; 6531)."""

import re
import unicodedata
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import idna
from attrs import evolve, frozen

# RFC 5321, 4.5.3.1
MAX_LOCAL_OCTETS = 64
MAX_DOMAIN_OCTETS = 255
MAX_LABEL_OCTETS = 63

# RFC 5322, 3.2.3, and RFC 6531, 3.3: beyond ASCII everything but controls and blanks.
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_UTF8 = r"\u00a1-\ud7ff\ue000-\U0010ffff"
DOT_STRING = re.compile(rf"[{_ATEXT}{_UTF8}]+(?:\.[{_ATEXT}{_UTF8}]+)*+\Z")
_ATOM = re.compile(rf"[{_ATEXT}{_UTF8}.]*+")
# RFC 5321, 4.1.2: qtextSMTP and quoted-pairSMTP, printable only.
QUOTED_STRING = re.compile(rf'"((?:[ !#-\[\]-~{_UTF8}]++|\\[ -~])*+)"')
QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
# Hosts have letters, digits and hyphens; an underscore is seen in real ones.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\Z")
_SOURCE_ROUTE = re.compile(r"@[^@,:\s]{1,255}(?:,@[^@,:\s]{1,255})*+:")
UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


class AddressError(ValueError):
    """Text that is no address; says what is wrong, and at which character."""


@frozen(kw_only=True)
class Address:
    """One addr-spec; local is without quotes, domain is as it was written.

    A domain literal keeps its brackets. In lenient reading domain may be empty
    ("root").
    """

    local: str
    domain: str

    def __str__(self) -> str:
        """The addr-spec, its local part quoted where it must be (RFC 5321, 4.1.2)."""
        local = self.local
        if DOT_STRING.match(local) is None and (local or self.domain):
            local = quoted(local)
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def ascii_domain(self) -> str:
        """The domain as DNS has it: A-labels, in lower case (RFC 5890; UTS 46)."""
        return _ascii_domain(self.domain)

    @property
    def canonical(self) -> str:
        """What two spellings of one address have in common, for look-up."""
        return f"{unicodedata.normalize('NFC', self.local).lower()}@{self.ascii_domain}"

    @property
    def tag(self) -> str | None:
        """The subaddress, "news" in me+news@example.com (RFC 5233); else None."""
        name, plus, tag = self.local.partition("+")
        return tag if name and plus else None

    @property
    def base(self) -> "Address":
        """The address without its tag."""
        name = self.local.partition("+")[0]
        return evolve(self, local=name) if self.tag is not None else self

    @property
    def is_ascii(self) -> bool:
        """Whether it can be sent as it is to a host without SMTPUTF8 (RFC 6531)."""
        return self.local.isascii() and self.domain.isascii()


@frozen(kw_only=True)
class Mailbox:
    """An address, and the name that is shown for it, decoded; empty if none is."""

    name: str
    address: Address

    def __str__(self) -> str:
        """The form of a header field (RFC 5322, 3.4), not encoded."""
        if not self.name:
            return str(self.address)
        return f"{phrase(self.name)} <{self.address}>"


@frozen(kw_only=True)
class Group:
    """A named list of mailboxes (RFC 5322, 3.4), such as undisclosed-recipients:;."""

    name: str
    mailboxes: tuple[Mailbox, ...]

    def __str__(self) -> str:
        return f"{phrase(self.name)}: {', '.join(map(str, self.mailboxes))};"


_PHRASE = re.compile(rf"[{_ATEXT}{_UTF8}]+(?: [{_ATEXT}{_UTF8}]+)*+\Z")


def quoted(text: str) -> str:
    """The text as a quoted-string (RFC 5322, 3.2.4), on one line."""
    escaped = UNSAFE.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def phrase(name: str) -> str:
    """The name as a phrase: bare where it may be, else quoted."""
    # Words in quotes are never decoded (RFC 2047, 5): so a name stays what it says.
    return name if _PHRASE.match(name) and "=?" not in name else quoted(name)


def parse_path(text: str, *, smtputf8: bool = True) -> Address:
    """The Mailbox of a forward-path, without its angle brackets (RFC 5321, 4.1.2).

    A source route is dropped (RFC 5321, appendix C).

    :raises AddressError: it is not one; or, without smtputf8, not in ASCII.
    """
    route = _SOURCE_ROUTE.match(text)
    start = 0 if route is None else route.end()
    local, at = _strict_local(text, start)
    if not text.startswith("@", at):
        where = f"at position {at + 1}" if at < len(text) else "at the end"
        raise AddressError(
            f'An "@" and a domain are missing {where} of "{text[:300]}".'
        )
    domain = text[at + 1 :]
    try:
        _ascii_domain(domain)
    except AddressError as error:
        raise AddressError(f"{error} (from position {at + 2})") from None
    address = Address(local=local, domain=domain)
    if not (smtputf8 or address.is_ascii):
        raise AddressError(f'"{text}" is not in ASCII, and SMTPUTF8 was not asked for.')
    return address


def parse_reverse_path(text: str) -> Address | None:
    """The sender's Mailbox, or None for the null path of bounces (RFC 5321, 4.5.5).

    :raises AddressError: it is neither.
    """
    return parse_path(text) if text else None


def _strict_local(text: str, start: int) -> tuple[str, int]:
    """The local part, and the position after it."""
    if text.startswith('"', start):
        match = QUOTED_STRING.match(text, start)
        if match is None:
            raise AddressError(
                f"The quotes that open at position {start + 1} do not close."
            )
        local, end = QUOTED_PAIR.sub(r"\1", match[1]), match.end()
    else:
        atom = _ATOM.match(text, start)
        end = start if atom is None else atom.end()
        local = text[start:end]
        _check_dots(local, start)
    # RFC 6531, 3.3: the limit counts octets of UTF-8.
    if len(text[start:end].encode()) > MAX_LOCAL_OCTETS:
        raise AddressError(
            f"What stands before the @ exceeds {MAX_LOCAL_OCTETS} octets."
        )
    return local, end


def _check_dots(local: str, start: int) -> None:
    if not local:
        raise AddressError(f'A name before the "@" is missing at position {start + 1}.')
    if DOT_STRING.match(local) is None:
        at = 0 if local[0] == "." else local.find("..")
        at = len(local) - 1 if at < 0 else at
        raise AddressError(f"A dot is out of place at position {start + at + 1}.")


def _ascii_domain(domain: str) -> str:
    if domain.startswith("["):
        return _address_literal(domain)
    if not domain or len(domain) > MAX_DOMAIN_OCTETS:
        raise AddressError(
            f"The domain is longer than {MAX_DOMAIN_OCTETS} octets."
            if domain
            else 'The domain after the "@" is missing.'
        )
    return _host_name(domain)


# Mail names the same few domains again and again; each name is short.
@lru_cache(maxsize=1024)
def _host_name(domain: str) -> str:
    name = domain.lower() if domain.isascii() else _a_labels(domain)
    for label in name.split("."):
        if len(label) > MAX_LABEL_OCTETS:
            raise AddressError(
                f'The label "{label}" exceeds {MAX_LABEL_OCTETS} octets.'
            )
        if _LABEL.match(label) is None:
            raise AddressError(f'"{label}" cannot be a part of the domain "{domain}".')
    if len(name) > MAX_DOMAIN_OCTETS:
        raise AddressError(f"The domain is longer than {MAX_DOMAIN_OCTETS} octets.")
    return name


def _a_labels(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise AddressError(
            f'The domain "{domain}" has no form in DNS: {error}.'
        ) from None


def _address_literal(domain: str) -> str:
    """RFC 5321, 4.1.3; the addresses are numbers, never names."""
    if not domain.endswith("]"):
        raise AddressError("The bracket of the domain literal does not close.")
    literal = domain[1:-1]
    try:
        if literal[:5].lower() == "ipv6:":
            if "%" in literal:
                raise AddressError(f"An IPv6 zone has no place in {domain}.")
            return f"[ipv6:{IPv6Address(literal[5:])}]"
        return f"[{IPv4Address(literal)}]"
    except AddressValueError:
        raise AddressError(f"{domain[:80]} holds no IPv4 or IPv6 address.") from None
