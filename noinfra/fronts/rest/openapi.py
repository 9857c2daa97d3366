"""The OpenAPI 3.1 document of a dialect, made from what the frame itself runs on.

Nothing is described twice: paths and statuses are the routes', parameters and bodies
the decoders', answers the spelled types'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from noinfra.app.letters import Octets
from noinfra.fronts.catalogue import LIVE, OPERATIONS, Operation
from noinfra.fronts.rest.calls import decoder
from noinfra.fronts.rest.decode import Decoder
from noinfra.fronts.rest.dialect import Dialect, Route
from noinfra.fronts.rest.examples import BODIES, IDS
from noinfra.fronts.rest.mail_views import MENTIONED
from noinfra.fronts.stream import LiveQuery, decode_query

Schema = dict[str, Any]
_REFS = "#/components/schemas/{name}"
_INTRODUCTION = """\
Long-lived mail for agents: inboxes that send, receive, thread and tell what happens.

Send a key with every call: `Authorization: Bearer <key>`, or `X-Api-Key: <key>`.
Identifiers sort by the time they were made. Where a path wants an inbox, its address
does as well. Lists answer `data` and `nextCursor`; send that as `cursor` for the next
page. A send with an `Idempotency-Key` is done once, however often it is asked for. What
is below `/v1/deployments` is below `/v1/pods` too, and `POST …/messages/send` sends.\
"""
_ERRORS = {
    400: "The request says what cannot be; details.field is where.",
    401: "No key, or one that is not known.",
    403: "The key does not hold the permission or the scope.",
    404: "There is no such thing, or it is somebody else's.",
    409: "It clashes with what is there.",
    413: "The body is larger than the server takes.",
    415: "The body is not JSON.",
    416: "The range lies outside.",
    426: "Connect a WebSocket.",
    429: "Too much at once; Retry-After says when to come back.",
    431: "The request line or a header field is longer than the server takes.",
    500: "An error of the server, logged under the requestId.",
    503: "Not now, and nothing was done; Retry-After says when to come back.",
}
_ALWAYS = (400, 429, 431, 500, 503)


class Reason(msgspec.Struct, rename="camel"):
    """Why not, and what to do."""

    code: str
    message: str
    request_id: str
    details: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class ErrorView(msgspec.Struct):
    """Every refusal has this form."""

    error: Reason


def describe(dialect: Dialect, base_url: str) -> dict[str, Any]:
    """The document."""
    routes = [route for route in dialect.routes if not route.alias]
    schemas = _schemas(routes)
    paths: dict[str, Schema] = {}
    for route in routes:
        item = paths.setdefault(route.path, {})
        item[route.method.lower()] = _operation(route, OPERATIONS[route.operation])
    paths.update(_live())
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "NoInfra Mail",
            "version": release(),
            "description": _INTRODUCTION,
        },
        "servers": [{"url": base_url}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": [{"name": name} for name in _tags(routes)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {f"Error{status}": _error(status) for status in _ERRORS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "queryKey": {"type": "apiKey", "in": "query", "name": "api_key"},
            },
        },
    }
    return _unsuffixed(document)


def _operation(route: Route, operation: Operation) -> Schema:
    decode = decoder(route, operation)
    wire = route.wire or operation.request
    described: Schema = {
        "operationId": _camel(operation.name),
        "tags": [operation.name.partition(".")[0]],
        "summary": operation.summary,
        "description": (wire.__doc__ or "").strip(),
        "parameters": _parameters(decode, wire, operation),
        "responses": _responses(route, operation, decode),
    }
    if operation.permission is None:
        described["security"] = []
    else:
        described["x-permission"] = operation.permission
    if decode.body is not None:
        described["requestBody"] = {
            "required": bool(_required(decode.body)),
            "content": {
                "application/json": {
                    "schema": {"$ref": _REFS.format(name=decode.body.__name__)},
                    "example": BODIES.get(operation.name, {}),
                }
            },
        }
    return described


def _parameters(
    decode: Decoder, wire: type[msgspec.Struct], operation: Operation
) -> list[Schema]:
    kinds = _properties(wire)
    found = [_parameter("path", name, kinds[name]) for name in decode.path]
    found += [_parameter("query", name, kinds[name]) for name in decode.query]
    if operation.lasts is not None:
        found.append(
            {
                "in": "header",
                "name": "If-None-Match",
                "description": "The ETag of an answer that you have.",
                "schema": {"type": "string"},
            }
        )
    if decode.body is not None and "idempotencyKey" in kinds:
        found.append(
            {
                "in": "header",
                "name": "Idempotency-Key",
                "description": "The same key and request send once, for a day.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
            }
        )
    return found


def _parameter(place: str, name: str, schema: Schema) -> Schema:
    described: Schema = {"in": place, "name": name, "schema": schema}
    if place == "path":
        described["required"] = True
        described["example"] = IDS.get(name, name)
    if schema.get("type") == "array":
        described |= {"style": "form", "explode": False}
    return described


def _responses(route: Route, operation: Operation, decode: Decoder) -> Schema:
    statuses = set(_ALWAYS)
    statuses |= {401, 403} if operation.permission else set()
    named = {*decode.path, *decode.query} - {"cursor", "limit"}
    statuses |= {404} if named else set()
    statuses |= {404, 409, 413, 415} if decode.body is not None else set()
    statuses |= {416} if route.form.schema is Octets else set()
    described: Schema = {
        str(status): _success(status, route.form.schema)
        for status in route.form.statuses
    }
    if operation.lasts is not None:
        described["304"] = _success(304, None)
    for status in sorted(statuses):
        described[str(status)] = {"$ref": f"#/components/responses/Error{status}"}
    return described


def _success(status: int, schema: Any) -> Schema:
    said = {
        200: "Done, or there already.",
        201: "Made.",
        202: "Filed, and on its way.",
        204: "Done.",
        206: "The range.",
        304: "What the tag names is still so.",
    }[status]
    if schema is None:
        return {"description": said}
    if schema is Octets:
        # OpenAPI 3.1 describes octets by the media type alone.
        return {"description": said, "content": {"*/*": {}}}
    content = {"schema": {"$ref": _REFS.format(name=schema.__name__)}}
    return {"description": said, "content": {"application/json": content}}


def _error(status: int) -> Schema:
    content = {"schema": {"$ref": _REFS.format(name=ErrorView.__name__)}}
    return {
        "description": _ERRORS[status],
        "content": {"application/json": content},
    }


def _live() -> dict[str, Schema]:
    """The two live fronts, which are no operations."""
    kinds = _properties(LiveQuery)
    parameters = [
        _parameter("query", name, kinds[name])
        for name in decode_query.query
        if name != "api_key"
    ]
    refused = {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in (401, 403, 404, *_ALWAYS)
    }
    common = {
        "tags": ["events"],
        "x-permission": LIVE,
        "security": [{"bearer": []}, {"apiKey": []}, {"queryKey": []}],
        "parameters": parameters,
    }
    stream = {
        "operationId": "eventsStream",
        "summary": "Read events as they happen, as server-sent events",
        "description": "Resumes after ?after= or the header field Last-Event-ID.",
        "responses": {
            "200": {
                "description": "Events, for as long as the connection lasts.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **refused,
        },
    }
    socket = {
        "operationId": "eventsWebSocket",
        "summary": "Read events as they happen, over a WebSocket",
        "description": (
            "Commands: subscribe, filters, ping, list. Closes with 4401 without a good "
            "key, 4403 without permission, 1013 where a later try may be better."
        ),
        "responses": {
            "101": {"description": "The WebSocket is open."},
            "426": {"$ref": "#/components/responses/Error426"},
            **refused,
        },
    }
    return {
        "/v1/events/stream": {"get": common | stream},
        "/v1/events/ws": {"get": common | socket},
    }


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    types: list[Any] = [ErrorView, *MENTIONED]
    for route in routes:
        body = decoder(route, OPERATIONS[route.operation]).body
        types += [body] if body is not None else []
        schema = route.form.schema
        types += [schema] if schema not in (None, Octets) else []
    unique = {kind.__name__: kind for kind in types}
    _, components = msgspec.json.schema_components(unique.values(), ref_template=_REFS)
    return components


def _properties(wire: type[msgspec.Struct]) -> dict[str, Schema]:
    _, components = msgspec.json.schema_components([wire], ref_template=_REFS)
    properties: dict[str, Schema] = components[wire.__name__]["properties"]
    return properties


def _required(body: type[msgspec.Struct]) -> list[str]:
    return [f.encode_name for f in msgspec.structs.fields(body) if f.required]


def _tags(routes: Iterable[Route]) -> list[str]:
    return list(dict.fromkeys(route.operation.partition(".")[0] for route in routes))


def _camel(name: str) -> str:
    first, *rest = name.split(".")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _unsuffixed(document: dict[str, Any]) -> dict[str, Any]:
    """Our types are called MessageView; to a caller it is a Message.

    :raises ValueError: two types would have one name.
    """
    schemas = document["components"]["schemas"]
    if twice := [name for name in schemas if f"{name}View" in schemas]:
        raise ValueError(f"{twice[0]} and {twice[0]}View would be one")
    text = msgspec.json.encode(document).decode()
    for name in schemas:
        if name.endswith("View"):
            text = re.sub(
                rf'"(#/components/schemas/)?{name}"', rf'"\1{name[:-4]}"', text
            )
    renamed: dict[str, Any] = msgspec.json.decode(text)
    return renamed


def release() -> str:
    """The version of the program."""
    try:
        return version("noinfra")
    except PackageNotFoundError:
        return "0"
