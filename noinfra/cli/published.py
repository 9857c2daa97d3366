"""What doctor looks up in the DNS about a mail domain, and what should stand there."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from noinfra.boundaries import DnsFailure, DnsTemporary, MailExchange, Resolver
from noinfra.cli.verdict import Verdict, fail, ok, warn
from noinfra.store.keys import DkimKey

# RFC 6761, 6.2 to 6.5, RFC 2606 and RFC 6762: never in the public DNS.
PRIVATE = (".localhost", ".local", ".test", ".example", ".invalid", ".internal")

T = TypeVar("T")

SPF, DMARC = b"v=spf1", b"v=DMARC1"


async def published(
    resolver: Resolver, domain: str, hostname: str, dkim: Sequence[DkimKey]
) -> list[Verdict]:
    """Whether the world finds our domain and believes our mail."""
    if f".{domain}".endswith(PRIVATE):
        return [
            warn(
                "dns",
                f"{domain} is known on this machine only.",
                "Set domain and hostname to names that you own before others write.",
            )
        ]
    found = [
        await _host(resolver, hostname),
        await _mx(resolver, domain, hostname),
        await _spf(resolver, domain),
    ]
    found += [await _dkim(resolver, domain, key) for key in dkim]
    found.append(await _dmarc(resolver, domain))
    return found


async def _host(resolver: Resolver, hostname: str) -> Verdict:
    name = "dns: address"
    try:
        addresses = [
            *await _found(resolver.a(hostname)),
            *await _found(resolver.aaaa(hostname)),
        ]
        if not addresses:
            return fail(
                name,
                f"{hostname} has no address.",
                "Publish the address of this machine.",
                f"{hostname}. IN A <the IPv4 address of this machine>",
            )
        unnamed = [
            address
            for address in addresses
            if hostname not in await _found(resolver.ptr(address))
        ]
    except DnsTemporary as error:
        return _unknown(name, error)
    if unnamed:
        return warn(
            name,
            f"{', '.join(unnamed)} does not point back to {hostname}.",
            "Ask whoever gave you the address to set its PTR record: many mail servers "
            "refuse mail from an address without.",
        )
    return ok(name, f"{hostname} is {', '.join(addresses)}, and points back.")


async def _mx(resolver: Resolver, domain: str, hostname: str) -> Verdict:
    name, record = "dns: MX", f"{domain}. IN MX 10 {hostname}."
    try:
        exchanges: tuple[MailExchange, ...] = await _found(resolver.mx(domain))
    except DnsTemporary as error:
        return _unknown(name, error)
    hosts = [exchange.host for exchange in exchanges]
    if hostname in hosts:
        return ok(name, f"Mail for {domain} comes to {hostname}.")
    what = f"goes to {', '.join(hosts)}" if hosts else "has no MX record to follow"
    return fail(name, f"Mail for {domain} {what}.", "Publish this record:", record)


async def _spf(resolver: Resolver, domain: str) -> Verdict:
    name, record = "dns: SPF", f'{domain}. IN TXT "v=spf1 mx -all"'
    try:
        texts = [
            text for text in await _found(resolver.txt(domain)) if _tagged(text, SPF)
        ]
    except DnsTemporary as error:
        return _unknown(name, error)
    if len(texts) > 1:
        # RFC 7208, 4.5: that is a permanent error, and nobody passes.
        text = f"{domain} has {len(texts)} SPF records, which counts as wrong."
        return fail(name, text, "Keep one of them.")
    if not texts:
        text = f"{domain} has no SPF record."
        return warn(name, text, "Publish this one:", record)
    return ok(name, texts[0].decode("ascii", "replace"))


async def _dkim(resolver: Resolver, domain: str, key: DkimKey) -> Verdict:
    name, owner = f"dns: DKIM {key.selector}", f"{key.selector}._domainkey.{domain}"
    record = f"{owner}. IN TXT {quoted(key.record)}"
    try:
        texts = await _found(resolver.txt(owner))
    except DnsTemporary as error:
        return _unknown(name, error)
    if not texts:
        return fail(name, f"There is no {owner}.", "Publish this record:", record)
    if key.record.encode() not in texts:
        text = f"{owner} holds another key than the one we sign with."
        return fail(name, text, "Publish this record instead:", record)
    return ok(name, f"{owner} holds our key.")


async def _dmarc(resolver: Resolver, domain: str) -> Verdict:
    name, owner = "dns: DMARC", f"_dmarc.{domain}"
    try:
        texts = await _found(resolver.txt(owner))
    except DnsTemporary as error:
        return _unknown(name, error)
    if not any(_tagged(text, DMARC) for text in texts):
        text = f"There is no {owner}."
        record = f'{owner}. IN TXT "v=DMARC1; p=quarantine"'
        return warn(name, text, "Publish this record:", record)
    return ok(name, texts[0].decode("ascii", "replace"))


def quoted(text: str) -> str:
    """A TXT record's strings as a zone file has them: at most 255 octets each."""
    pieces = [text[at : at + 255] for at in range(0, len(text), 255)]
    return " ".join(f'"{piece}"' for piece in pieces)


async def _found(answer: Awaitable[tuple[T, ...]]) -> tuple[T, ...]:
    try:
        return await answer
    except DnsTemporary:
        raise
    except DnsFailure:
        return ()


def _tagged(text: bytes, version: bytes) -> bool:
    return text[: len(version)].lower() == version.lower()


def _unknown(name: str, error: DnsTemporary) -> Verdict:
    return warn(
        name,
        f"It cannot be looked up now: {error}",
        "Try again; if it stays so, set dns.servers to a resolver that answers.",
    )
