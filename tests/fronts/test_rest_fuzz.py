"""Whatever is asked, the answer is one that the OpenAPI document announces."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any
from urllib.parse import quote, quote_from_bytes

from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest

from noinfra.fronts.catalogue import OPERATIONS
from noinfra.fronts.rest.calls import decoder
from noinfra.fronts.rest.dialect import Route
from noinfra.fronts.rest.examples import BODIES
from noinfra.fronts.rest.native import NATIVE, ROUTES
from noinfra.fronts.rest.openapi import describe
from tests.fakes.web_client import Response
from tests.fronts.rest_world import Caller, Place, RestTest

DOCUMENT = describe(NATIVE, "/")
EACH = 14
LEAKS = (b"Traceback", b"psycopg", b'File "', b"noinfra/", b"select ", b"LINE 1")

#: What is in a JSON text as it is: json.dumps would not write all of it.
RAW = (
    "9" * 400,
    "-" + "9" * 5000,
    "1e400",
    "1e-400",
    "NaN",
    "-Infinity",
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\u0000"',
    '"\\ud83e\\udd9c"',
    "[" * 2000 + "]" * 2000,
    '{"a":' * 2000 + "1" + "}" * 2000,
    '{"a":1,"a":2}',
    "0" * 30,
    "01",
    "'",
    "",
)
PLAIN: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 0.5, 1e308, -0.0),
    *("", " ", "\r\n", "a\r\nBcc: b@example.com", "\u202e", "\ufeff", "é" * 330),
    *("x" * 4001, "*", "%", "\\", "'; drop table inbox; --", "a@b", "@", '"', "\x7f"),
    *("2026-01-31T09:30:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60-12:00"),
    *([], [None], ["x"], ["a@example.com"] * 51, ["x"] * 1001, [[]], {}, {"": 1}),
    *({"n": 1.5, "i": 2**62, "s": "x"}, {"x" * 201: 1}, {"n": [1]}, {"n": None}),
    *("evt_" + "Z" * 26, "evt_" + "0" * 26, "msg_", "msg_" + "Z" * 26, "cus_\x01"),
)
TEXTS = st.one_of(
    st.sampled_from([value for value in PLAIN if isinstance(value, str)]),
    st.sampled_from([*map(str, (0, -1, 101, 2**63, 10**30, 1e300, "nan", "1e3"))]),
    st.text(max_size=20),
)
TOKENS = st.one_of(
    st.sampled_from(RAW),
    st.sampled_from(PLAIN).map(json.dumps),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda deeper: (
            st.lists(deeper, max_size=3)
            | st.dictionaries(st.text(max_size=5), deeper, max_size=3)
        ),
        max_leaves=6,
    ).map(json.dumps),
)
SEGMENTS = st.one_of(
    st.sampled_from(
        [
            *("%00", "a%00b", "%2F", "..%2F..%2Fetc", "%2e%2e", ".", "..", "%", "%zz"),
            *("%ff", "%c0%af", "%F0%9F%A6%9C", "a;b=c", "a:b", "+", "%2B", "%0d%0aX:y"),
            *("x" * 320, "x" * 321, "x" * 9000, "a@b", "@", "%22%22@x", "a@[1.2.3.4]"),
            *("%E2%80%AE", "%EF%BB%BF", "inb_", "msg_%01", "att_1-1-1", "att_-", "0"),
        ]
    ),
    st.binary(min_size=1, max_size=12).map(lambda octets: quote_from_bytes(octets, "")),
    st.text(min_size=1, max_size=8).map(lambda text: quote(text, safe="")),
)


@frozen
class Asked:
    """A request, as it is on the wire but for its key."""

    route: Route
    path: str
    body: bytes | None

    def __str__(self) -> str:
        return f"{self.route.method} {self.path[:300]} {(self.body or b'')[:300]!r}"


@st.composite
def asked(draw: st.DrawFn, route: Route, names: dict[str, str]) -> Asked:
    """A request to a route: good ids or odd ones, and a good body with odd fields."""
    path = route.path
    for name, known in names.items():
        good = st.just(quote(known, safe=""))
        # What is there is to stay there for the others.
        if f"{{{name}}}" in path:
            odd = route.method == "DELETE" or draw(st.integers(0, 4)) == 4
            path = path.replace(f"{{{name}}}", draw(SEGMENTS if odd else good))
    decode = decoder(route, OPERATIONS[route.operation])
    if decode.body is None:
        fields = st.sampled_from(decode.query or ("colour",))
        pairs = draw(st.lists(st.tuples(fields, TEXTS), max_size=2))
        query = "&".join(
            f"{name}={quote(value.encode(errors='replace'))}" for name, value in pairs
        )
        return Asked(route, f"{path}?{query}", None)
    spelled = decode.body.__struct_encode_fields__ or ("colour",)
    body = {
        name: json.dumps(value)
        for name, value in BODIES.get(route.operation, {}).items()
        # What is made twice would clash, and who is suspended would send no more.
        if not name.endswith("Id") and name not in ("status", "defaultInboxUsername")
    }
    if "customerId" in decode.body.__struct_encode_fields__:
        body["customerId"] = json.dumps(names["customerId"])
    changes = draw(st.dictionaries(st.sampled_from(spelled), TOKENS, max_size=1))
    text = ",".join(f'"{name}":{value}' for name, value in {**body, **changes}.items())
    return Asked(route, path, f"{{{text}}}".encode(errors="surrogatepass"))


def gathered(strategy: st.SearchStrategy[Asked], count: int) -> list[Asked]:
    """Some values, ahead: what awaits an answer cannot be called by Hypothesis."""
    found: list[Asked] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def gather(value: Asked) -> None:
        found.append(value)

    gather()
    return found


def operation(route: Route) -> Any:
    """What the document says of a route."""
    path = route.path.replace("/v1/pods", "/v1/deployments")
    path = path.replace("/messages/send", "/messages")
    path = "/v1/health" if path == "/health" else path
    return DOCUMENT["paths"][path][route.method.lower()]


def announced(route: Route) -> set[str]:
    """The statuses that the document announces for a route."""
    return set(operation(route)["responses"])


def validator(schema: Any) -> Any:
    """What finds where a value differs from a schema."""
    try:
        jsonschema = import_module("jsonschema")
    except ImportError as error:
        raise SkipTest("jsonschema is not installed") from error
    return jsonschema.Draft202012Validator(schema)


class FuzzTests(RestTest):
    """Requests that no client of good will would send."""

    async def setUp(self) -> None:
        await super().setUp()
        self.place: Place = await self.customer("fuzz")

    def assertWell(self, answer: Response, request: object) -> None:
        """The answer is no bug of ours, and shows nothing of how it was made."""
        self.assertLess(answer.status, 500, f"{request}: {answer.body[:300]!r}")
        for leak in LEAKS:
            self.assertNotIn(leak, answer.body, request)
        if answer.status >= 400 and answer.body:
            error = answer.json()["error"]
            self.assertEqual(set(error) - {"details"}, {"code", "message", "requestId"})
            self.assertLess(len(answer.body), 2500, request)

    def assertDescribed(self, route: Route, answer: Response) -> None:
        """The answer has the form that the document describes."""
        described: Any = operation(route)["responses"][str(answer.status)]
        if "$ref" in described:
            name = described["$ref"].rpartition("/")[2]
            described = DOCUMENT["components"]["responses"][name]
        content = described.get("content", {}).get("application/json")
        if content is None or not answer.body:
            return
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        errors = validator(schema).iter_errors(answer.json())
        self.assertEqual([error.message for error in errors], [], route)

    async def test_requests(self) -> None:
        """Odd ids, queries and bodies are refused as announced, and never a 500."""
        for route in ROUTES:
            statuses = announced(route)
            for each in gathered(asked(route, self.place.names), EACH):
                answer = await self.root.ask(route.method, each.path, each.body)
                self.assertWell(answer, each)
                self.assertIn(str(answer.status), statuses, f"{each} {answer.body!r}")
                self.assertDescribed(route, answer)

    async def test_bodies(self) -> None:
        """A body that is no JSON object is 400, however it is wrong."""
        good = b'{"name": "x"}'
        for body in (
            b"[]",
            b"null",
            b'"x"',
            b"{",
            b"\xff",
            b"\xef\xbb\xbf" + good,
            good.decode().encode("utf-16"),
            good + b"x",
            b'{"name": "x", "colour": "red"}',
            good + b"\0",
            b'{"name": "\xed\xa0\x80"}',
            b'{"name": "x", "name": 1}',
            b'{"name": "x\\u0000"}',
            b'{"na\\u006de": 1}',
            b"[" * 500_000,
            b'{"metadata": {"a": ' + b"[" * 500_000,
            b'{"name": "' + b"x" * 900_000 + b'"}',
            b'{"metadata": {' + b'"a":' * 200_000,
        ):
            answer = await self.root.ask("POST", "/v1/customers", body)
            self.assertWell(answer, body[:50])
            self.assertIn(answer.status, (400, 413), body[:50])

    async def test_heads(self) -> None:
        """Odd header fields change nothing, or are 400."""
        path = self.place.messages
        body = {"to": ["a@example.com"], "text": "x"}
        for name, value in (
            ("Idempotency-Key", "ü\ud7ff"),
            ("Idempotency-Key", " "),
            ("Idempotency-Key", "\x01\x7f"),
            ("Idempotency-Key", "x" * 257),
            ("If-None-Match", '*, W/"", "'),
            ("Range", "bytes=" + "9" * 400 + "-"),
            ("Content-Type", "application/json; charset=utf-16"),
            ("Content-Type", "text/plain"),
            ("Content-Encoding", "gzip"),
            ("Origin", "null"),
            ("Expect", "200-maybe"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "9" * 5000),
            ("Content-Length", "-1"),
            ("Cookie", "a=b; " * 2000),
        ):
            if name in ("Content-Length", "Transfer-Encoding"):
                octets = (
                    f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    f"Authorization: Bearer {self.root.key}\r\n"
                    f"{name}: {value}\r\n\r\nzz\r\n"
                ).encode()
                answer = await self.raw(octets)
            else:
                more = {name.replace("-", "_"): value}
                answer = await self.root.ask("POST", path, body, **more)
            self.assertWell(answer, (name, value[:50]))
            self.assertIn(answer.status, (202, 400, 413, 415), (name, value[:50]))

    async def raw(self, octets: bytes) -> Response:
        """An answer that may be the channel's own, without a body."""
        return await self.root.raw(octets)

    async def test_paths(self) -> None:
        """Odd paths lead nowhere: 404, 405 or 400, and never beside a route."""
        inbox = self.place.inbox
        for method, path in (
            ("GET", "//v1/inboxes"),
            ("GET", "/v1//inboxes"),
            ("GET", "/v1/inboxes/"),
            ("GET", "/v1/inboxes//messages"),
            ("GET", "/v1/customers/../inboxes"),
            ("GET", f"/v1/inboxes%2F{inbox}"),
            ("GET", f"/v1/inboxes/{inbox}%2Fmessages"),
            ("GET", f"/v1/inboxes/{inbox}/messages/%2e%2e"),
            ("GET", f"/v1/inboxes/{inbox};x/messages"),
            ("GET", f"/v1/inboxes/{inbox}%00"),
            ("GET", "/%00"),
            ("GET", "/" + "a/" * 8_000),
            ("GET", "/" + "%41" * 5_000),
            ("GET", "http://elsewhere.example/v1/inboxes"),
            ("GET", "/v1/inboxes#x"),
            ("PUT", "/v1/inboxes"),
            ("TRACE", "/v1/inboxes"),
            ("CONNECT", "example.com:25"),
            ("BREW", "/v1/inboxes"),
            ("get", "/v1/inboxes"),
            ("DELETE", "/v1/inboxes"),
        ):
            answer = await self.root.ask(method, path)
            self.assertWell(answer, (method, path[:60]))
            self.assertIn(answer.status, (400, 404, 405), (method, path[:60]))

    async def test_limits(self) -> None:
        """A page has 1 to 100 items, and of events 1 to 1000."""
        lists = {route.path: route for route in ROUTES if ".list" in route.operation}
        for path, route in lists.items():
            most = 1000 if route.operation == "events.list" else 100
            for limit, status in (
                ("0", 400),
                ("1", 200),
                (str(most), 200),
                (str(most + 1), 400),
                ("-1", 400),
                ("x", 400),
                ("", 400),
                ("1.5", 400),
                (str(2**64), 400),
            ):
                here = self.place.path(route)
                answer = await self.root.ask("GET", f"{here}?limit={limit}")
                self.assertEqual(answer.status, status, (path, limit))

    async def test_times(self) -> None:
        """A time is read, in its zone, or refused; so is one that cannot be."""
        for time, status in (
            ("2026-01-31T09:30:00Z", 200),
            ("2026-01-31T09:30:00%2B01:00", 200),
            ("0001-01-01T00:00:00%2B23:59", 200),
            ("9999-12-31T23:59:59.999999-23:59", 200),
            ("2026-01-31T09:30:00", 400),
            ("2026-02-31T09:30:00Z", 400),
            ("9999-12-31T23:59:60Z", 400),
            ("253402300800", 400),
            ("1e400", 400),
            ("nan", 400),
            ("", 400),
        ):
            for path in (
                self.place.messages,
                f"/v1/inboxes/{self.place.inbox}/threads",
            ):
                for name in ("before", "after"):
                    answer = await self.root.ask("GET", f"{path}?{name}={time}")
                    self.assertEqual(answer.status, status, (path, name, time))

    async def test_cursors(self) -> None:
        """What is no cursor of a list is 400 there."""
        cursors = {
            "/v1/customers": self.place.customer,
            "/v1/deployments": self.place.deployment,
            "/v1/agents": self.place.agent,
            "/v1/inboxes": self.place.inbox,
            "/v1/api-keys": self.place.key,
            self.place.messages: self.place.message,
            "/v1/events": "evt_" + "0" * 26,
        }
        for path in cursors:
            for other, cursor in cursors.items():
                answer = await self.root.ask("GET", f"{path}?cursor={cursor}")
                expected = 200 if path == other else 400
                self.assertEqual(answer.status, expected, (path, cursor))
            for wrong in ("", "x", "%FF", "evt_x", "msg_" + "0" * 90, "ü"):
                answer = await self.root.ask("GET", f"{path}?cursor={wrong}")
                self.assertWell(answer, wrong)
                self.assertEqual(answer.status, 400, (path, wrong))

    async def test_confined(self) -> None:
        """A confined key's odd requests are refused as announced, too."""
        caller: Caller = await self.caller(
            customer_id=self.place.customer, inbox_id=self.place.inbox
        )
        for route in ROUTES:
            for each in gathered(asked(route, self.place.names), 4):
                answer = await caller.ask(route.method, each.path, each.body)
                self.assertWell(answer, each)
                self.assertIn(str(answer.status), announced(route), str(each))
