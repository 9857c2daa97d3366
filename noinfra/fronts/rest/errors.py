"""Refusals of the HTTP frame itself, and how the native dialect spells any refusal."""

from __future__ import annotations

from math import ceil

from noinfra.errors import (
    MethodNotAllowed,
    RateLimited,
    Refusal,
    TemporaryFailure,
    Unauthenticated,
)
from noinfra.fronts.rest.answer import Answer, Header, to_json


class Internal(Refusal):
    """A bug of ours; the log holds it under the request's identifier."""

    slug, http = "internal_error", 500


class UpgradeRequired(Refusal):
    """The path is for WebSocket only."""

    slug, http = "upgrade_required", 426


class LongLine(Refusal):
    """The request line or a header field is longer than we take (RFC 6585, 5)."""

    slug, http = "line_too_long", 431


class SlowRequest(Refusal):
    """The request did not arrive in time."""

    slug, http = "request_timeout", 408


def spell_refusal(refusal: Refusal, request_id: str) -> Answer:
    """The native form: ``{"error": {"code", "message", "requestId", "details"}}``."""
    error: dict[str, object] = {
        "code": refusal.slug,
        "message": refusal.text,
        "requestId": request_id,
    }
    if refusal.details:
        error["details"] = refusal.details
    return Answer(
        status=refusal.http,
        body=to_json({"error": error}),
        headers=refusal_headers(refusal),
    )


def refusal_headers(refusal: Refusal) -> tuple[Header, ...]:
    """The header fields that HTTP wants beside a refusal, in every dialect."""
    match refusal:
        case Unauthenticated():
            # RFC 9110, 11.6.1.
            return ((b"WWW-Authenticate", b'Bearer realm="noinfra"'),)
        case MethodNotAllowed():
            # RFC 9110, 15.5.6.
            allow = refusal.details.get("allow")
            names = allow if isinstance(allow, list) else []
            return ((b"Allow", ", ".join(names).encode()),)
        case RateLimited() | TemporaryFailure():
            return ((b"Retry-After", b"%d" % ceil(refusal.retry_after)),)
        case UpgradeRequired():
            # RFC 9110, 15.5.22.
            return ((b"Upgrade", b"websocket"),)
    return ()
