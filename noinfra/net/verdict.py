"""What is to become of a recipient, as a host or our look at the route decided."""

from attrs import frozen

from noinfra.boundaries import Status
from noinfra.net.reply import Reply


@frozen(kw_only=True)
class Verdict:
    """One decision; code, enhanced and text are as in an Attempt."""

    status: Status
    code: int | None
    enhanced: str
    text: str
    elsewhere: bool = False
    """Nothing was decided about the recipient itself: another host may be tried."""
    crowded: bool = False
    """The host takes no more recipients in the same transaction."""
    uncertain: bool = False
    """The final dot was sent and not answered."""
    dsn: bool = False
    """The host took over the duty to report."""
    put_off: bool = False
    """We stop, and no host has decided."""


class Unroutable(Exception):
    """There is nowhere to send the mail to, for now or for good."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict


class SessionEnded(Exception):
    """A connection is of no more use; the verdict holds for all that it left open."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict


class TlsFailed(SessionEnded):
    """The handshake did not succeed; in clear, the same host might take the mail."""


def judge(reply: Reply, *, elsewhere: bool = False, dsn: bool = False) -> Verdict:
    """What a reply means: 2 is done, 5 is refused for good, all else is for later."""
    kind = reply.code // 100
    return Verdict(
        status="delivered" if kind == 2 else "failed" if kind == 5 else "deferred",
        code=reply.code,
        enhanced=reply.enhanced,
        text=reply.text,
        elsewhere=elsewhere,
        dsn=dsn and kind == 2,
    )


def broken(text: str, enhanced: str = "4.4.2") -> Verdict:
    """The connection could not be made, or did not last (RFC 3463, 3.5)."""
    return Verdict(
        status="deferred", code=None, enhanced=enhanced, text=text, elsewhere=True
    )


def failed(code: int, enhanced: str, text: str) -> Verdict:
    """We refuse in the peer's stead: trying again would not change it."""
    return Verdict(status="failed", code=code, enhanced=enhanced, text=text)


def deferred(code: int, enhanced: str, text: str) -> Verdict:
    """We put it off in the peer's stead."""
    return Verdict(status="deferred", code=code, enhanced=enhanced, text=text)
