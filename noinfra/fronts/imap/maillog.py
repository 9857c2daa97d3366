"""The mail log of IMAP: every event that it knows, and nothing else.

Addresses of inboxes and peers are logged, content and passwords never.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger
from twisted.python.failure import Failure

from noinfra.errors import Refusal


class MailLog:
    """One method an event, for one connection."""

    _log = Logger(namespace="noinfra.imap")

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._user = "-"

    def connected(self) -> None:
        """A client is there."""
        self._log.debug("{peer} connected", peer=self._peer)

    def disconnected(self, reason: str) -> None:
        """The connection ended."""
        self._log.debug(
            "{peer} {user} disconnected: {reason}",
            peer=self._peer,
            user=self._user,
            reason=reason,
        )

    def turned_away(self, refusal: Refusal) -> None:
        """A client was refused before it could say anything."""
        self._log.info(
            "{peer} turned away: [{imap}] {text}",
            peer=self._peer,
            imap=refusal.imap,
            text=refusal.text,
        )

    def not_secured(self, reason: str) -> None:
        """The TLS handshake did not come to its end."""
        self._log.info(
            "{peer} failed in the TLS handshake: {reason}",
            peer=self._peer,
            reason=reason,
        )

    def logged_in(self, user: str, credential: str, tls: str) -> None:
        """A client has shown whose it is."""
        self._user = user
        self._log.info(
            "{peer} logged in as {user} with {credential} ({tls})",
            peer=self._peer,
            user=user,
            credential=credential,
            tls=tls,
        )

    def not_logged_in(self, user: str, refusal: Refusal) -> None:
        """A client has not."""
        self._log.info(
            "{peer} login as {user} refused: [{imap}] {text}",
            peer=self._peer,
            user=user,
            imap=refusal.imap,
            text=refusal.text,
        )

    def introduced(self, said: Mapping[str, str]) -> None:
        """A client has said what program it is (RFC 2971)."""
        self._log.debug(
            "{peer} {user} is {name} {version}",
            peer=self._peer,
            user=self._user,
            name=said.get("name", "?")[:100],
            version=said.get("version", "")[:100],
        )

    def refused(self, verb: str, refusal: Refusal) -> None:
        """A command was refused."""
        self._log.debug(
            "{peer} {user} {verb} refused: [{imap}] {text}",
            peer=self._peer,
            user=self._user,
            verb=verb,
            imap=refusal.imap,
            text=refusal.text,
        )

    def closing(self, refusal: Refusal) -> None:
        """We end the connection, and say why."""
        self._log.info(
            "{peer} {user} sent away: [{imap}] {text}",
            peer=self._peer,
            user=self._user,
            imap=refusal.imap,
            text=refusal.text,
        )

    def failed(self, verb: str, incident: str, failure: Failure) -> None:
        """A bug of ours; the client was told the incident."""
        self._log.failure(
            "{peer} {user} {verb} failed, incident {incident}",
            failure=failure,
            peer=self._peer,
            user=self._user,
            verb=verb,
            incident=incident,
        )

    def not_rechecked(self, failure: Failure) -> None:
        """We could not ask whether a login is still good; it goes on."""
        self._log.failure("a login could not be checked again", failure=failure)
