"""The NoInfra dialect, which is the native one: its paths, statuses and lists."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec
from attrs import frozen

from noinfra.fronts.rest.answer import Answer, to_json
from noinfra.fronts.rest.dialect import Dialect, Route
from noinfra.fronts.rest.errors import spell_refusal
from noinfra.fronts.rest.forms import Download, Empty, Made, One, Spelled
from noinfra.fronts.rest.mail_views import (
    ConversationView,
    EventView,
    LetterView,
    MessageView,
    ThreadView,
)
from noinfra.fronts.rest.views import (
    AgentView,
    CreatedInboxView,
    CustomerView,
    DeploymentView,
    HealthView,
    InboxPasswordView,
    InboxView,
    KeyView,
    NewAgentView,
    NewKeyView,
)


@frozen
class Page:
    """``{"data": [...], "nextCursor": ...}``, of a listing."""

    view: type[Spelled]
    statuses: tuple[int, ...] = (200,)

    @property
    def schema(self) -> Any:
        """The type of the page."""
        name = self.view.__name__.removesuffix("View")
        return msgspec.defstruct(
            f"{name}PageView",
            [("data", list[self.view]), ("next_cursor", str | None)],  # type: ignore[name-defined]
            rename="camel",
        )

    def __call__(self, result: Any) -> Answer:
        """The answer."""
        spell = self.view.of
        page = {
            "data": [spell(item) for item in result.items],
            "nextCursor": result.next_cursor,
        }
        return Answer(body=to_json(page))


def _resource(
    path: str, name: str, identifier: str, view: type[Spelled], create: Route
) -> tuple[Route, ...]:
    """The five routes of a noun that is made, listed, read, changed and deleted."""
    one = f"{path}/{{{identifier}}}"
    return (
        create,
        Route("GET", path, f"{name}.list", Page(view)),
        Route("GET", one, f"{name}.get", One(view)),
        Route("PATCH", one, f"{name}.update", One(view)),
        Route("DELETE", one, f"{name}.delete", Empty()),
    )


def _deployments(path: str, *, alias: bool) -> tuple[Route, ...]:
    """A deployment is what others call a pod: it has both paths."""
    create = Route("POST", path, "deployments.create", One(DeploymentView, 201))
    routes = _resource(path, "deployments", "deploymentId", DeploymentView, create)
    return tuple(_aliased(route) for route in routes) if alias else routes


def _aliased(route: Route) -> Route:
    return Route(route.method, route.path, route.operation, route.form, alias=True)


_CUSTOMERS = "/v1/customers"
_AGENTS = "/v1/agents"
_INBOXES = "/v1/inboxes"
_PASSWORD = "/v1/inboxes/{inboxId}/password"
_KEYS = "/v1/api-keys"
_MESSAGES = "/v1/inboxes/{inboxId}/messages"
_MESSAGE = "/v1/inboxes/{inboxId}/messages/{messageId}"
_THREADS = "/v1/inboxes/{inboxId}/threads"
_THREAD = "/v1/inboxes/{inboxId}/threads/{threadId}"

# A mail is on its way, not there yet: 202, with the message as it was filed. The same
# Idempotency-Key gives 200 and the message of the first time.
_SENT = Made(MessageView, attrgetter("message"), 202)

ROUTES: tuple[Route, ...] = (
    *_resource(
        _CUSTOMERS,
        "customers",
        "customerId",
        CustomerView,
        Route("POST", _CUSTOMERS, "customers.create", One(CustomerView, 201)),
    ),
    *_deployments("/v1/deployments", alias=False),
    *_deployments("/v1/pods", alias=True),
    *_resource(
        _AGENTS,
        "agents",
        "agentId",
        AgentView,
        Route("POST", _AGENTS, "agents.create", Made(NewAgentView)),
    ),
    *_resource(
        _INBOXES,
        "inboxes",
        "inboxId",
        InboxView,
        Route("POST", _INBOXES, "inboxes.create", Made(CreatedInboxView)),
    ),
    Route("POST", _PASSWORD, "inboxes.rotatePassword", One(InboxPasswordView, 201)),
    Route("DELETE", _PASSWORD, "inboxes.removePassword", Empty()),
    Route("GET", _MESSAGES, "messages.list", Page(MessageView)),
    Route("POST", _MESSAGES, "messages.send", _SENT),
    Route("POST", f"{_MESSAGES}/send", "messages.send", _SENT, alias=True),
    Route("GET", _MESSAGE, "messages.get", One(LetterView)),
    Route("PATCH", _MESSAGE, "messages.update", One(MessageView)),
    Route("DELETE", _MESSAGE, "messages.delete", Empty()),
    Route("POST", f"{_MESSAGE}/reply", "messages.reply", _SENT),
    Route("POST", f"{_MESSAGE}/reply-all", "messages.replyAll", _SENT),
    Route("POST", f"{_MESSAGE}/forward", "messages.forward", _SENT),
    Route("GET", f"{_MESSAGE}/raw", "messages.raw", Download()),
    Route(
        "GET",
        f"{_MESSAGE}/attachments/{{attachmentId}}",
        "messages.attachment",
        Download(),
    ),
    Route("GET", _THREADS, "threads.list", Page(ThreadView)),
    Route("GET", _THREAD, "threads.get", One(ConversationView)),
    Route("PATCH", _THREAD, "threads.update", One(ThreadView)),
    Route("DELETE", _THREAD, "threads.delete", Empty()),
    Route("POST", f"{_THREAD}/reply", "threads.reply", _SENT),
    Route("GET", "/v1/events", "events.list", Page(EventView)),
    Route("POST", _KEYS, "keys.create", One(NewKeyView, 201)),
    Route("GET", _KEYS, "keys.list", Page(KeyView)),
    Route("GET", f"{_KEYS}/{{keyId}}", "keys.get", One(KeyView)),
    Route("DELETE", f"{_KEYS}/{{keyId}}", "keys.revoke", Empty()),
    Route("GET", "/v1/health", "health.check", One(HealthView)),
    Route("GET", "/health", "health.check", One(HealthView), alias=True),
)

NATIVE = Dialect(name="noinfra", prefix="", routes=ROUTES, refuse=spell_refusal)
