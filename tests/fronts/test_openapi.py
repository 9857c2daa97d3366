from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from noinfra.fronts.catalogue import OPERATIONS
from noinfra.fronts.rest.calls import decoder
from noinfra.fronts.rest.docs import render_docs
from noinfra.fronts.rest.examples import BODIES, IDS
from noinfra.fronts.rest.native import NATIVE, ROUTES
from noinfra.fronts.rest.openapi import describe
from tests.fakes.web_client import Client


def references(node: Any) -> set[str]:
    """Every $ref below a node."""
    if isinstance(node, dict):
        here = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return here.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


class DocumentTests(SynchronousTestCase):
    document = describe(NATIVE, "https://mail.example")

    def test_valid(self) -> None:
        """It is an OpenAPI 3.1 document."""
        try:
            validator = import_module("openapi_spec_validator")
        except ImportError as error:
            raise SkipTest("openapi-spec-validator is not installed") from error
        validator.validate(self.document)

    def test_references(self) -> None:
        """Nothing refers to what is not there."""
        for reference in references(self.document):
            node = self.document
            for part in reference.removeprefix("#/").split("/"):
                self.assertIn(part, node, reference)
                node = node[part]

    def test_all_routes(self) -> None:
        """Each route but the aliases is there, under a name of its own."""
        operations = [
            item for path in self.document["paths"].values() for item in path.values()
        ]
        names = [operation["operationId"] for operation in operations]
        self.assertEqual(len(names), len(set(names)))
        routes = [route for route in ROUTES if not route.alias]
        self.assertEqual(len(names), len(routes) + 2)
        for route in routes:
            self.assertIn(route.method.lower(), self.document["paths"][route.path])

    def test_parameters(self) -> None:
        """A field is in the path, the query or the body, and nowhere else."""
        send = self.document["paths"]["/v1/inboxes/{inboxId}/messages"]["post"]
        self.assertEqual(
            [(p["in"], p["name"]) for p in send["parameters"]],
            [("path", "inboxId"), ("header", "Idempotency-Key")],
        )
        body = self.document["components"]["schemas"]["SendMessage"]
        self.assertNotIn("inboxId", body["properties"])
        self.assertIn("subject", body["properties"])

    def test_no_suffix(self) -> None:
        """Types have the names that callers know."""
        names = self.document["components"]["schemas"]
        self.assertIn("Message", names)
        self.assertEqual([name for name in names if name.endswith("View")], [])

    def test_examples(self) -> None:
        """Each example is a good request."""
        for route in ROUTES:
            made = decoder(route, OPERATIONS[route.operation])
            if made.body is not None:
                path = {name: IDS[name] for name in made.path}
                body = BODIES[route.operation]
                made(path, b"", json.dumps(body).encode())


class PageTests(SynchronousTestCase):
    def test_document(self) -> None:
        """Anybody may read the document, from any page."""
        answer = Client().ask("GET", "/openapi.json", secret=None)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json()["openapi"], "3.1.0")
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")

    def test_docs(self) -> None:
        """The page needs no script and nothing from elsewhere, and shows how to call."""
        answer = Client().ask("GET", "/docs", secret=None)
        page = answer.body.decode()
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        self.assertIn("style-src 'sha256-", answer.headers["content-security-policy"])
        self.assertNotIn("<script", page)
        self.assertNotIn(" src=", page)
        self.assertIn("curl -X POST", page)
        for name in BODIES:
            self.assertIn(OPERATIONS[name].summary.replace("'", "&#x27;"), page)

    def test_hostile_text(self) -> None:
        """What the document says is shown as text."""
        document = describe(NATIVE, "https://mail.example/<script>")
        self.assertNotIn("<script>", render_docs(document))
