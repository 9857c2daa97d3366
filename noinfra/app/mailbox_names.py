"""Names of folders: what they may be, and which are the inbox's own."""

from __future__ import annotations

import unicodedata

from noinfra.errors import Forbidden, Invalid, NotFound
from noinfra.store.inboxes import FOLDERS

INBOX = "INBOX"
# In octets of UTF-8, as clients make files and directories of them.
_LONGEST = 250
_DEEPEST = 20


def canonical(name: str) -> str:
    """The name as it is stored: INBOX in any case, and in NFC (RFC 9051, 5.1)."""
    first, slash, rest = unicodedata.normalize("NFC", name).partition("/")
    return (INBOX if first.upper() == INBOX else first) + slash + rest


def new_name(name: str) -> str:
    """The canonical form of a name that a folder is to get.

    :raises Invalid: no folder may have it.
    """
    # RFC 3501, 6.3.3: a trailing separator only says that others will follow below.
    name = canonical(name.removesuffix("/"))
    parts = name.split("/")
    if not all(parts) or len(parts) > _DEEPEST:
        raise Invalid("A folder's name has one to twenty parts, with / between them.")
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST:
        raise Invalid(f"A folder's name has at most {_LONGEST} octets of UTF-8.")
    if any(unicodedata.category(character) in _UNFIT for character in name):
        raise Invalid("A folder's name has no control characters.")
    if "%" in name or "*" in name:
        raise Invalid("A folder's name has no % and no *: they mean any name.")
    return name


_UNFIT = frozenset(("Cc", "Cs", "Zl", "Zp"))


def parents(name: str) -> list[str]:
    """The names above this one, from the top."""
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def require_own(name: str) -> None:
    """Pass for a folder that the user made.

    :raises Forbidden: the inbox came with it, and both sides of the server rely on it.
    """
    if name in FOLDERS:
        raise Forbidden(f"The folder {name} belongs to the inbox; it stays as it is.")


def no_folder(name: str) -> NotFound:
    """There is no folder of this name."""
    return NotFound(f"There is no folder {name}.")
