"""Nothing crosses a tenant, and no key reaches beyond its bounds, on any route."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import product
from typing import Any

from attrs import evolve, frozen
from twisted.internet.task import deferLater

from noinfra.app.access import PERMISSIONS
from noinfra.fronts.catalogue import CATALOGUE, LIVE, OPERATIONS
from noinfra.fronts.rest.dialect import Route
from noinfra.fronts.rest.examples import BODIES
from noinfra.fronts.rest.native import ROUTES
from tests.app.world import mail, until
from tests.fakes.web_client import Connection, Response, request
from tests.fronts.rest_world import Caller, Place, RestTest, elsewhere
from tests.fronts.test_websocket import Peer, masked
from tests.postgres import reactor

NEEDY = [route for route in ROUTES if OPERATIONS[route.operation].permission]
STREAM, SOCKET = "/v1/events/stream", "/v1/events/ws"
#: Only a root key makes and deletes customers.
FOR_ROOT = ("customers.create", "customers.delete")
#: The order in which what is deleted is there still.
DELETED = (
    "messages.delete",
    "threads.delete",
    "inboxes.removePassword",
    "keys.revoke",
    "inboxes.delete",
    "agents.delete",
    "deployments.delete",
    "customers.delete",
)


def said(route: Route, place: Place) -> dict[str, Any] | None:
    """A body that asks for something at a place; None where there is none."""
    if route.method in ("GET", "DELETE"):
        return None
    made_there: dict[str, dict[str, Any]] = {
        "agents.update": {"name": "x"},
        "deployments.create": {"name": "x", "customerId": place.customer},
        "agents.create": {"name": "x", "deploymentId": place.deployment},
        "inboxes.create": {"agentId": place.agent},
        "keys.create": {"name": "x", "inboxId": place.inbox, "preset": "read-only"},
    }
    return made_there.get(route.operation) or BODIES[route.operation]


async def ask(caller: Caller, route: Route, place: Place) -> Response:
    """Ask a route for something at a place."""
    return await caller.ask(route.method, place.path(route), said(route, place))


@frozen(kw_only=True)
class Houses:
    """Two customers, one with two deployments, one of these with two inboxes."""

    ours: Place
    sibling: Place
    cousin: Place
    theirs: Place


class TenantTest(RestTest):
    """Whose keys are tried at whose things."""

    async def setUp(self) -> None:
        await super().setUp()
        ours = await self.customer("ours")
        key = self.with_key(ours.secret)
        self.houses = Houses(
            ours=ours,
            sibling=await self.inbox("sibling", ours.customer, ours.deployment, key),
            cousin=await self.deployment("cousin", ours.customer, key),
            theirs=await self.customer("theirs"),
        )
        self.wide = await self.caller(customer_id=ours.customer)
        self.of_deployment = await self.caller(
            customer_id=ours.customer, deployment_id=ours.deployment
        )
        self.of_inbox = await self.caller(
            customer_id=ours.customer, inbox_id=ours.inbox
        )

    async def state(self, column: str, value: str) -> dict[str, str]:
        """A digest of all that every table has of something."""
        on = self.database.single(None)
        tables = await on.rows(
            "select table_name from information_schema.columns"
            " where column_name = %(column)s and table_schema = 'public'",
            column=column,
        )
        return {
            table: await on.value(
                # That a key is used is noted, whatever it is good for.
                f"with t as (select (to_jsonb({table}) - 'last_used_at')::text as t"
                f" from {table} where {column} = %(value)s)"
                " select md5(coalesce(string_agg(t, '' order by t), '')) from t",
                value=value,
            )
            for (table,) in tables
        }

    def assertTellsNothing(self, answer: Response, place: Place, asked: str) -> None:
        """The answer holds nothing of a place but what the question named."""
        body = answer.body.decode()
        for secret in place.ids - {each for each in place.ids if each in asked}:
            self.assertNotIn(secret, body)
        if place.mark not in asked:
            self.assertNotIn(place.mark, body)


class RouteTests(TenantTest):
    async def test_root(self) -> None:
        """A root key may do all of it: what others are refused is there."""
        place = self.houses.theirs
        routes = [route for route in NEEDY if not route.alias]
        for route in routes:
            if route.operation not in DELETED:
                answer = await ask(self.root, route, place)
                self.assertLess(answer.status, 300, (route, answer.body))
        by_name = {route.operation: route for route in routes}
        for name in DELETED:
            answer = await ask(self.root, by_name[name], place)
            self.assertEqual(answer.status, 204, name)

    async def test_no_key(self) -> None:
        """Without a key, with a wrong one, and with one of a wrong form: 401."""
        secrets = (None, "wrong", "nim_live_" + "A" * 43, "ü", "x" * 600)
        for number, (route, secret) in enumerate(product(NEEDY, secrets)):
            caller = elsewhere(self.with_key(secret), number)
            answer = await ask(caller, route, self.houses.ours)
            self.assertEqual((answer.status, answer.code), (401, "unauthorized"), route)
            self.assertIn("www-authenticate", answer.headers)

    async def test_another_customer(self) -> None:
        """A key of another customer meets 404, or an empty list, and changes nothing."""
        place, theirs = self.houses.ours, self.houses.theirs
        caller = await self.caller(customer_id=theirs.customer)
        before = await self.state("customer_id", place.customer)
        for route in NEEDY:
            answer = await ask(caller, route, place)
            asked = place.path(route) + json.dumps(said(route, place))
            self.assertTellsNothing(answer, place, asked)
            if route.operation in FOR_ROOT:
                self.assertEqual(answer.status, 403, route)
            elif any(each in asked for each in place.ids):
                self.assertEqual(
                    (answer.status, answer.code), (404, "not_found"), route
                )
            else:
                self.assertEqual(answer.status, 200, route)
        self.assertEqual(await self.state("customer_id", place.customer), before)

    async def test_no_oracle(self) -> None:
        """What is another's, and what nobody has, are told apart by nothing."""
        place = self.houses.ours
        names = {name: value[:-6] + "ZZZZZZ" for name, value in place.names.items()}
        invented = evolve(
            place,
            **{name.removesuffix("Id"): value for name, value in names.items()},
        )
        caller = self.with_key(self.houses.theirs.secret)
        for route in NEEDY:
            texts = []
            for named in (place, invented):
                answer = await ask(caller, route, named)
                text = answer.body.decode()
                for each in named.ids:
                    text = text.replace(each, "…")
                texts.append((answer.status, re.sub("req_[0-9a-f]{16}", "", text)))
            if texts[0][0] >= 300:
                self.assertEqual(texts[0], texts[1], route)

    async def test_mixed_paths(self) -> None:
        """What is another's is not below what is one's own, either."""
        place = self.houses.ours
        before = await self.state("customer_id", place.customer)
        for caller, own in (
            (self.with_key(self.houses.theirs.secret), self.houses.theirs),
            (self.of_inbox, self.houses.ours),
        ):
            other = self.houses.sibling if caller is self.of_inbox else place
            for route in NEEDY:
                if not route.path.startswith("/v1/inboxes/{inboxId}/"):
                    continue
                path = own.path(route)
                for mine, foreign in (
                    (own.message, other.message),
                    (own.thread, other.thread),
                ):
                    if mine in path:
                        mixed = path.replace(mine, foreign)
                        body = said(route, own)
                        answer = await caller.ask(route.method, mixed, body)
                        self.assertEqual(answer.status, 404, (route, answer.body))
                        self.assertTellsNothing(answer, other, mixed)
        self.assertEqual(await self.state("customer_id", place.customer), before)

    async def test_another_deployment(self) -> None:
        """A key of another deployment meets 404, or 403 where it is wider than one."""
        place = self.houses.cousin
        before = await self.state("deployment_id", place.deployment)
        wider = (*FOR_ROOT, "customers.list", "customers.get", "customers.update")
        for route in NEEDY:
            answer = await ask(self.of_deployment, route, place)
            asked = place.path(route) + json.dumps(said(route, place))
            self.assertTellsNothing(answer, place, asked + place.customer)
            if route.operation in (*wider, "deployments.create", "deployments.delete"):
                self.assertEqual(answer.status, 403, route)
            elif any(each in asked for each in place.ids):
                self.assertEqual(answer.status, 404, (route, answer.body))
            else:
                self.assertEqual(answer.status, 200, route)
        self.assertEqual(await self.state("deployment_id", place.deployment), before)

    async def test_another_inbox(self) -> None:
        """A key of another inbox meets 404, or 403 where it is wider than an inbox."""
        place = self.houses.sibling
        before = await self.state("inbox_id", place.inbox)
        for route in NEEDY:
            answer = await ask(self.of_inbox, route, place)
            asked = place.path(route) + json.dumps(said(route, place))
            known = place.customer + place.deployment
            self.assertTellsNothing(answer, place, asked + known)
            if route.path.startswith("/v1/inboxes/{inboxId}"):
                self.assertEqual(answer.status, 404, (route, answer.body))
            elif route.operation in ("inboxes.list", "keys.list", "events.list"):
                self.assertEqual(answer.status, 200, route)
            else:
                self.assertIn(answer.status, (403, 404), (route, answer.body))
        self.assertEqual(await self.state("inbox_id", place.inbox), before)

    async def test_no_permission(self) -> None:
        """A key with every permission but the route's meets 403, whatever it names."""
        place = self.houses.ours
        needed = {one.permission for one in CATALOGUE if one.permission}
        callers = {
            permission: await self.caller(
                customer_id=place.customer, permissions=PERMISSIONS - {permission}
            )
            for permission in needed
        }
        for route in NEEDY:
            permission = OPERATIONS[route.operation].permission
            assert permission is not None
            for named in (place, self.houses.theirs):
                answer = await ask(callers[permission], route, named)
                self.assertEqual((answer.status, answer.code), (403, "forbidden"))
                details = answer.json()["error"]["details"]
                self.assertEqual(details, {"permission": permission})
        stream = await callers[LIVE].ask("GET", STREAM)
        self.assertEqual(stream.status, 403)

    async def test_revoked(self) -> None:
        """A revoked key meets 401 at once, on each route; a kept answer helps nobody."""
        place = self.houses.ours
        made = await self.root.post(
            "/v1/api-keys",
            {"name": "k", "customerId": place.customer, "preset": "operator"},
        )
        caller = self.with_key(made["key"])
        kept = await caller.ask("GET", place.messages)
        self.assertEqual(kept.status, 200)
        gone = await caller.ask("DELETE", f"/v1/api-keys/{made['id']}")
        self.assertEqual(gone.status, 204)
        again = await caller.ask(
            "GET", place.messages, If_None_Match=kept.headers["etag"]
        )
        self.assertEqual(again.status, 401)
        for number, route in enumerate(NEEDY):
            answer = await ask(elsewhere(caller, number), route, place)
            self.assertEqual(answer.status, 401, route)

    async def test_kept_answers(self) -> None:
        """An answer that is kept, or its tag, is for those who may read it."""
        place = self.houses.ours
        outside = (
            self.with_key(self.houses.theirs.secret),
            await self.caller(
                customer_id=place.customer, inbox_id=self.houses.sibling.inbox
            ),
            await self.caller(
                customer_id=place.customer,
                deployment_id=self.houses.cousin.deployment,
            ),
        )
        for path in (
            place.messages,
            f"{place.messages}/{place.message}",
            f"/v1/inboxes/{place.address}/threads",
            f"/v1/inboxes/{place.inbox}/threads/{place.thread}",
        ):
            kept = await self.wide.ask("GET", path)
            tag = kept.headers["etag"]
            again = await self.wide.ask("GET", path, If_None_Match=tag)
            self.assertEqual(again.status, 304)
            for caller in outside:
                for more in ({}, {"If_None_Match": tag}):
                    answer = await caller.ask("GET", path, **more)
                    self.assertEqual(answer.status, 404)
                    self.assertTellsNothing(answer, place, path)


class NamedTests(TenantTest):
    """Ids of others in bodies, queries and cursors."""

    async def test_queries(self) -> None:
        """A list that names what is another's is 404 or empty."""
        place = self.houses.ours
        caller = self.with_key(self.houses.theirs.secret)
        own = self.houses.theirs
        named = {
            "customerId": place.customer,
            "deploymentId": place.deployment,
            "agentId": place.agent,
            "inboxId": place.inbox,
            "threadId": place.thread,
            "externalId": f"external-{place.mark}",
        }
        for path, names in (
            ("/v1/deployments", ["customerId"]),
            ("/v1/pods", ["customerId"]),
            ("/v1/agents", ["customerId", "deploymentId", "externalId"]),
            ("/v1/inboxes", ["customerId", "deploymentId", "agentId"]),
            ("/v1/api-keys", ["customerId"]),
            (own.messages, ["threadId"]),
            (
                "/v1/events",
                ["customerId", "deploymentId", "agentId", "inboxId", "threadId"],
            ),
        ):
            for name in names:
                answer = await caller.ask("GET", f"{path}?{name}={named[name]}")
                self.assertIn(answer.status, (200, 404), (path, name))
                if answer.status == 200:
                    page: dict[str, object] = {"data": [], "nextCursor": None}
                    self.assertEqual(answer.json(), page, (path, name))
                if name in ("customerId", "inboxId"):
                    self.assertEqual(answer.status, 404, (path, name))

    async def test_cursors(self) -> None:
        """A cursor of another's list shows one's own things alone."""
        place, own = self.houses.ours, self.houses.theirs
        caller = self.with_key(own.secret)
        events = await self.with_key(place.secret).get("/v1/events")
        inbox = f"/v1/inboxes/{own.inbox}"
        for path, cursor in (
            ("/v1/customers", place.customer),
            ("/v1/deployments", place.deployment),
            ("/v1/agents", place.agent),
            ("/v1/inboxes", place.inbox),
            ("/v1/api-keys", place.key),
            (f"{inbox}/messages", place.message),
            (f"{inbox}/threads", place.message),
            ("/v1/events", events["data"][0]["id"]),
        ):
            for query in (f"cursor={cursor}", f"cursor={cursor}&ascending=true"):
                answer = await caller.ask("GET", f"{path}?{query}")
                self.assertIn(answer.status, (200, 400), path)
                self.assertTellsNothing(answer, place, query)

    async def test_names_of_others(self) -> None:
        """A clientId, an externalId and an Idempotency-Key are each customer's own."""
        caller = self.with_key(self.houses.theirs.secret)
        ours = self.with_key(self.houses.ours.secret)
        await ours.post("/v1/inboxes", {"clientId": "same"})
        body = {"to": ["a@example.com"], "text": "x"}
        await ours.post(self.houses.ours.messages, body, Idempotency_Key="same")
        for path, wanted, status in (
            ("/v1/deployments", {"name": "x", "clientId": "client-ours"}, 201),
            ("/v1/agents", {"name": "x", "externalId": "external-ours"}, 201),
            ("/v1/inboxes", {"clientId": "same"}, 201),
            (self.houses.theirs.messages, body, 202),
        ):
            more = {"Idempotency_Key": "same"} if wanted is body else {}
            made = await caller.ask("POST", path, wanted, **more)
            self.assertEqual(made.status, status, path)
            self.assertEqual(made.json()["customerId"], self.houses.theirs.customer)
            self.assertTellsNothing(made, self.houses.ours, json.dumps(wanted))

    async def test_names_beyond_bounds(self) -> None:
        """A clientId or externalId of another deployment answers nothing of it."""
        cousin = self.houses.cousin
        await self.wide.post("/v1/inboxes", {"agentId": cousin.agent, "clientId": "c"})
        for path, wanted in (
            ("/v1/agents", {"name": "x", "externalId": "external-cousin"}),
            ("/v1/inboxes", {"clientId": "c"}),
        ):
            answer = await self.of_deployment.ask("POST", path, wanted)
            self.assertEqual(answer.status, 404, path)
            self.assertTellsNothing(answer, cousin, cousin.customer)

    async def test_bodies(self) -> None:
        """Nothing is made at another's, nor partly at another's."""
        ours, theirs = self.houses.ours, self.houses.theirs
        cousin = self.houses.cousin
        caller = await self.caller(customer_id=theirs.customer)
        before = await self.state("customer_id", ours.customer)
        foreign = {
            "customerId": ours.customer,
            "deploymentId": ours.deployment,
            "agentId": ours.agent,
            "inboxId": ours.inbox,
        }
        own = {
            "customerId": theirs.customer,
            "deploymentId": theirs.deployment,
            "agentId": theirs.agent,
            "inboxId": theirs.inbox,
        }
        for path, names in (
            ("/v1/deployments", ["customerId"]),
            ("/v1/agents", ["customerId", "deploymentId"]),
            ("/v1/inboxes", ["customerId", "deploymentId", "agentId"]),
            ("/v1/api-keys", ["customerId", "deploymentId", "inboxId"]),
        ):
            base = {"preset": "read-only"} if path == "/v1/api-keys" else {}
            named = {} if path == "/v1/inboxes" else {"name": "x"}
            for name in names:
                for rest in (set(), set(names) - {name}):
                    body = {
                        **base,
                        **named,
                        name: foreign[name],
                        **{each: own[each] for each in rest},
                    }
                    for asking in (caller, self.root if rest else caller):
                        answer = await asking.ask("POST", path, body)
                        self.assertEqual(answer.status, 404, (path, body))
        for path, body in (
            ("/v1/agents", {"name": "x", "deploymentId": cousin.deployment}),
            ("/v1/inboxes", {"agentId": cousin.agent}),
            ("/v1/inboxes", {"deploymentId": cousin.deployment}),
            (
                "/v1/inboxes",
                {"agentId": cousin.agent, "deploymentId": ours.deployment},
            ),
        ):
            answer = await self.of_deployment.ask("POST", path, body)
            self.assertEqual(answer.status, 404, (path, body))
        self.assertEqual(await self.state("customer_id", ours.customer), before)

    async def test_lists(self) -> None:
        """The lists of a key show what is within its bounds, and all of that."""
        house = self.houses
        await self.wide.post("/v1/inboxes", {"agentId": house.ours.agent})
        events = (await self.wide.get("/v1/events", limit=1000))["data"]
        ours, theirs = house.ours.customer, house.theirs.customer
        self.assertEqual({one["customerId"] for one in events}, {ours})
        for caller, deployments, agents, inboxes in (
            (
                self.of_deployment,
                {house.ours.deployment},
                {house.ours.agent, house.sibling.agent},
                lambda one: one["deploymentId"] == house.ours.deployment,
            ),
            (self.of_inbox, None, None, lambda one: one["id"] == house.ours.inbox),
        ):
            everything = (await self.wide.get("/v1/inboxes"))["data"]
            self.assertEqual(
                (await caller.get("/v1/inboxes"))["data"],
                [one for one in everything if inboxes(one)],
            )
            for path, wanted in (
                ("/v1/deployments", deployments),
                ("/v1/agents", agents),
            ):
                answer = await caller.ask("GET", path)
                if wanted is None:
                    self.assertIn(answer.status, (403, 404))
                else:
                    found = {one["id"] for one in answer.json()["data"]}
                    self.assertEqual(found, wanted)
            self.assertEqual((await caller.ask("GET", "/v1/customers")).status, 403)
        within = [one for one in events if one["deploymentId"] == house.ours.deployment]
        seen = (await self.of_deployment.get("/v1/events", limit=1000))["data"]
        self.assertEqual(seen, within)
        within = [one for one in events if one["inboxId"] == house.ours.inbox]
        seen = (await self.of_inbox.get("/v1/events", limit=1000))["data"]
        self.assertEqual(seen, within)
        for key in (await self.of_inbox.get("/v1/api-keys"))["data"]:
            self.assertEqual(key["inboxId"], house.ours.inbox)
        for key in (await self.of_deployment.get("/v1/api-keys"))["data"]:
            self.assertEqual(key["deploymentId"], house.ours.deployment)
        for key in (await self.wide.get("/v1/api-keys"))["data"]:
            self.assertEqual(key["customerId"], ours)
        self.assertEqual(await self.wide.ids("/v1/customers"), [ours])
        self.assertIn(theirs, await self.root.ids("/v1/customers"))


class KeyTests(TenantTest):
    """Keys never widen."""

    async def test_bounds(self) -> None:
        """Whatever a maker names, the new key sees no more than the maker does."""
        house = self.houses
        others = (house.ours, house.sibling, house.cousin, house.theirs)
        for maker in (self.wide, self.of_deployment, self.of_inbox, self.root):
            bounds = await self.app.keys.authenticate(maker.key or "")
            visible = set(await maker.ids("/v1/inboxes"))
            made = 0
            for customer, deployment, inbox in product(
                (None, house.ours.customer, house.theirs.customer),
                (None, *dict.fromkeys(one.deployment for one in others)),
                (None, *(one.inbox for one in others)),
            ):
                body = {
                    "name": "x",
                    "customerId": customer,
                    "deploymentId": deployment,
                    "inboxId": inbox,
                    "permissions": ["inboxes:read"],
                }
                answer = await maker.ask("POST", "/v1/api-keys", body)
                self.assertIn(answer.status, (201, 404), body)
                if answer.status == 404:
                    continue
                made += 1
                key = answer.json()
                for bound, field in (
                    (bounds.customer_id, "customerId"),
                    (bounds.deployment_id, "deploymentId"),
                    (bounds.inbox_id, "inboxId"),
                ):
                    self.assertIn(bound, (None, key[field]), body)
                    if body[field] is not None:
                        self.assertEqual(key[field], body[field])
                seen = set(await self.with_key(key["key"]).ids("/v1/inboxes"))
                self.assertLessEqual(seen, visible, body)
                self.assertTrue(seen, body)
            self.assertGreater(made, 1)

    async def test_permissions(self) -> None:
        """A key gives what it holds, by name and by preset, and a child no more."""
        held = frozenset(("keys:create", "messages:read", "inboxes:read"))
        maker = await self.caller(
            customer_id=self.houses.ours.customer, permissions=held
        )
        beyond: tuple[dict[str, object], ...] = (
            {"permissions": ["messages:read", "messages:send"]},
            {"permissions": ["messages:read"], "preset": "read-only"},
            {"preset": "runtime"},
            {"preset": "operator"},
            {"permissions": ["customers:create"]},
        )
        for wanted in beyond:
            answer = await maker.ask("POST", "/v1/api-keys", {"name": "x", **wanted})
            self.assertEqual(answer.status, 403, wanted)
        wrong: tuple[dict[str, object], ...] = (
            {"permissions": ["everything"]},
            {"permissions": ["*"]},
            {"permissions": []},
            {},
            {"preset": "root"},
            {"preset": "runtime", "key": "nim_live_mine"},
        )
        for wanted in wrong:
            answer = await maker.ask("POST", "/v1/api-keys", {"name": "x", **wanted})
            self.assertEqual(answer.status, 400, wanted)
        child = await maker.post(
            "/v1/api-keys", {"name": "x", "permissions": ["keys:create"]}
        )
        self.assertEqual(child["customerId"], self.houses.ours.customer)
        answer = await self.with_key(child["key"]).ask(
            "POST", "/v1/api-keys", {"name": "x", "permissions": ["messages:read"]}
        )
        self.assertEqual(answer.status, 403)

    async def test_revoking(self) -> None:
        """A key ends keys within its bounds alone; of the wider ones it knows nothing."""
        root = await self.root.ids("/v1/api-keys")
        for caller in (self.of_inbox, self.of_deployment, self.wide):
            mine = set(await caller.ids("/v1/api-keys"))
            for key_id in root:
                if key_id in mine:
                    continue
                for method in ("GET", "DELETE"):
                    answer = await caller.ask(method, f"/v1/api-keys/{key_id}")
                    self.assertEqual(answer.status, 404)
        for key in (await self.root.get("/v1/api-keys", limit=100))["data"]:
            self.assertIsNone(key["revokedAt"])


class LiveTests(TenantTest):
    """The WebSocket and the stream of events."""

    async def setUp(self) -> None:
        await super().setUp()
        await self.listen()

    def bearer(self, caller: Caller) -> dict[str, str]:
        return {"Authorization": f"Bearer {caller.key}" if caller.key else ""}

    def socket(self, caller: Caller, query: str = "") -> Peer:
        """An open WebSocket."""
        site: Any = self
        peer = Peer(site, f"{SOCKET}?{query}", **self.bearer(caller))
        self.addCleanup(peer.lose)
        return peer

    def stream(self, caller: Caller, query: str = "") -> Connection:
        """An open stream of events."""
        connection = Connection(self.site)
        self.addCleanup(connection.lose)
        octets = request("GET", f"{STREAM}?{query}", secret=caller.key)
        connection.send(octets)
        return connection

    async def begun(self, stream: Connection) -> None:
        """Wait until a stream of events has told its cursor."""
        await until(lambda: b"id: " in stream.transport.value())

    async def closed(self, peer: Peer) -> int:
        """The code that a WebSocket is closed with."""
        codes: list[int] = []

        def look() -> bool:
            code = peer.closed()
            codes.extend([] if code is None else [code])
            return bool(codes)

        await until(look)
        # The answer of a client, without which the server waits for a while.
        peer.raw(masked(codes[0].to_bytes(2, "big"), opcode=8))
        return codes[0]

    async def told(self, peer: Peer, type: str) -> Any:
        """The next thing of a type that a WebSocket tells."""
        found: list[Any] = []

        def look() -> bool:
            found.extend(one for one in peer.told() if one["type"] == type)
            return bool(found)

        await until(look)
        return found[0]

    async def test_refused(self) -> None:
        """Each front refuses as a route does, by a status or by a close code."""
        place = self.houses.ours
        nobody = self.with_key(None)
        theirs = self.with_key(self.houses.theirs.secret)
        silent = await self.caller(
            customer_id=place.customer, permissions=PERMISSIONS - {LIVE}
        )
        for caller, query, status in (
            (nobody, "", 401),
            (self.with_key("wrong"), "", 401),
            (nobody, "api_key=wrong", 401),
            (silent, "", 403),
            (theirs, f"inboxId={place.inbox}", 404),
            (theirs, f"inboxId={place.address}", 404),
            (theirs, f"customerId={place.customer}", 404),
            (self.of_inbox, f"inboxId={self.houses.sibling.inbox}", 404),
            (self.of_deployment, f"inboxId={self.houses.cousin.inbox}", 404),
            (
                self.of_deployment,
                f"deploymentId={self.houses.cousin.deployment}",
                404,
            ),
        ):
            peer, stream = self.socket(caller, query), self.stream(caller, query)
            self.assertEqual(await self.closed(peer), 4000 + status, query)
            await until(stream.transport.value)
            self.assertEqual(stream.answer().status, status, query)

    async def test_bounds(self) -> None:
        """A reader is told of what lies within its key's bounds, however it asks."""
        house = self.houses
        places = (house.ours, house.sibling, house.cousin, house.theirs)
        start = (await self.root.get("/v1/events", limit=1000))["data"][0]["id"]
        readers: list[tuple[Caller, str, Sequence[Place]]] = [
            (self.wide, "", places[:3]),
            (self.wide, f"after={start}", places[:3]),
            (self.wide, f"deploymentId={house.theirs.deployment}", ()),
            (self.wide, f"agentId={house.theirs.agent}&after={start}", ()),
            (self.wide, f"threadId={house.theirs.thread}&after={start}", ()),
            (self.of_deployment, f"after={start}", places[:2]),
            (self.of_inbox, f"after={start}", places[:1]),
            (self.of_inbox, f"agentId={house.sibling.agent}&after={start}", ()),
        ]
        peers = [self.socket(caller, query) for caller, query, _ in readers]
        streams = [self.stream(caller, query) for caller, query, _ in readers]
        for peer, stream in zip(peers, streams, strict=True):
            await self.told(peer, "ready")
            await self.begun(stream)
        for place in (*places, house.ours):
            await self.receive(mail("News", to=place.address), place.address)
        for peer, stream, (_, _, seen) in zip(peers, streams, readers, strict=True):
            wanted = {one.inbox for one in seen}
            found: set[str] = set()

            def all_told(
                peer: Peer = peer, found: set[str] = found, wanted: set[str] = wanted
            ) -> bool:
                found.update(
                    told["event"]["inboxId"]
                    for told in peer.told()
                    if told["type"] == "event"
                    and told["event"]["type"] == "message.received"
                )
                return found >= wanted

            await until(all_told)
            await deferLater(reactor(), 0.05)
            all_told()
            self.assertEqual(found, wanted)
            text = stream.transport.value().decode()
            for place in places:
                self.assertEqual(place.inbox in text, place in seen)

    async def test_commands(self) -> None:
        """A WebSocket's commands reach no further than its key."""
        house = self.houses
        peer = self.socket(self.with_key(house.theirs.secret))
        ready = await self.told(peer, "ready")
        for filters in (
            {"inboxId": house.ours.inbox},
            {"customerId": house.ours.customer},
        ):
            for command in ("subscribe", "filters", "list"):
                peer.send({"type": command, "filters": filters})
                error = await self.told(peer, "error")
                self.assertEqual(error["code"], "not_found")
        peer.send({"type": "list", "filters": {"deploymentId": house.ours.deployment}})
        self.assertEqual((await self.told(peer, "list"))["events"], [])
        peer.send({"type": "list", "limit": 1000})
        events = (await self.told(peer, "list"))["events"]
        self.assertEqual({one["customerId"] for one in events}, {house.theirs.customer})
        self.assertTrue(ready["cursor"].startswith("evt_"))

    async def test_revoked(self) -> None:
        """With its key a reader's connection ends, at once."""
        made = await self.root.post(
            "/v1/api-keys",
            {
                "name": "k",
                "customerId": self.houses.ours.customer,
                "preset": "read-only",
            },
        )
        caller = self.with_key(made["key"])
        peer, stream = self.socket(caller), self.stream(caller)
        await self.told(peer, "ready")
        await self.begun(stream)
        await self.root.ask("DELETE", f"/v1/api-keys/{made['id']}")
        self.assertEqual(await self.closed(peer), 4401)
        await until(lambda: stream.transport.value().endswith(b"0\r\n\r\n"))

    async def test_gone(self) -> None:
        """With its customer a reader's key ends, and so does its connection."""
        theirs = self.houses.theirs
        peer = self.socket(self.with_key(theirs.secret))
        await self.told(peer, "ready")
        await self.root.ask("DELETE", f"/v1/customers/{theirs.customer}")
        self.assertEqual(await self.closed(peer), 4401)
