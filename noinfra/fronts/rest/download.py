"""Sends octets that are read in pieces while the client takes them."""

from __future__ import annotations

import re
from urllib.parse import quote

from attrs import frozen
from twisted.web.server import Request

from noinfra.app.letters import Octets
from noinfra.errors import NotAcceptable
from noinfra.fronts.rest.answer import Header
from noinfra.fronts.rest.deadlines import Deadlines
from noinfra.fronts.valve import Valve

PIECE = 262_144
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
# RFC 9110, 8.3.1: a type, a subtype and no more; what a mail adds might be anything.
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,64}/[\w!#$&^.+-]{1,128}", re.ASCII)


@frozen(kw_only=True)
class Span:
    """Which of so many octets are sent."""

    start: int
    length: int
    size: int
    partial: bool

    @classmethod
    def of(cls, wanted: str | None, size: int) -> Span:
        """What a Range header field asks for (RFC 9110, 14); more than one is all.

        :raises NotAcceptable: it lies outside.
        """
        found = _RANGE.fullmatch(wanted.strip()) if wanted else None
        if found is None or not any(found.groups()):
            return cls(start=0, length=size, size=size, partial=False)
        first, last = found.groups()
        if not first:
            start, end = max(0, size - int(last)), size
        else:
            start, end = int(first), min(size, int(last) + 1 if last else size)
            if last and int(last) < int(first):
                # RFC 9110, 14.1.1: such a range is invalid; the field is ignored.
                return cls(start=0, length=size, size=size, partial=False)
        if start >= end:
            raise NotAcceptable(
                f"There are {size} octets; the range lies outside.", size=size
            )
        return cls(start=start, length=end - start, size=size, partial=True)


def download_headers(octets: Octets, span: Span) -> tuple[Header, ...]:
    """The header fields of a download; it is never shown in the place of a page."""
    content_type = octets.content_type
    if not _MEDIA_TYPE.fullmatch(content_type):
        content_type = "application/octet-stream"
    headers = [
        (b"Content-Type", content_type.encode()),
        (b"Content-Disposition", disposition(octets.filename)),
        (b"Accept-Ranges", b"bytes"),
    ]
    if span.partial:
        last = span.start + span.length - 1
        value = b"bytes %d-%d/%d" % (span.start, last, span.size)
        headers.append((b"Content-Range", value))
    return tuple(headers)


def disposition(filename: str | None) -> bytes:
    """Content-Disposition (RFC 6266), with any name made harmless."""
    if not filename:
        return b"attachment"
    name = re.split(r"[/\\]", filename)[-1][-255:]
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    encoded = quote(name.encode(errors="replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}".encode()


async def send_octets(
    request: Request, octets: Octets, span: Span, deadlines: Deadlines
) -> None:
    """Write a span of octets, no faster than the client takes them."""
    valve = Valve()
    request.registerProducer(valve, True)
    try:
        start, end = span.start, span.start + span.length
        while start < end and not valve.stopped:
            piece = await octets.read(start, min(PIECE, end - start))
            if not piece:
                raise EOFError(f"{end - start} octets are missing")
            if not valve.stopped:
                request.write(piece)
            start += len(piece)
            if (waiting := valve.waiting) is not None:
                deadlines.watch(waiting)
                await waiting
                deadlines.forget(waiting)
    finally:
        if not valve.stopped:
            request.unregisterProducer()
