"""The SMTP server for mail programs (RFC 6409): AUTH, and mail from who has logged in.

Everything else is `noinfra.fronts.smtp.session`, the same as at the edge. No secret is
kept, logged or repeated.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from noinfra.errors import Forbidden, TemporaryFailure, Unauthenticated
from noinfra.fronts.sasl import (
    MECHANISMS,
    BadResponse,
    Credentials,
    Exchange,
    decoded,
    exchange,
)
from noinfra.fronts.smtp.refusals import (
    BadArguments,
    BadSequence,
    LineTooLong,
)
from noinfra.fronts.smtp.reply import reply
from noinfra.fronts.smtp.session import SENDER_OK, Session
from noinfra.fronts.submission.refusals import (
    BadExchange,
    Cancelled,
    CannotTell,
    ExchangeTooLong,
    NotEncrypted,
    NotLoggedIn,
    TooManyLogins,
    UnknownMechanism,
)
from noinfra.fronts.submission.submitting import Submitter
from noinfra.fronts.visitors import network_of
from noinfra.model import Forward, Receipt, Transaction

if TYPE_CHECKING:
    from noinfra.fronts.submission.factory import SubmissionFactory

WELCOME = reply(235, "2.7.0", "Authentication succeeded")
ENCRYPT = "Begin TLS with STARTTLS before you log in; no secret is taken in clear."
LOG_IN = "Log in first, with the inbox's address and an API key or its password."


class Submission(Session):
    """One connection."""

    taken = "Queued"
    offers_auth = True

    def __init__(self, server: SubmissionFactory, address: str) -> None:
        super().__init__(server, address)
        self._submitting = server.submitting
        self._bad_logins = server.bad_logins
        self._attempts_left = server.settings.login_attempts
        self._submitter: Submitter | None = None

    def extensions(self) -> dict[bytes, list[bytes] | None]:
        """What EHLO offers: AUTH where nobody can listen."""
        offered = super().extensions()
        if self.startedTLS:
            offered[b"AUTH"] = [name.encode("ascii") for name in MECHANISMS]
        return offered

    # ----------------------------------------------------------------------------------
    # Logging in

    async def do_AUTH(self, rest: bytes) -> bytes:
        """RFC 4954, 4."""
        if not self.startedTLS:
            raise NotEncrypted(ENCRYPT)
        if self._client is None:
            raise BadSequence("Say EHLO first.")
        if self._submitter is not None:
            raise BadSequence("You have logged in already.")
        # There is no transaction: MAIL takes none from who has not logged in.
        mechanism, response = _mechanism(rest)
        credentials = await self._credentials(exchange(mechanism), response)
        self._submitter = await self._log_in(credentials)
        self.authenticated = True
        return WELCOME

    async def _credentials(self, talk: Exchange, response: bytes | None) -> Credentials:
        """What the client says in the exchange.

        :param response: its first response, if it came with the command.
        """
        challenge = next(talk)
        try:
            while True:
                if response is None:
                    response = await self._response(challenge)
                challenge = talk.send(decoded(response))
                response = None
        except StopIteration as stop:
            credentials: Credentials = stop.value
            return credentials
        except BadResponse as error:
            raise BadExchange(str(error)) from None

    async def _response(self, challenge: bytes) -> bytes:
        self._say(reply(334, "", b64encode(challenge).decode("ascii")))
        try:
            line = await self._line()
        except LineTooLong as error:
            raise ExchangeTooLong(error.text) from None
        if line == b"*":
            raise Cancelled("As you wish.")
        return line

    async def _log_in(self, credentials: Credentials) -> Submitter:
        network, account = network_of(self._address), credentials.address
        if self._bad_logins.shut_out(network, account):
            raise TooManyLogins("Too many bad logins from you; come again. Closing.")
        try:
            submitter = await self._submitting.log_in(account, credentials.secret)
        except TemporaryFailure as failure:
            raise CannotTell(failure.text) from failure
        except (Unauthenticated, Forbidden):
            self._attempts_left -= 1
            await self._pause(self._bad_logins.failed(network, account))
            if self._attempts_left <= 0:
                raise TooManyLogins("Too many bad logins. Closing.") from None
            raise
        self._bad_logins.succeeded(network, account)
        return submitter

    # ----------------------------------------------------------------------------------
    # Mail

    async def do_MAIL(self, rest: bytes) -> bytes:
        """RFC 5321, 4.1.1.2; RFC 6409, 4.3."""
        if self._client is None:
            raise BadSequence("Say EHLO first.")
        submitter = self._logged_in()
        transaction = self._begun(rest)
        try:
            await submitter.begin(transaction)
        except Unauthenticated as refusal:
            self._log_out()
            raise NotLoggedIn(refusal.text) from None
        self._transaction = transaction
        return SENDER_OK

    async def _accept(self, transaction: Transaction, forward: Forward) -> None:
        await self._logged_in().accept(transaction, forward)

    async def _take(self, transaction: Transaction, octets: bytes) -> Receipt:
        return await self._logged_in().submit(transaction, octets)

    def _logged_in(self) -> Submitter:
        if self._submitter is None:
            raise NotLoggedIn(LOG_IN if self.startedTLS else ENCRYPT)
        return self._submitter

    def _log_out(self) -> None:
        self._submitter = None
        self.authenticated = False


def _mechanism(rest: bytes) -> tuple[str, bytes | None]:
    """The arguments of AUTH: a mechanism, and perhaps a first response."""
    words = rest.decode("ascii", "replace").split(" ")
    name = words[0].upper()
    if not name or len(words) > 2:
        raise BadArguments("Write AUTH, a mechanism, and a response if you like.")
    if name not in MECHANISMS:
        raise UnknownMechanism(f"Log in with {' or '.join(MECHANISMS)}.")
    if len(words) == 1:
        return name, None
    # RFC 4954, 4: "=" is an empty response, as a space and nothing is none.
    return name, b"" if words[1] == "=" else rest.partition(b" ")[2]
