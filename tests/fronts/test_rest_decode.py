from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.requests import (
    DeleteMessage,
    ListMessages,
    SendMessage,
    UpdateAgent,
)
from noinfra.errors import Invalid, Refusal, TooLarge
from noinfra.fronts.catalogue import OPERATIONS
from noinfra.fronts.rest.calls import decoder
from noinfra.fronts.rest.decode import MAX_STRINGS, Decoder, query_pairs
from noinfra.fronts.rest.native import ROUTES

INBOX = {"inboxId": "inb_1"}
SEND = Decoder(SendMessage, ["inboxId"], "POST")
LIST = Decoder(ListMessages, ["inboxId"], "GET")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=15,
)
FIELDS = st.sampled_from([*SEND.body.__struct_encode_fields__, "inboxId", "x"])  # type: ignore[union-attr]


class BodyTests(SynchronousTestCase):
    def refused(self, body: bytes, key: str | None = None) -> Invalid:
        refusal: Invalid = self.assertRaises(Invalid, SEND, INBOX, b"", body, key)
        return refusal

    def test_together(self) -> None:
        """Path and body make one request."""
        body = b'{"to": ["a@example.com"], "subject": "Hello", "text": "Hi"}'
        request = SEND(INBOX, b"", body)
        self.assertEqual(
            request,
            SendMessage(
                inbox_id="inb_1", to=["a@example.com"], subject="Hello", text="Hi"
            ),
        )

    def test_empty(self) -> None:
        """No body is an empty object."""
        self.assertEqual(SEND(INBOX, b"", b" \n"), SendMessage(inbox_id="inb_1"))

    def test_names_the_field(self) -> None:
        """What is wrong is named, at whatever depth."""
        for body, field in (
            (b'{"to": ["a@example.com", 1]}', "to[1]"),
            (b'{"subject": null}', "subject"),
            (
                b'{"attachments": [{"filename": "a", "content": "?"}]}',
                "attachments[0].content",
            ),
            (b'{"attachments": [{"filename": "a"}]}', "attachments[0].content"),
            (b'{"attachments": [{"x": 1}]}', "attachments[0].x"),
            (b'{"colour": 1}', "colour"),
        ):
            self.assertEqual(self.refused(body).details, {"field": field})

    def test_path_is_not_overridden(self) -> None:
        """What the path names, the body may not."""
        self.assertEqual(
            self.refused(b'{"inboxId": "inb_2"}').details, {"field": "inboxId"}
        )

    def test_query_is_not_read(self) -> None:
        """A call with a body takes nothing from the query, and says so."""
        error = self.assertRaises(Invalid, SEND, INBOX, b"subject=Hi", b"{}")
        self.assertEqual(error.details, {"field": "subject"})

    def test_no_json(self) -> None:
        """What is no JSON object is refused."""
        for body in (b"[]", b"null", b"{", b"{} {}", b'"\xff"', b"[" * 100_000):
            self.refused(body)

    def test_deep(self) -> None:
        """Depth does no harm, in a field or beside one."""
        self.refused(b'{"to": ' + b"[" * 200_000)
        self.refused(b'{"x": ' + b"[" * 200_000)

    def test_nul(self) -> None:
        """A NUL is refused, an escaped backslash before u0000 is not one."""
        self.refused(b'{"subject": "a\\u0000b"}')
        self.refused(b'{"subject": "a\\\\\\u0000b"}')
        kept = SEND(INBOX, b"", b'{"subject": "a\\\\u0000b"}')
        self.assertEqual(kept.subject, "a\\u0000b")

    def test_surrogates(self) -> None:
        """A lone surrogate, which UTF-8 cannot hold, is refused."""
        self.refused(b'{"subject": "\\ud800"}')
        self.refused(b'{"subject": "\\udc00"}')

    def test_many(self) -> None:
        """A body of countless values is refused before they are made."""
        body = b'{"to": [' + b'"",' * MAX_STRINGS + b'""]}'
        self.assertRaises(TooLarge, SEND, INBOX, b"", body)

    def test_long_text(self) -> None:
        """A long text with many quotes is but one value."""
        text = 'say "yes" ' * MAX_STRINGS
        body = json.dumps({"text": text}).encode()
        self.assertEqual(SEND(INBOX, b"", body).text, text)

    def test_idempotency_key(self) -> None:
        """The header's key goes into the request; another in the body is refused."""
        self.assertEqual(SEND(INBOX, b"", b"{}", "k").idempotency_key, "k")
        same = SEND(INBOX, b"", b'{"idempotencyKey": "k"}', "k")
        self.assertEqual(same.idempotency_key, "k")
        self.refused(b'{"idempotencyKey": "k"}', "other")
        self.refused(b"{}", "k" * 257)

    def test_unset(self) -> None:
        """What is not said stays unset, and null is said where it may be."""
        update = Decoder(UpdateAgent, ["agentId"], "PATCH")
        request = update({"agentId": "agt_1"}, b"", b'{"status": "active"}')
        self.assertIs(request.name, msgspec.UNSET)
        self.assertEqual(request.status, "active")

    @settings(deadline=None, max_examples=300)
    @given(st.dictionaries(FIELDS, JSON, max_size=6))
    def test_any_values(self, body: dict[str, Any]) -> None:
        """Whatever JSON comes, there is a request of good types, or a refusal."""
        try:
            octets = json.dumps(body).encode()
            request = SEND(INBOX, b"", octets)
        except Refusal:
            return
        again = msgspec.convert(msgspec.to_builtins(request), SendMessage)
        self.assertEqual(again, request)
        msgspec.json.encode(request)

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=80), st.booleans())
    def test_any_octets(self, octets: bytes, inside: bool) -> None:
        """Whatever octets come, there is a request or a refusal."""
        with contextlib.suppress(Refusal):
            SEND(INBOX, b"", b'{"subject": "' + octets + b'"}' if inside else octets)


class QueryTests(SynchronousTestCase):
    def refused(self, query: bytes) -> Invalid:
        refusal: Invalid = self.assertRaises(Invalid, LIST, INBOX, query, b"")
        return refusal

    def test_converted(self) -> None:
        """Numbers, truth and times are read from their text."""
        request = LIST(
            INBOX, b"limit=5&unread=true&after=2026-01-31T12:00:00%2B01:00", b""
        )
        self.assertEqual(request.limit, 5)
        self.assertIs(request.unread, True)
        self.assertEqual(request.after.isoformat(), "2026-01-31T12:00:00+01:00")

    def test_lists(self) -> None:
        """A list is repeated, or has commas, or both."""
        request = LIST(INBOX, b"labels=a,b&labels=c", b"")
        self.assertEqual(request.labels, ["a", "b", "c"])

    def test_bare(self) -> None:
        """A bare name says yes."""
        delete = Decoder(DeleteMessage, ["inboxId", "messageId"], "DELETE")
        path = {"inboxId": "inb_1", "messageId": "msg_1"}
        self.assertTrue(delete(path, b"permanent", b"").permanent)
        self.assertFalse(delete(path, b"permanent=false", b"{}").permanent)

    def test_text_stays_text(self) -> None:
        """What looks like a number or null is text where text is wanted."""
        request = LIST(INBOX, b"subject=null&tag=12&from=a%3Bb;c", b"")
        self.assertEqual(
            (request.subject, request.tag, request.from_), ("null", "12", "a;b;c")
        )

    def test_named(self) -> None:
        """The parameter that is wrong is named."""
        for query, field in (
            (b"limit=0", "limit"),
            (b"limit=101", "limit"),
            (b"limit=ten", "limit"),
            (b"limit=1&limit=2", "limit"),
            (b"colour=red", "colour"),
            (b"inboxId=inb_2", "inboxId"),
            (b"api_key=secret", "api_key"),
            (b"direction=up", "direction"),
            (b"after=2026-01-31T12:00:00", "after"),
            (b"labels=" + b"a," * 51, "labels"),
        ):
            self.assertEqual(self.refused(query).details, {"field": field})

    def test_unreadable(self) -> None:
        """What is no UTF-8, or has a NUL, is refused."""
        for query in (b"subject=%ff", b"subject=%00", b"\xff=1"):
            self.refused(query)

    def test_no_body(self) -> None:
        """A body where there is none to be is not passed over in silence."""
        self.assertRaises(Invalid, LIST, INBOX, b"", b'{"limit": 5}')

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=60))
    def test_any_octets(self, query: bytes) -> None:
        """Whatever the query, there is a request or a refusal."""
        with contextlib.suppress(Refusal):
            LIST(INBOX, query, b"")

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.tuples(st.sampled_from(LIST.query), st.text(max_size=12))))
    def test_any_values(self, pairs: list[tuple[str, str]]) -> None:
        """Whatever the values of real parameters, there is a request or a refusal."""
        try:
            query = urlencode(pairs, quote_via=quote).encode()
        except UnicodeEncodeError:
            return
        with contextlib.suppress(Refusal):
            LIST(INBOX, query, b"")

    def test_pairs(self) -> None:
        """Pluses are spaces; empty pieces are nothing."""
        self.assertEqual(
            query_pairs(b"a=1+2&&b&c=%26"), [("a", "1 2"), ("b", ""), ("c", "&")]
        )


class RouteTests(SynchronousTestCase):
    def test_each_route_decodes(self) -> None:
        """Each path names fields of its request, and its decoder can be made."""
        for route in ROUTES:
            made = decoder(route, OPERATIONS[route.operation])
            self.assertEqual(len(made.path), route.path.count("{"))
