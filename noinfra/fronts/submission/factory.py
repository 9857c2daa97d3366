"""All connections of SMTP submission, on its two ports."""

from __future__ import annotations

from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.protocols.tls import TLSMemoryBIOFactory

from noinfra.config import SubmissionSettings
from noinfra.fronts.logins import BadLogins
from noinfra.fronts.smtp.factory import SmtpFactory
from noinfra.fronts.smtp.spool import Storage
from noinfra.fronts.submission.submission import Submission
from noinfra.fronts.submission.submitting import Submitting


class SubmissionFactory(SmtpFactory):
    """Listen with it for STARTTLS, and with its `in_tls` where TLS comes first."""

    settings: SubmissionSettings

    def __init__(
        self,
        *,
        submitting: Submitting,
        bad_logins: BadLogins,
        settings: SubmissionSettings,
        hostname: str,
        storage: Storage,
        clock: IReactorTime,
        tls: IOpenSSLServerConnectionCreator,
    ) -> None:
        super().__init__(
            settings=settings, hostname=hostname, storage=storage, clock=clock, tls=tls
        )
        self.submitting = submitting
        self.bad_logins = bad_logins
        self.in_tls: IProtocolFactory = TLSMemoryBIOFactory(
            tls, isClient=False, wrappedFactory=self, clock=clock
        )

    def conversation(self, address: str) -> Submission:
        """A new one, with the client at this address."""
        return Submission(self, address)
