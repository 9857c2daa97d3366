"""Pages that are made once, at the start."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
from attrs import frozen

from noinfra.fronts.rest.answer import JSON, Answer, Header
from noinfra.fronts.rest.exchange import Exchange


@frozen
class Page:
    """The endpoint of a page that anybody may read."""

    answer: Answer

    @classmethod
    def of_json(cls, document: dict[str, Any]) -> Page:
        """A page of JSON; any page's script may read it."""
        return cls(
            Answer(
                body=msgspec.json.encode(document),
                content_type=JSON,
                headers=(_CACHED, (b"Access-Control-Allow-Origin", b"*")),
            )
        )

    @classmethod
    def of_html(cls, page: str, style: str) -> Page:
        """A page of HTML without scripts, whose one style element has this content."""
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return cls(
            Answer(
                body=page.encode(),
                content_type=b"text/html; charset=utf-8",
                headers=(_CACHED, (b"Content-Security-Policy", policy.encode())),
            )
        )

    async def respond(self, exchange: Exchange) -> Answer:
        """The page."""
        return self.answer


_CACHED: Header = (b"Cache-Control", b"public, max-age=300")
