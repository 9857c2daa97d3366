"""IMAP beside Dovecot on a maildir: the same mail, the same client, taking turns."""

from __future__ import annotations

import random
import smtplib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from attrs import frozen

from tests.bench import dovecot, fill
from tests.bench.dovecot import Dovecot
from tests.bench.imapclient import ImapClient
from tests.bench.mails import Mails, large
from tests.bench.ours import Ours
from tests.bench.stage import Stage, work
from tests.bench.table import LeftOut, Row, Target, median

_NAME = "reader"
_IDLE = 500
_PIECE = 8_000_000


@frozen
class Asked:
    """A command that is timed, and how.

    :ivar before: what is done first, outside the time.
    :ivar target: what ours is to reach of the peer's speed, if anything.
    """

    title: str
    command: str
    target: float | None
    before: str = "NOOP"


ASKED = (
    Asked("flags", "UID FETCH 1:* (FLAGS)", 1.0),
    Asked(
        "envelopes, structures",
        "UID FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)",
        1.0,
    ),
    Asked("bodies", "UID FETCH 1:* (BODY.PEEK[])", 0.5),
    Asked("SEARCH TEXT", "UID SEARCH TEXT {word}", 1.0),
    Asked(
        r"STORE \Seen",
        r"STORE 1:* +FLAGS (\Seen)",
        None,
        before=r"STORE 1:* -FLAGS.SILENT (\Seen)",
    ),
)


@frozen
class Server:
    """One of the two: how to log in, and how mail comes to its inbox."""

    port: int
    user: str
    password: str
    deliver: Callable[[bytes], object]

    def client(self) -> ImapClient:
        return ImapClient(self.port, self.user, self.password)


def measure(stage: Stage) -> Iterator[Row]:
    """Commands on a large folder, time to EXISTS; then what only we are measured by."""
    count = stage.pick(20_000, 4000)
    ours = Ours(stage)
    servers = [_ours(stage, ours, _NAME, count)]
    missing = ""
    try:
        servers.append(_dovecot(stage, ours, count))
    except LeftOut as left_out:
        missing = f"no peer: {left_out}"
    yield _login(stage, servers, count, missing)
    for asked in ASKED:
        yield _compared(stage, servers, asked, count, missing)
    yield _exists(stage, servers, missing)
    yield _idle(stage, ours)
    if not stage.quick:
        yield _select(stage, ours)
    yield _streamed(stage, ours)


def _ours(stage: Stage, ours: Ours, name: str, count: int) -> Server:
    stage.say(f"IMAP: filling {name} with {count:,} messages")
    (inbox,) = ours.inboxes([name])
    if count:
        work(stage, "fill", fill.Plan(dsn=ours.dsn, inbox_id=inbox, count=count))
        ours.query("analyze")
    address = ours.address(name)
    return Server(ours.imaps, address, ours.key, partial(_send, ours.smtp, address))


def _send(port: int, address: str, octets: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as client:
        client.ehlo()
        client.mail("writer@bench.example")
        client.rcpt(address)
        code, said = client.data(octets)
        if code != 250:
            raise RuntimeError(f"the daemon says {code} {said!r}")


def _dovecot(stage: Stage, ours: Ours, count: int) -> Server:
    tls = ours.state / "tls"
    peer = Dovecot(stage, tls / "smtp.crt", tls / "smtp.key")
    stage.say(f"IMAP: filling a maildir with {count:,} messages")
    samples = Mails("sample", [ours.address(_NAME)], fill.SIZE)
    # The octets that fill.py gives our own inbox.
    octets = [samples.octets(number) for number in range(fill.SAMPLES)]
    peer.fill(_NAME, (octets[number % fill.SAMPLES] for number in range(count)))
    with ImapClient(peer.port, _NAME, dovecot.PASSWORD) as client:
        # It has its indices and its cache from here on, as in everyday use.
        client.ask("SELECT INBOX")
        client.weigh("FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)")
    deliver = partial(dovecot.deliver, peer.lmtp, f"{_NAME}@bench.example")
    return Server(peer.port, _NAME, dovecot.PASSWORD, deliver)


def _row(
    name: str,
    seconds: list[list[float]],
    target: float | None,
    missing: str,
    note: str = "",
) -> Row:
    """Both sides' times as a speed; the target is what ours reaches of the peer's."""
    speeds = [1 / max(median(each), 1e-6) for each in seconds]
    times = ", ".join(
        f"{name} {median(each) * 1e3:.1f} ms"
        for name, each in zip(("ours", "Dovecot"), seconds, strict=False)
    )
    return Row(
        name=name,
        ours=speeds[0],
        unit="/s",
        peer=speeds[1] if len(speeds) > 1 else None,
        peer_name="Dovecot" if len(speeds) > 1 else "",
        target=None if target is None else Target("at least", target),
        note="; ".join(part for part in (times, note, missing) if part),
    )


def _login(stage: Stage, servers: list[Server], count: int, missing: str) -> Row:
    """From LOGIN to the end of SELECT, each time on a new connection."""
    seconds: list[list[float]] = [[] for _ in servers]
    for _ in range(stage.pick(15, 7)):
        for server, found in zip(servers, seconds, strict=True):
            with server.client() as client:
                client.ask("SELECT INBOX")
                found.append(time.perf_counter() - client.began)
    return _row(f"IMAP, LOGIN to SELECT of {count:,}", seconds, None, missing)


def _compared(
    stage: Stage, servers: list[Server], asked: Asked, count: int, missing: str
) -> Row:
    stage.say(f"IMAP: {asked.title}")
    words = _words()
    seconds: list[list[float]] = [[] for _ in servers]
    with ExitStack() as closing:
        clients = [closing.enter_context(server.client()) for server in servers]
        for client in clients:
            client.ask("SELECT INBOX")
        for _ in range(stage.pick(7, 5)):
            command = asked.command.format(word=next(words))
            told = []
            for client, found in zip(clients, seconds, strict=True):
                client.weigh(asked.before)
                time_, octets = client.timed(command)
                found.append(time_)
                told.append(octets)
    note = f"{' and '.join(f'{octets:,}' for octets in told)} octets"
    name = f"IMAP, {asked.title} of {count:,}"
    return _row(name, seconds, asked.target, missing, note)


def _words() -> Iterator[str]:
    """Words that some of the mails hold; never the same twice."""
    text = Mails("sample", ["a@bench.example"], fill.SIZE).octets(1).decode()
    words = sorted(set(text.partition("\r\n\r\n")[2].replace(".", " ").lower().split()))
    random.Random(3).shuffle(words)
    yield from words


def _exists(stage: Stage, servers: list[Server], missing: str) -> Row:
    """From the last reply to a mail to the EXISTS of a session that idles."""
    stage.say("IMAP: time to EXISTS")
    seconds: list[list[float]] = [[] for _ in servers]
    mails = Mails(f"exists-{time.monotonic_ns()}", ["a@bench.example"])
    with ExitStack() as closing:
        clients = [closing.enter_context(server.client()) for server in servers]
        for client in clients:
            client.ask("SELECT INBOX")
        for number in range(stage.pick(30, 10)):
            for server, client, found in zip(servers, clients, seconds, strict=True):
                client.idle()
                server.deliver(mails.octets(number))
                replied = time.monotonic()
                # What came before the reply was read has taken no time.
                found.append(max(client.wait(b" EXISTS\r\n") - replied, 1e-6))
                client.done()
    return _row("IMAP, 250 to EXISTS", seconds, 1.0, missing, "Dovecot by its LMTP")


def _idle(stage: Stage, ours: Ours) -> Row:
    stage.say(f"IMAP: {_IDLE} idle sessions")
    server = _ours(stage, ours, "idle", 0)
    before = ours.memory()
    with ExitStack() as closing:
        for _ in range(_IDLE):
            client = closing.enter_context(server.client())
            client.ask("SELECT INBOX")
            client.idle()
        after = ours.memory()
    return Row(
        name=f"memory, {_IDLE} idle IMAP sessions",
        ours=after - before,
        unit="MB",
        target=Target("below", 60.0, "value"),
        note="VmRSS; each by TLS, logged in, with a folder selected",
    )


def _select(stage: Stage, ours: Ours) -> Row:
    count = 200_000
    server = _ours(stage, ours, "large", count)
    with server.client() as client:
        seconds = [client.timed("SELECT INBOX")[0] for _ in range(9)]
    return Row(
        name=f"IMAP, SELECT of {count:,}",
        ours=median(seconds) * 1e3,
        unit="ms",
        target=Target("below", 100.0, "value"),
        note=f"the first one {seconds[0] * 1e3:.0f} ms",
    )


def _streamed(stage: Stage, ours: Ours) -> Row:
    """What it adds to the daemon's memory to fetch a folder of large messages."""
    doublings = stage.pick(7, 4)
    server = _ours(stage, ours, "heavy", 0)
    stage.say("IMAP: fetching a folder of large messages")
    server.deliver(large(server.user, _PIECE))
    with server.client() as client:
        client.ask("SELECT INBOX")
        for _ in range(doublings):
            # Copies of one content: it is read as often as there are messages.
            client.ask("UID COPY 1:* INBOX")
            client.ask("NOOP")
        before = ours.memory()
        ours.reset_peak()
        seconds, octets = client.timed("UID FETCH 1:* (BODY.PEEK[])")
        peak = ours.memory("VmHWM")
    return Row(
        name=f"memory, fetching {octets / 1e6:,.0f} MB by IMAP, at the peak",
        ours=peak - before,
        unit="MB",
        target=Target("below", 50.0, "value"),
        note=f"VmHWM over VmRSS before; {octets / 1e6 / seconds:.0f} MB a second",
    )
