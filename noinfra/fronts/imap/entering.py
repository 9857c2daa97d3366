"""Before login, around it, and what may be said at any time (RFC 9051, 6.1 and 6.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from noinfra.app.mailbox_access import Identity
from noinfra.errors import Refusal, Unauthenticated
from noinfra.fronts.imap.answers import capabilities, completed, refused, untagged
from noinfra.fronts.imap.conversation import Conversation
from noinfra.fronts.imap.refusals import (
    Bad,
    CompressedAlready,
    Injected,
    LoginEnded,
    NeedsTls,
    NotOffered,
    Throttled,
    TooManyLogins,
    UnknownCharset,
)
from noinfra.fronts.sasl import BadResponse, Credentials, decoded, exchange
from noinfra.fronts.visitors import network_of
from noinfra.mail.imap.commands import Authenticate, Compress, Enable, Id, Login, Plain
from noinfra.mail.imap.parse import Head, parse_arguments
from noinfra.mail.imap.search import BadCharset
from noinfra.mail.imap.sets import SequenceSet
from noinfra.mail.imap_search import Uids

if TYPE_CHECKING:
    from noinfra.fronts.imap.factory import ImapFactory

# The states of RFC 9051, 3, and what may be said in each.
ANY, BEFORE, AFTER, SELECTED = range(4)
COMMANDS = {
    ANY: ("CAPABILITY", "NOOP", "LOGOUT", "ID"),
    BEFORE: ("STARTTLS", "LOGIN", "AUTHENTICATE"),
    AFTER: (
        *("ENABLE", "NAMESPACE", "LIST", "LSUB", "STATUS", "CREATE", "DELETE"),
        *("RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "SELECT", "EXAMINE", "APPEND"),
        *("IDLE", "COMPRESS", "GETQUOTA", "GETQUOTAROOT"),
    ),
    SELECTED: (
        *("CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "SEARCH", "SORT", "THREAD"),
        *("FETCH", "STORE", "COPY", "MOVE", "UID EXPUNGE", "UID SEARCH", "UID SORT"),
        *("UID THREAD", "UID FETCH", "UID STORE", "UID COPY", "UID MOVE"),
    ),
}
STATES = {verb: state for state, verbs in COMMANDS.items() for verb in verbs}

# What a command's method answers: the response code of its OK, or None when it has said
# all that there is to say.
Code = bytes | None
Method = Callable[[object], Awaitable[Code] | Code]

FIRST = ("IMAP4rev2", "IMAP4rev1", "SASL-IR", "ENABLE", "ID")
LATER = (
    *("IDLE", "NAMESPACE", "CHILDREN", "UIDPLUS", "UNSELECT", "MOVE", "MULTIAPPEND"),
    *("BINARY", "SPECIAL-USE", "LIST-EXTENDED", "LIST-STATUS", "STATUS=SIZE"),
    *("ESEARCH", "SEARCHRES", "WITHIN", "SORT", "SORT=DISPLAY", "ESORT"),
    *("THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT", "CONDSTORE", "QRESYNC"),
    *("OBJECTID", "PREVIEW", "SAVEDATE", "UTF8=ACCEPT", "QUOTA"),
)
CAN_BE_ENABLED = frozenset((b"CONDSTORE", b"QRESYNC", b"UTF8=ACCEPT", b"IMAP4REV2"))
OURSELVES = b'ID ("name" "noinfra")'


class Entering(Conversation):
    """A connection up to its login, and the way from a command to its method."""

    def __init__(self, server: ImapFactory, address: str) -> None:
        super().__init__(server, address)
        self._identity: Identity | None = None
        self._enabled: set[bytes] = set()
        self._failures = 0
        self._tag = b"*"

    # ----------------------------------------------------------------------------------
    # From a command to its method

    def _greeting(self) -> bytes:
        code = capabilities(self._capabilities())
        return b"* OK [%b] %b ready.\r\n" % (code, self._server.hostname.encode())

    async def _perform(self, head: Head) -> bytes:
        self._tag = head.tag
        self._check_state(head.verb)
        code = await self._do(head)
        await self._news(head.verb)
        return b"" if code is None else completed(head.tag, head.verb, code)

    async def _do(self, head: Head) -> Code:
        try:
            command = parse_arguments(head, self._place, utf8=self._utf8)
        except BadCharset as error:
            raise UnknownCharset(str(error)) from error
        method: Method = getattr(self, f"on_{head.verb.removeprefix('UID ')}")
        code = method(command)
        return code if code is None or isinstance(code, bytes) else await code

    def _check_state(self, verb: str) -> None:
        state = STATES.get(verb)
        if state is None:
            raise Bad(f"There is no command {verb[:40]} here.")
        if state == BEFORE and self._identity is not None:
            raise Bad("You are logged in already.")
        if state >= AFTER and self._identity is None:
            raise Bad(f"Log in before {verb}.")
        if state == SELECTED and not self._selects():
            raise Bad(f"Select a mailbox before {verb}.")

    def _selects(self) -> bool:
        """Whether a mailbox is selected."""
        return False

    def _place(self, numbers: SequenceSet, uid: bool) -> Uids:
        """What a set of messages means in the selected mailbox."""
        raise Bad("Select a mailbox first.")

    async def _news(self, verb: str) -> None:
        """Tell what has happened, as far as the command allows it."""

    def _logged_in(self) -> bool:
        return self._identity is not None

    @property
    def _who(self) -> Identity:
        """Whose client this is; commands that ask come after login."""
        if self._identity is None:
            raise Bad("Log in first.")
        return self._identity

    @property
    def _utf8(self) -> bool:
        """Whether names are in UTF-8 (RFC 6855, 3; RFC 9051, 5.1)."""
        return not self._enabled.isdisjoint((b"UTF8=ACCEPT", b"IMAP4REV2"))

    @property
    def _rev2(self) -> bool:
        return b"IMAP4REV2" in self._enabled

    # ----------------------------------------------------------------------------------
    # At any time

    def _capabilities(self) -> list[str]:
        """What we can do for this client, now."""
        names = list(FIRST)
        if self._identity is not None:
            names += ("LITERAL+", *LATER)
            names.append(f"APPENDLIMIT={self._server.settings.append_limit}")
            if self._deflated is None:
                names.append("COMPRESS=DEFLATE")
            return names
        # RFC 7888, 5: literals are small before login, which is what "-" says.
        names.append("LITERAL-")
        if self.canStartTLS:
            names.append("STARTTLS")
        names.append("AUTH=PLAIN" if self._tls else "LOGINDISABLED")
        return names

    def on_CAPABILITY(self, command: Plain) -> Code:
        """RFC 9051, 6.1.1."""
        self._say(untagged(capabilities(self._capabilities())))
        return b""

    def on_NOOP(self, command: Plain) -> Code:
        """RFC 9051, 6.1.2: the news come at the end of it."""
        return b""

    def on_LOGOUT(self, command: Plain) -> Code:
        """RFC 9051, 6.1.3."""
        self._say(untagged(b"BYE Good bye."))
        self._say(completed(self._tag, "LOGOUT", b""))
        self._close()
        return None

    def on_ID(self, command: Id) -> Code:
        """RFC 2971, 3.1: what the client says of itself goes to the log."""
        said = {
            name.decode("utf-8", "replace").lower(): (value or b"").decode(
                "utf-8", "replace"
            )
            for name, value in command.parameters
        }
        self._log.introduced(said)
        self._say(untagged(OURSELVES))
        return b""

    # ----------------------------------------------------------------------------------
    # Before login

    async def on_STARTTLS(self, command: Plain) -> Code:
        """RFC 9051, 6.2.1."""
        if self._tls is not None:
            raise Bad("TLS is on already.")
        if not self.canStartTLS:
            raise NotOffered("TLS is not offered here.")
        if self._reader:
            raise Injected("Wait for our answer to STARTTLS before you go on. Closing.")
        await self._secure(self._tag, self._server.tls)
        return None

    async def on_LOGIN(self, command: Login) -> Code:
        """RFC 9051, 6.2.3."""
        self._need_tls()
        return await self._log_in(
            command.user.decode("utf-8", "replace"),
            command.password.decode("utf-8", "replace"),
        )

    async def on_AUTHENTICATE(self, command: Authenticate) -> Code:
        """RFC 9051, 6.2.2; PLAIN is RFC 4616."""
        self._need_tls()
        if command.mechanism != b"PLAIN":
            raise NotOffered("We know the SASL mechanism PLAIN.")
        response = command.initial
        if response is None:
            self._say(b"+ \r\n")
            response = await self._line(self._deadline())
            if response == b"*":
                raise Bad("You took AUTHENTICATE back.")
        said = _plain(response)
        return await self._log_in(said.address, said.secret)

    def _need_tls(self) -> None:
        if not self._tls:
            raise NeedsTls("Begin TLS first: a password does not go in clear.")

    async def _log_in(self, name: str, secret: str) -> Code:
        try:
            identity = await self._identify(name.strip(), secret)
        except Refusal as refusal:
            self._log.not_logged_in(name, refusal)
            self._failures += 1
            if self._failures >= self._server.settings.login_attempts:
                self._say(refused(self._tag, refusal))
                raise TooManyLogins("Too many failed logins. Closing.") from refusal
            raise
        self._identity = identity
        self._errors = 0
        self._log.logged_in(
            identity.home.address, identity.credential_id, self._tls or ""
        )
        return capabilities(self._capabilities())

    async def _identify(self, name: str, secret: str) -> Identity:
        """Ask whose login this is, unless too many have failed."""
        network, bad_logins = network_of(self._address), self._server.bad_logins
        if bad_logins.shut_out(network, name):
            raise Throttled("Too many logins failed from there; come again later.")
        try:
            identity = await self._server.mail.logins.login(name, secret)
        except Unauthenticated:
            seconds = bad_logins.failed(network, name)
            if seconds:
                await self._pause(seconds)
            raise
        bad_logins.succeeded(network, name)
        return identity

    def used(self, credential_id: str) -> bool:
        """Whether the client logged in with this; with anything, if it is empty."""
        identity = self._identity
        return identity is not None and credential_id in ("", identity.credential_id)

    async def recheck(self) -> None:
        """A key or a password has changed: have the client go, if it was its own."""
        identity = self._identity
        if identity is None or self._closing:
            return
        if not await self._server.mail.logins.still_good(identity):
            self.dismiss(
                LoginEnded("The key was revoked, or the password changed. Closing.")
            )

    # ----------------------------------------------------------------------------------
    # After login

    def on_ENABLE(self, command: Enable) -> Code:
        """RFC 9051, 6.3.1: what we do not know is passed over."""
        fresh = [
            name
            for name in dict.fromkeys(command.capabilities)
            if name in CAN_BE_ENABLED and name not in self._enabled
        ]
        self._say(untagged(b" ".join((b"ENABLED", *fresh))))
        if b"QRESYNC" in fresh or b"CONDSTORE" in fresh:
            self._enable_condstore()
        self._enabled.update(fresh)
        return b""

    def _enable_condstore(self) -> None:
        """From here on changes are told with their modseq (RFC 7162, 3.1)."""
        self._enabled.add(b"CONDSTORE")

    def on_COMPRESS(self, command: Compress) -> Code:
        """RFC 4978, 3."""
        if command.mechanism != b"DEFLATE":
            raise NotOffered("We know the mechanism DEFLATE.")
        if self._deflated is not None:
            raise CompressedAlready("Compression is on already.")
        if self._reader:
            raise Injected("Wait for our answer to COMPRESS before you go on. Closing.")
        self._compress(self._tag)
        return None


def _plain(response: bytes) -> Credentials:
    """What an exchange of PLAIN amounts to; "=" is an empty response (RFC 4959, 3)."""
    talk = exchange("PLAIN")
    next(talk)
    try:
        talk.send(decoded(b"" if response == b"=" else response))
    except StopIteration as stop:
        credentials: Credentials = stop.value
        return credentials
    except BadResponse as error:
        raise Bad(str(error)) from error
    raise Bad("PLAIN is over after one response.")
