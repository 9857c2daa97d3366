"""Mail addresses: strict where they route mail, lenient where they are read.

parse_path and parse_mailbox refuse what RFC 5321, 4.1.2 does not allow, and say where.
parse_address_list never refuses: it reads what stands in the fields of real mail.
"""

from noinfra.mail.addresslist import Reader, read_usual
from noinfra.mail.mailbox import (
    UNSAFE,
    Address,
    AddressError,
    Group,
    Mailbox,
    parse_path,
    parse_reverse_path,
    phrase,
    quoted,
)

__all__ = [
    "Address",
    "AddressError",
    "Group",
    "Mailbox",
    "mailboxes",
    "parse_address_list",
    "parse_mailbox",
    "parse_path",
    "parse_reverse_path",
    "phrase",
    "quoted",
]

#: RFC 5322, 2.1.1: what fits on a line.
MAX_MAILBOX = 998


def parse_mailbox(text: str) -> Mailbox:
    """One mailbox as people type it: a@b, Name <a@b>, "Name, X" <a@b>, a@b (Name).

    :raises AddressError: it is not exactly one sound mailbox.
    """
    if len(text) > MAX_MAILBOX:
        raise AddressError(f"A mailbox has at most {MAX_MAILBOX} characters.")
    unsafe = UNSAFE.search(text)
    if unsafe is not None:
        raise AddressError(
            f"A control character stands at position {unsafe.start() + 1}."
        )
    reader = Reader(text, decode=True)
    entries = reader.entries()
    if len(entries) != 1 or not isinstance(entries[0], Mailbox):
        raise AddressError(
            f'"{text[:300]}" is not one mailbox, such as Name <a@b.example>.'
        )
    if reader.junk is not None:
        raise AddressError(f"What stands at position {reader.junk + 1} cannot be read.")
    mailbox = entries[0]
    if not mailbox.address.domain:
        raise AddressError(f'"{text[:300]}" lacks an "@" and a domain at its end.')
    parse_path(str(mailbox.address))
    return mailbox


def parse_address_list(
    value: str, *, decode: bool = True
) -> tuple[Mailbox | Group, ...]:
    """The mailboxes and groups of a field, as far as they can be made out.

    An entry that holds no address has an empty local part and domain, and what it says
    as its name. With decode=False encoded words stay, as IMAP's ENVELOPE wants them.
    """
    usual = read_usual(value, decode=decode)
    return Reader(value, decode=decode).entries() if usual is None else usual


def mailboxes(value: str) -> tuple[Mailbox, ...]:
    """All mailboxes of a field that hold an address, those of groups too."""
    found: list[Mailbox] = []
    for entry in parse_address_list(value):
        found += entry.mailboxes if isinstance(entry, Group) else (entry,)
    return tuple(mailbox for mailbox in found if mailbox.address.local)
