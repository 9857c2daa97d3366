"""A whole command, its literals in place, to its value (RFC 9051, 9: command)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import frozen

from noinfra.mail.imap.commands import (
    Authenticate,
    Compress,
    Copy,
    Enable,
    Expunge,
    GetQuota,
    Id,
    List,
    Login,
    OneMailbox,
    Plain,
    Qresync,
    Rename,
    Select,
    Status,
    Store,
)
from noinfra.mail.imap.fetch import scan_fetch
from noinfra.mail.imap.scanner import MAX_NUMBER64, ImapSyntaxError, Scanner
from noinfra.mail.imap.search import Place, scan_search, scan_sort, scan_thread
from noinfra.mail.imap.sets import SequenceSet, scan_set

MAX_CAPABILITIES = 50
MAX_PATTERNS = 50
# RFC 2971, 3.3.
MAX_ID = 30

STATUS_ITEMS = frozenset(
    (
        *(b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN", b"DELETED"),
        # RFC 8438; RFC 7162; RFC 7889; RFC 8474.
        *(b"SIZE", b"HIGHESTMODSEQ", b"APPENDLIMIT", b"MAILBOXID"),
    )
)
SELECTION = frozenset((b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE"))
RETURNING = frozenset((b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE"))


@frozen
class Head:
    """How a command begins: enough to answer it, whatever follows.

    :ivar verb: in capitals, UID together with the command behind it ("UID FETCH").
    """

    tag: bytes
    verb: str
    rest: bytes


def parse_head(octets: bytes) -> Head:
    """The tag and the verb of a command.

    :raises ImapSyntaxError: it has none.
    """
    scanner = Scanner(octets)
    tag = scanner.tag()
    scanner.space()
    verb = scanner.word("a command").decode("ascii")
    if verb == "UID":
        scanner.space()
        verb = f"UID {scanner.word('a command').decode('ascii')}"
    return Head(tag, verb, scanner.rest())


def tag_of(octets: bytes) -> bytes | None:
    """The tag, for an answer to what has no more sense than that."""
    try:
        return Scanner(octets).tag()
    except ImapSyntaxError:
        return None


def parse_arguments(head: Head, place: Place, *, utf8: bool = False) -> object:
    """The value of a command.

    :param place: what numbers mean in the selected mailbox; SEARCH has them anywhere.
    :param utf8: mailbox names are in UTF-8, as was enabled.
    :raises ImapSyntaxError: it is not of its syntax, or not known.
    :raises BadCharset: it searches in a character set that we do not know.
    """
    scanner = Scanner(head.rest, utf8=utf8)
    command: object
    if (scan := PARSERS.get(head.verb)) is not None:
        if scan is not plain:
            scanner.space()
        command = scan(scanner)
    elif (search := SEARCHES.get(head.verb)) is not None:
        scanner.space()
        command = search(scanner, place)
    else:
        raise ImapSyntaxError(f"There is no command {head.verb[:40]} here.")
    scanner.end()
    return command


def plain(scanner: Scanner) -> Plain:
    """Nothing."""
    return Plain()


def _login(scanner: Scanner) -> Login:
    user = scanner.astring("a user name")
    scanner.space()
    return Login(user=user, password=scanner.astring("a password"))


def _authenticate(scanner: Scanner) -> Authenticate:
    mechanism = scanner.atom("a SASL mechanism").upper()
    initial = scanner.atom("base64") if scanner.accept(b" ") else None
    return Authenticate(mechanism=mechanism, initial=initial)


def _enable(scanner: Scanner) -> Enable:
    names = [scanner.atom("a capability").upper()]
    while scanner.accept(b" "):
        names.append(scanner.atom("a capability").upper())
        if len(names) > MAX_CAPABILITIES:
            raise ImapSyntaxError("These are too many capabilities.")
    return Enable(capabilities=tuple(names))


def _id(scanner: Scanner) -> Id:
    if scanner.peek_word() == b"NIL":
        scanner.word()
        return Id(parameters=())

    def pair() -> tuple[bytes, bytes | None]:
        name = scanner.string("a field's name")
        scanner.space()
        return name, scanner.nstring()

    return Id(parameters=tuple(scanner.listed(pair, most=MAX_ID)))


def _select(scanner: Scanner, *, read_only: bool) -> Select:
    mailbox = scanner.mailbox()
    condstore, qresync = False, None

    def parameter() -> None:
        nonlocal condstore, qresync
        word = scanner.word("CONDSTORE or QRESYNC")
        if word == b"CONDSTORE":
            condstore = True
        elif word == b"QRESYNC":
            scanner.space()
            qresync = _qresync(scanner)
        else:
            raise ImapSyntaxError("SELECT knows the parameters CONDSTORE, QRESYNC.")

    if scanner.accept(b" "):
        scanner.listed(parameter, most=2, empty=False)
    return Select(
        mailbox=mailbox, read_only=read_only, condstore=condstore, qresync=qresync
    )


def _qresync(scanner: Scanner) -> Qresync:
    scanner.expect(b"(")
    uidvalidity = scanner.number(least=1)
    scanner.space()
    modseq = scanner.number(most=MAX_NUMBER64, least=1)
    known, match = None, None
    if scanner.accept(b" "):
        if not scanner.follows(b"("):
            known = _without_star(scan_set(scanner))
        if known is None or scanner.accept(b" "):
            match = _match(scanner)
    scanner.expect(b")")
    return Qresync(uidvalidity=uidvalidity, modseq=modseq, known=known, match=match)


def _match(scanner: Scanner) -> tuple[SequenceSet, SequenceSet]:
    scanner.expect(b"(")
    numbers = _without_star(scan_set(scanner))
    scanner.space()
    uids = _without_star(scan_set(scanner))
    scanner.expect(b")")
    return numbers, uids


def _without_star(numbers: SequenceSet) -> SequenceSet:
    # RFC 7162, 7: known-uids, known-sequence-set and known-uid-set have no "*".
    if numbers.saved or numbers.has_star:
        raise ImapSyntaxError("A set of what is known holds numbers only.")
    return numbers


def _one_mailbox(scanner: Scanner) -> OneMailbox:
    return OneMailbox(mailbox=scanner.mailbox())


def _rename(scanner: Scanner) -> Rename:
    old = scanner.mailbox()
    scanner.space()
    return Rename(old=old, new=scanner.mailbox())


def _lsub(scanner: Scanner) -> List:
    reference = scanner.mailbox()
    scanner.space()
    return List(reference=reference, patterns=(scanner.pattern(),))


def _list(scanner: Scanner) -> List:
    selecting: frozenset[bytes] = frozenset()
    extended = scanner.follows(b"(")
    if extended:
        words = scanner.listed(lambda: scanner.word("a selection option"), most=10)
        selecting = _known(words, SELECTION)
        scanner.space()
    reference = scanner.mailbox()
    scanner.space()
    if scanner.follows(b"("):
        extended = True
        patterns = scanner.listed(scanner.pattern, most=MAX_PATTERNS, empty=False)
    else:
        patterns = [scanner.pattern()]
    returning: frozenset[bytes] = frozenset()
    status: tuple[bytes, ...] = ()
    if scanner.accept(b" "):
        if scanner.word("RETURN") != b"RETURN":
            raise ImapSyntaxError("Behind the patterns LIST has RETURN (…) only.")
        scanner.space()
        extended = True
        returning, status = _return_options(scanner)
    if b"RECURSIVEMATCH" in selecting and not selecting & {
        b"SUBSCRIBED",
        b"SPECIAL-USE",
    }:
        # RFC 5258, 3.1.
        raise ImapSyntaxError("RECURSIVEMATCH needs another selection option with it.")
    return List(
        reference=reference,
        patterns=tuple(patterns),
        selecting=selecting,
        returning=returning,
        status=status,
        extended=extended,
    )


def _return_options(scanner: Scanner) -> tuple[frozenset[bytes], tuple[bytes, ...]]:
    status: tuple[bytes, ...] = ()

    def option() -> bytes:
        nonlocal status
        word = scanner.word("a return option")
        if word == b"STATUS":
            scanner.space()
            status = _status_items(scanner)
        return word

    words = scanner.listed(option, most=10)
    return _known([word for word in words if word != b"STATUS"], RETURNING), status


def _known(words: list[bytes], known: frozenset[bytes]) -> frozenset[bytes]:
    for word in words:
        if word not in known:
            raise ImapSyntaxError(f"LIST has no option {word.decode('ascii')} here.")
    return frozenset(words)


def _status(scanner: Scanner) -> Status:
    mailbox = scanner.mailbox()
    scanner.space()
    return Status(mailbox=mailbox, items=_status_items(scanner))


def _status_items(scanner: Scanner) -> tuple[bytes, ...]:
    words = scanner.listed(lambda: scanner.word("a STATUS item"), most=20, empty=False)
    for word in words:
        if word not in STATUS_ITEMS:
            raise ImapSyntaxError(f"STATUS has no item {word.decode('ascii')}.")
    return tuple(dict.fromkeys(words))


def _uid_expunge(scanner: Scanner) -> Expunge:
    return Expunge(uids=scan_set(scanner))


def _store(scanner: Scanner, *, uid: bool) -> Store:
    numbers = scan_set(scanner)
    scanner.space()
    unchanged_since = None
    if scanner.accept(b"("):
        if scanner.word("UNCHANGEDSINCE") != b"UNCHANGEDSINCE":
            raise ImapSyntaxError("STORE knows the modifier UNCHANGEDSINCE.")
        scanner.space()
        unchanged_since = scanner.number(most=MAX_NUMBER64)
        scanner.expect(b") ")
    add, remove = scanner.accept(b"+"), scanner.accept(b"-")
    word = scanner.word("FLAGS, +FLAGS or -FLAGS")
    if word not in (b"FLAGS", b"FLAGS.SILENT") or (add and remove):
        raise ImapSyntaxError(
            "STORE changes FLAGS, +FLAGS or -FLAGS, or their .SILENT."
        )
    scanner.space()
    return Store(
        set=numbers,
        uid=uid,
        how="add" if add else "remove" if remove else "replace",
        silent=word.endswith(b".SILENT"),
        flags=_store_flags(scanner),
        unchanged_since=unchanged_since,
    )


def _store_flags(scanner: Scanner) -> tuple[str, ...]:
    if scanner.follows(b"("):
        return scanner.flags()
    flags = [scanner.flag()]
    while scanner.accept(b" "):
        flags.append(scanner.flag())
        if len(flags) > 1000:
            raise ImapSyntaxError("These are too many flags.")
    return tuple(flags)


def _copy(scanner: Scanner, *, uid: bool) -> Copy:
    numbers = scan_set(scanner)
    scanner.space()
    return Copy(set=numbers, uid=uid, mailbox=scanner.mailbox())


def _get_quota(scanner: Scanner) -> GetQuota:
    return GetQuota(root=scanner.astring("a quota root"))


def _compress(scanner: Scanner) -> Compress:
    return Compress(mechanism=scanner.atom("a mechanism").upper())


PARSERS: dict[str, Callable[[Scanner], object]] = {
    **dict.fromkeys(
        (
            *("CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "NAMESPACE", "IDLE"),
            *("CHECK", "CLOSE", "UNSELECT", "EXPUNGE"),
        ),
        plain,
    ),
    "LOGIN": _login,
    "AUTHENTICATE": _authenticate,
    "ENABLE": _enable,
    "ID": _id,
    "SELECT": partial(_select, read_only=False),
    "EXAMINE": partial(_select, read_only=True),
    **dict.fromkeys(
        ("CREATE", "DELETE", "SUBSCRIBE", "UNSUBSCRIBE", "GETQUOTAROOT"), _one_mailbox
    ),
    "RENAME": _rename,
    "LIST": _list,
    "LSUB": _lsub,
    "STATUS": _status,
    "UID EXPUNGE": _uid_expunge,
    "FETCH": partial(scan_fetch, uid=False),
    "UID FETCH": partial(scan_fetch, uid=True),
    "STORE": partial(_store, uid=False),
    "UID STORE": partial(_store, uid=True),
    **dict.fromkeys(("COPY", "MOVE"), partial(_copy, uid=False)),
    **dict.fromkeys(("UID COPY", "UID MOVE"), partial(_copy, uid=True)),
    "GETQUOTA": _get_quota,
    "COMPRESS": _compress,
}

SEARCHES: dict[str, Callable[[Scanner, Place], object]] = {
    "SEARCH": partial(scan_search, uid=False),
    "UID SEARCH": partial(scan_search, uid=True),
    "SORT": partial(scan_sort, uid=False),
    "UID SORT": partial(scan_sort, uid=True),
    "THREAD": partial(scan_thread, uid=False),
    "UID THREAD": partial(scan_thread, uid=True),
}
