"""Every route of the native dialect, and every row of the catalogue."""

from __future__ import annotations

import inspect
import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.access import PERMISSIONS
from noinfra.app.application import App
from noinfra.fronts.catalogue import CATALOGUE, LIVE, OPERATIONS
from noinfra.fronts.rest.dialect import Route
from noinfra.fronts.rest.examples import BODIES, IDS
from noinfra.fronts.rest.native import ROUTES
from tests.fakes.web_app import SECRET
from tests.fakes.web_client import Client, Response

NEEDY = [route for route in ROUTES if OPERATIONS[route.operation].permission]


def ask(client: Client, route: Route, secret: str = SECRET) -> Response:
    """Make the call that the documentation shows."""
    path = route.path
    for name, value in IDS.items():
        path = path.replace(f"{{{name}}}", value)
    if route.method in ("GET", "DELETE"):
        return client.ask(route.method, path, secret=secret)
    body = json.dumps(BODIES[route.operation]).encode()
    return client.ask(route.method, path, body, secret=secret)


class CatalogueTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Each operation is there once, and some route asks for it."""
        names = [operation.name for operation in CATALOGUE]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual({route.operation for route in ROUTES}, set(names))

    def test_permissions(self) -> None:
        """Each operation needs a permission that there is; health alone needs none."""
        needed = {operation.permission for operation in CATALOGUE}
        self.assertEqual(needed - PERMISSIONS, {None})
        open_ = [one.name for one in CATALOGUE if one.permission is None]
        self.assertEqual(open_, ["health.check"])
        self.assertIn(LIVE, PERMISSIONS)

    def test_all_permissions_are_needed(self) -> None:
        """No permission is given that nothing asks for, but for what is to come."""
        needed = {operation.permission for operation in CATALOGUE}
        self.assertEqual(PERMISSIONS - needed, {"metrics:read"})

    def test_groups(self) -> None:
        """Each use case is a coroutine of the real application."""
        groups = inspect.get_annotations(App, eval_str=True)

        class Types:
            def __getattr__(self, name: str) -> object:
                return groups[name]

        for operation in CATALOGUE[:-1]:
            use_case = operation.call(Types())  # type: ignore[arg-type]
            self.assertTrue(inspect.iscoroutinefunction(use_case), operation.name)


class RouteTests(SynchronousTestCase):
    def test_each_answers(self) -> None:
        """Each route does what its form says, for the example that it shows."""
        client = Client()
        for route in ROUTES:
            with self.subTest(route=route):
                answer = ask(client, route)
                self.assertEqual(answer.status, route.form.statuses[0], answer.body)
                self.assertIn("ratelimit-limit", answer.headers)

    def test_each_without_key(self) -> None:
        """Each route but health is 401 without a key, and asks nothing."""
        client = Client()
        for route in NEEDY:
            answer = ask(client, route, secret="wrong")
            self.assertIn(answer.status, (401, 429), route)
            client.clock.advance(60)
        self.assertEqual(client.app.asked, [])

    def test_each_without_permission(self) -> None:
        """Each route is 403 for a key with every permission but its own."""
        client = Client()
        for route in NEEDY:
            permission = OPERATIONS[route.operation].permission
            client.app.keys.permissions = PERMISSIONS - {permission}
            answer = ask(client, route)
            self.assertEqual((answer.status, answer.code), (403, "forbidden"), route)
            self.assertEqual(
                answer.json()["error"]["details"], {"permission": permission}
            )
        self.assertEqual(client.app.asked, [])

    def test_each_with_its_permission_alone(self) -> None:
        """The one permission is enough for the frame."""
        client = Client()
        for route in NEEDY:
            permission = OPERATIONS[route.operation].permission
            assert permission is not None
            client.app.keys.permissions = frozenset((permission,))
            self.assertLess(ask(client, route).status, 300, route)

    def test_unknown_field(self) -> None:
        """Each body and each query refuses what it does not know, by name."""
        client = Client()
        for route in NEEDY:
            path = route.path
            for name, value in IDS.items():
                path = path.replace(f"{{{name}}}", value)
            if route.method in ("GET", "DELETE"):
                answer = client.ask(route.method, f"{path}?colour=red")
            else:
                body = {**BODIES[route.operation], "colour": "red"}
                answer = client.put(route.method, path, body)
            self.assertEqual((answer.status, answer.field), (400, "colour"), route)

    def test_there_already(self) -> None:
        """What was made before is 200, not 201 or 202."""
        client = Client()
        for name, path in (
            ("agents.create", "/v1/agents"),
            ("inboxes.create", "/v1/inboxes"),
            ("sending.send", "/v1/inboxes/inb_1/messages"),
        ):
            client.app.answers[name] = evolve(client.app.answers[name], created=False)
            body = {"name": "Support"} if name == "agents.create" else {}
            self.assertEqual(client.put("POST", path, body).status, 200)

    def test_inbox_by_address(self) -> None:
        """An inbox is named by its address, encoded or not."""
        client = Client()
        for path in ("support@agents.example", "support%40agents.example"):
            client.ask("GET", f"/v1/inboxes/{path}")
        names = [request.inbox_id for _, _, request in client.app.asked]
        self.assertEqual(names, ["support@agents.example"] * 2)

    def test_idempotency_key(self) -> None:
        """The header field comes to the use case."""
        client = Client()
        client.put("POST", "/v1/inboxes/a/messages", {}, Idempotency_Key="once")
        self.assertEqual(client.app.asked[0][2].idempotency_key, "once")
