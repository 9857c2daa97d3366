"""One mail transaction on an open connection (RFC 5321, 3.3), for many recipients.

Where the peer offers PIPELINING (RFC 2920), MAIL, all RCPT and DATA leave in one write.
"""

import re
from collections.abc import AsyncIterator, Sequence

from attrs import evolve

from noinfra.boundaries import Envelope, Octets, Recipient
from noinfra.net.dns import a_labels
from noinfra.net.reply import Reply
from noinfra.net.smtp import SmtpClient
from noinfra.net.transparency import Transparency
from noinfra.net.verdict import SessionEnded, Verdict, broken, failed, judge

PIECE = 256 * 1024
"""Octets written at once; a message of no more is not waited for."""

_LOCAL = (
    r'(?:[^\s<>()\[\]\\,;:@"\x00-\x1f\x7f]+|"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*")'
)
_DOMAIN = r"(?:[^\s<>()\[\]\\,;:@\"\x00-\x1f\x7f]+|\[[0-9a-zA-Z:.]+\])"
_MAILBOX = re.compile(f"({_LOCAL})@({_DOMAIN})")
_XTEXT = re.compile(r"[!-~]{0,500}")


async def transact(
    client: SmtpClient, envelope: Envelope, recipients: Sequence[Recipient]
) -> tuple[Verdict, ...]:
    """Send the message to the recipients, on a connection that is open.

    :returns: a verdict for each recipient, in order. After it, client.ended tells
        whether the connection may go on.
    :raises Exception: what the envelope's octets raised; the connection is closed.
    """
    transaction = _Transaction(client, envelope, recipients)
    try:
        await transaction.run()
    except SessionEnded as ended:
        transaction.settle(ended.verdict)
    except BaseException:
        # Cancelled, or without the rest of the octets: no dot may follow.
        client.abandon("The message could not be sent whole.")
        raise
    return transaction.verdicts()


class _Transaction:
    def __init__(
        self, client: SmtpClient, envelope: Envelope, recipients: Sequence[Recipient]
    ) -> None:
        self._client = client
        self._envelope = envelope
        self._verdicts: list[Verdict | None] = [None] * len(recipients)
        self._commands: list[tuple[int, str]] = []
        self._recipients = recipients
        self._accepted: list[int] = []
        self._dotted = False
        self._dsn = "DSN" in client.extensions

    def verdicts(self) -> tuple[Verdict, ...]:
        """All are settled once run has ended, one way or another."""
        return tuple(v or broken("Nothing was decided.") for v in self._verdicts)

    def settle(self, verdict: Verdict) -> None:
        """Give the verdict to all recipients that have none yet."""
        if self._dotted and verdict.code is None:
            # RFC 5321, 4.5.3.2.6 and RFC 1047: the peer may have taken the message.
            verdict = evolve(verdict, uncertain=True, elsewhere=False)
        self._verdicts = [v or verdict for v in self._verdicts]

    async def run(self) -> None:
        """:raises SessionEnded: recipients without a verdict get the one it has."""
        unfit = _unfit(self._client.extensions, self._envelope)
        if unfit is not None:
            return self.settle(unfit)
        mail = self._mail()
        for i, recipient in enumerate(self._recipients):
            self._address(i, recipient)
        if not self._commands:
            return
        self._client.served += 1
        pipelining = "PIPELINING" in self._client.extensions
        data = await (self._all_at_once if pipelining else self._one_by_one)(mail)
        if data is not None:
            await self._content(data)

    def _mail(self) -> str:
        """The MAIL command; a reverse-path that cannot be said settles all."""
        envelope, extensions = self._envelope, self._client.extensions
        path = self._path(envelope.mail_from) if envelope.mail_from else ""
        if isinstance(path, Verdict):
            self.settle(evolve(path, enhanced=path.enhanced.replace("5.1.3", "5.1.7")))
            return ""
        utf8 = envelope.smtputf8 or not path.isascii()
        utf8 = utf8 or any(not _local(r.address).isascii() for r in self._recipients)
        words = [f"MAIL FROM:<{path}>"]
        if "SIZE" in extensions:
            words.append(f"SIZE={_size(envelope.octets)}")
        if envelope.eight_bit:
            words.append("BODY=8BITMIME")
        if utf8 and "SMTPUTF8" in extensions:
            words.append("SMTPUTF8")
        if self._dsn and envelope.ret:
            words.append(f"RET={envelope.ret.upper()}")
        if self._dsn and envelope.envid and _XTEXT.fullmatch(envelope.envid):
            words.append(f"ENVID={envelope.envid}")
        return " ".join(words)

    def _address(self, i: int, recipient: Recipient) -> None:
        """Note the RCPT command of a recipient, or settle that there can be none."""
        if self._verdicts[i] is not None:
            return
        path = self._path(recipient.address)
        if isinstance(path, Verdict):
            self._verdicts[i] = path
            return
        words = [f"RCPT TO:<{path}>"]
        if self._dsn and recipient.notify:
            words.append(f"NOTIFY={','.join(recipient.notify).upper()}")
        if self._dsn and recipient.orcpt and _XTEXT.fullmatch(recipient.orcpt):
            words.append(f"ORCPT={recipient.orcpt}")
        self._commands.append((i, " ".join(words)))

    def _path(self, address: str) -> str | Verdict:
        """The address as it may stand between angle brackets."""
        found = _MAILBOX.fullmatch(address)
        if found is None:
            return failed(553, "5.1.3", f"{address!r} is no mail address.")
        local, domain = found[1], found[2]
        if not domain.startswith("["):
            domain = a_labels(domain)
        if not domain.isascii():
            return failed(553, "5.1.3", f"{domain!r} is no domain.")
        if not local.isascii() and "SMTPUTF8" not in self._client.extensions:
            text = f"The host takes no address like {address} (SMTPUTF8)."
            return failed(553, "5.6.7", text)
        return f"{local}@{domain}"

    async def _all_at_once(self, mail: str) -> Reply:
        """Put all that leads to the message in one write; the reply to DATA."""
        client, stale = self._client, self._client.stale
        lines = [mail, *(line for _, line in self._commands), "DATA"]
        if stale:
            lines.insert(0, "RSET")
        client.stale = True
        client.write(("\r\n".join(lines) + "\r\n").encode(), replies=len(lines))
        if stale:
            self._judge_reset(await client.reply(client.timeouts.command, "RSET"))
        self._judge_mail(await client.reply(client.timeouts.command, "MAIL"))
        for i, _ in self._commands:
            self._judge_rcpt(i, await client.reply(client.timeouts.command, "RCPT"))
        return await client.reply(client.timeouts.data, "DATA")

    async def _one_by_one(self, mail: str) -> Reply | None:
        """The same, each command waiting for the reply to the one before."""
        client = self._client
        if client.stale:
            self._judge_reset(await client.command("RSET"))
        client.stale = True
        if not self._judge_mail(await client.command(mail)):
            return None
        for i, line in self._commands:
            self._judge_rcpt(i, await client.command(line))
        if not self._accepted:
            return None
        client.write(b"DATA\r\n", replies=1)
        return await client.reply(client.timeouts.data, "DATA")

    def _judge_reset(self, reply: Reply) -> None:
        if reply.code != 250:
            raise self._client.refused(reply, for_good=False)

    def _judge_mail(self, reply: Reply) -> bool:
        if reply.code // 100 == 3:
            raise self._client.refused(reply)
        if reply.code // 100 != 2:
            self.settle(judge(reply))
            return False
        return True

    def _judge_rcpt(self, i: int, reply: Reply) -> None:
        if reply.code // 100 == 3:
            raise self._client.refused(reply)
        if self._verdicts[i] is not None:
            return
        if reply.code // 100 == 2:
            self._accepted.append(i)
        elif _too_many(reply):
            self._verdicts[i] = evolve(judge(reply), status="deferred", crowded=True)
        else:
            self._verdicts[i] = judge(reply)

    async def _content(self, data: Reply) -> None:
        """Send the message, if the reply to DATA asks for it."""
        client = self._client
        if data.code != 354:
            if data.code // 100 not in (4, 5):
                raise client.refused(data)
            return self.settle(judge(data))
        if not self._accepted:
            # RFC 2920, 3.1: DATA went out before we knew that nobody is there.
            client.write(b".\r\n", replies=1)
            await client.reply(client.timeouts.final, "the empty message")
            return None
        client.write(b"", replies=1)
        await self._octets()
        reply = await client.reply(client.timeouts.final, "the message")
        if reply.code // 100 == 3 or (reply.code // 100 == 2 and not self._dotted):
            raise client.refused(reply)
        self.settle(judge(reply, dsn=self._dsn))
        client.stale = reply.code // 100 != 2
        if not self._dotted:
            client.abandon("The message was refused before its end.")
        return None

    async def _octets(self) -> None:
        """Write the message to its final dot, unless the peer answers before."""
        client, octets = self._client, self._envelope.octets
        stuffing = Transparency()
        if isinstance(octets, bytes) and len(octets) <= PIECE:
            self._dotted = True
            client.write(stuffing.feed(octets) + stuffing.finish())
            return
        size = 0
        client.begin_flow()
        try:
            async for piece in _pieces(octets):
                if client.interrupted:
                    return
                size += len(piece)
                client.write(stuffing.feed(piece))
                await client.caught_up()
        finally:
            client.end_flow()
        if size != _size(octets):
            raise ValueError(f"The message has {size} octets, not {_size(octets)}.")
        self._dotted = True
        client.write(stuffing.finish())


def _unfit(extensions: dict[str, str], envelope: Envelope) -> Verdict | None:
    """Why a host with these extensions cannot take the message, whatever it says."""
    size = _size(envelope.octets)
    limit = extensions.get("SIZE", "")
    # RFC 1870, 4: no number, or 0, is no limit.
    if limit.isascii() and limit.isdecimal() and 0 < int(limit) < size:
        text = f"The message has {size} octets, and the host takes {int(limit)}."
        return failed(552, "5.3.4", text)
    if envelope.eight_bit and "8BITMIME" not in extensions:
        text = "The message is not in ASCII, and the host takes no other (8BITMIME)."
        return failed(554, "5.6.3", text)
    if envelope.smtputf8 and "SMTPUTF8" not in extensions:
        text = "The header is not in ASCII, and the host takes no other (SMTPUTF8)."
        return failed(553, "5.6.7", text)
    return None


def _too_many(reply: Reply) -> bool:
    """Whether the rest should come in a transaction of its own."""
    # RFC 5321, 4.5.3.1.10: 452, and 552 from old hosts; both have other uses too.
    return (reply.code, reply.enhanced) in {
        (452, "4.0.0"),
        (452, "4.5.3"),
        (552, "5.0.0"),
        (552, "5.5.3"),
    }


async def _pieces(octets: Octets | bytes) -> AsyncIterator[bytes]:
    if isinstance(octets, bytes):
        for start in range(0, len(octets), PIECE):
            yield octets[start : start + PIECE]
    else:
        async for piece in octets.pieces():
            yield piece


def _size(octets: Octets | bytes) -> int:
    return len(octets) if isinstance(octets, bytes) else octets.size


def _local(address: str) -> str:
    return address.rpartition("@")[0]
