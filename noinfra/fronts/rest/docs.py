"""The documentation page: the OpenAPI document for people, without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;
color:#1b1f24;background:#fff}
nav a{margin-right:1rem}
h1,h2,h3{line-height:1.2}
h2{border-bottom:1px solid #d0d7de;margin-top:3rem}
h3 code{font-size:1rem}
code,pre{font-family:ui-monospace,monospace;font-size:.875rem}
pre{background:#f6f8fa;padding:.75rem;overflow-x:auto}
table{border-collapse:collapse;width:100%}
td,th{border:1px solid #d0d7de;padding:.25rem .5rem;text-align:left;vertical-align:top}
.method{font-weight:700}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}
pre{background:#161b22}a{color:#58a6ff}}
"""
_METHODS = ("get", "post", "patch", "delete")
Document = dict[str, Any]


def render_docs(document: Document) -> str:
    """The page."""
    tags = [tag["name"] for tag in document["tags"]]
    title = escape(document["info"]["title"])
    return "".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8>",
            '<meta name=viewport content="width=device-width">',
            f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>",
            *(f"<p>{_prose(part)}</p>" for part in _paragraphs(document)),
            "<p>The same for programs: <a href=/openapi.json>/openapi.json</a>.</p>",
            "<nav>",
            *(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in tags),
            '<a href="#types">types</a></nav>',
            *(_section(document, tag) for tag in tags),
            _types(document),
            "</html>",
        ]
    )


def _paragraphs(document: Document) -> Iterable[str]:
    text: str = document["info"]["description"]
    return text.split("\n\n")


def _prose(text: str) -> str:
    """Text in which backquotes mark code."""
    pieces = escape(text).split("`")
    return "".join(
        f"<code>{piece}</code>" if index % 2 else piece
        for index, piece in enumerate(pieces)
    )


def _section(document: Document, tag: str) -> str:
    parts = [f'<h2 id="{escape(tag)}">{escape(tag.capitalize())}</h2>']
    for path, item in document["paths"].items():
        for method in _METHODS:
            operation = item.get(method)
            if operation is not None and tag in operation["tags"]:
                parts.append(_operation(document, path, method, operation))
    return "".join(parts)


def _operation(document: Document, path: str, method: str, operation: Document) -> str:
    permission = operation.get("x-permission")
    name, summary = escape(operation["operationId"]), escape(operation["summary"])
    verb = f"<span class=method>{method.upper()}</span>"
    needs = (
        f"Needs <code>{escape(permission)}</code>." if permission else "Needs no key."
    )
    return "".join(
        [
            f'<h3 id="{name}">{summary}<br><code>{verb} {escape(path)}</code></h3>',
            f"<p>{_prose(operation['description'])} {needs}</p>",
            _parameters(document, operation),
            f"<pre>{escape(curl(document, path, method, operation))}</pre>",
            f"<p>Answers {_answers(operation)}.</p>",
        ]
    )


def _parameters(document: Document, operation: Document) -> str:
    rows = [
        (parameter["name"], parameter["in"], parameter["schema"], parameter)
        for parameter in operation["parameters"]
    ]
    body = _body(operation)
    if body is not None:
        schema = _resolved(document, body["schema"])
        required = schema.get("required", [])
        rows += [
            (name, "body", kind, {"required": name in required})
            for name, kind in schema.get("properties", {}).items()
        ]
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{place}"
        f"{', required' if more.get('required') else ''}<td>{_kind(kind)}"
        for name, place, kind, more in rows
    )
    return f"<table><tr><th>Name<th>In<th>Type{cells}</table>"


def curl(document: Document, path: str, method: str, operation: Document) -> str:
    """A command line that makes the call."""
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    url = document["servers"][0]["url"].rstrip("/") or "http://localhost:8025"
    lines = ["curl" + ("" if method == "get" else f" -X {method.upper()}")]
    lines[0] += f" {url}{path}"
    if operation.get("security") != []:
        lines.append("-H 'Authorization: Bearer $NOINFRA_KEY'".replace("'", '"'))
    body = _body(operation)
    if body is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d '{json.dumps(body['example'], ensure_ascii=False)}'")
    return " \\\n  ".join(lines)


def _answers(operation: Document) -> str:
    parts = []
    for status, response in operation["responses"].items():
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        kind = f" {_kind(schema)}" if schema else ""
        parts.append(f"<b>{escape(status)}</b>{kind}")
    return ", ".join(parts)


def _types(document: Document) -> str:
    parts = ['<h2 id="types">Types</h2>']
    for name, schema in sorted(document["components"]["schemas"].items()):
        rows = "".join(
            f"<tr><td><code>{escape(field)}</code><td>{_kind(kind)}"
            for field, kind in schema.get("properties", {}).items()
        )
        parts.append(
            f'<h3 id="type-{escape(name)}">{escape(name)}</h3>'
            f"<p>{_prose(schema.get('description', ''))}</p><table>{rows}</table>"
        )
    return "".join(parts)


def _kind(schema: Document) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#type-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    said = schema.get("format") or schema.get("type") or "any"
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "from"),
            ("maximum", "to"),
            ("maxLength", "up to"),
        )
        if key in schema
    ]
    return escape(", ".join([str(said), *bounds]))


def _body(operation: Document) -> Document | None:
    body: Document = operation.get("requestBody", {}).get("content", {})
    return body.get("application/json")


def _resolved(document: Document, schema: Document) -> Document:
    name = schema["$ref"].rpartition("/")[2]
    resolved: Document = document["components"]["schemas"][name]
    return resolved
