"""Makes the request of a use case out of a path, a query and a body.

Each field has one place: what the path names comes from the path; the rest comes from
the query of GET and DELETE, and from the JSON body of all others. What is unknown,
given twice or in the wrong place is refused by name.

The body is decoded straight into the type, never into free-form objects first: those
would let a small body become a large number of Python objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import inspect

from noinfra.errors import Invalid, TooLarge

#: So many strings are more than any mail of ours needs.
MAX_STRINGS = 20_000
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_PLACE = re.compile(r" - at `(?:\$\.?)?(?P<place>[^`]*)`$")
_NAMED = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")
_IN_QUERY = frozenset(("GET", "DELETE"))


class Decoder:
    """Decodes the calls of one route.

    :ivar path: the fields that the path names, as they are spelled there.
    :ivar query: the fields that the query may name.
    :ivar body: the type of the JSON body; None where there is no body.
    """

    def __init__(
        self, wire: type[msgspec.Struct], names: Iterable[str], method: str
    ) -> None:
        fields = {f.encode_name: f for f in msgspec.structs.fields(wire)}
        self.path = tuple(names)
        if unknown := [name for name in self.path if name not in fields]:
            raise ValueError(f"{wire.__name__} has no field {unknown[0]}")
        rest = [f for name, f in fields.items() if name not in self.path]
        in_query = method in _IN_QUERY
        self.query = tuple(f.encode_name for f in rest) if in_query else ()
        self.body = None if in_query else _part(wire.__name__, rest)
        self._wire = wire
        self._named = _part(wire.__name__, [fields[name] for name in self.path])
        self._keyed = "idempotencyKey" in fields and not in_query
        self._from_body = msgspec.json.Decoder(self.body) if self.body else None
        kinds = {f.encode_name: f.type for f in _struct(wire).fields}
        self._lists = {n for n in self.query if _holds(kinds[n], inspect.ListType)}
        self._flags = {n for n in self.query if _holds(kinds[n], inspect.BoolType)}
        self._times = [
            (f.name, f.encode_name)
            for f in rest
            if _holds(kinds[f.encode_name], inspect.DateTimeType)
        ]

    def __call__(
        self,
        path: Mapping[str, str],
        query: bytes,
        body: bytes,
        idempotency_key: str | None = None,
    ) -> Any:
        """The request that they make together, of the type that was given.

        :raises Invalid: it names the field, and says what is wrong with it.
        """
        if self._from_body is None:
            if body.strip() not in (b"", b"{}"):
                raise Invalid("This call takes no body; say it in the query.")
            request = self._convert(self._gather(path, query), self._wire)
        else:
            for name, _ in query_pairs(query):
                raise Invalid(
                    f"There is no query parameter {name[:100]} here; this call takes "
                    "its parameters in a JSON body.",
                    field=name[:100],
                )
            request = self._merge(path, self._read(body), idempotency_key)
        for name, spelled in self._times:
            _check_zone(getattr(request, name), spelled)
        return request

    def _gather(self, path: Mapping[str, str], query: bytes) -> dict[str, object]:
        values: dict[str, object] = {}
        for name, value in query_pairs(query):
            if name not in self.query:
                raise self._unknown(name)
            if name in self._lists:
                listed = values.setdefault(name, [])
                assert isinstance(listed, list)
                listed.extend(item for item in value.split(",") if item)
            elif name in values:
                raise Invalid(f"{name} is given twice.", field=name)
            else:
                # A bare ?permanent says yes.
                values[name] = value or "true" if name in self._flags else value
        values.update(path)
        return values

    def _unknown(self, name: str) -> Invalid:
        name = name[:100]
        if name in self.path:
            return Invalid(f"{name} is named by the path already.", field=name)
        there = ", ".join(self.query) or "none"
        return Invalid(
            f"There is no query parameter {name}; there are: {there}.", field=name
        )

    def _read(self, body: bytes) -> msgspec.Struct:
        assert self._from_body is not None
        check_body(body)
        try:
            decoded: msgspec.Struct = self._from_body.decode(body.strip() or b"{}")
        except msgspec.ValidationError as error:
            raise invalid(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"The body is not JSON in UTF-8: {error}.") from error
        except RecursionError as error:
            raise Invalid("The body is nested too deeply.") from error
        return decoded

    def _merge(
        self, path: Mapping[str, str], body: msgspec.Struct, key: str | None
    ) -> Any:
        values = msgspec.structs.asdict(body)
        values.update(msgspec.structs.asdict(self._convert(path, self._named)))
        if key is not None and self._keyed:
            if values["idempotency_key"] not in (None, key):
                raise Invalid(
                    "The Idempotency-Key header and idempotencyKey differ; give one.",
                    field="idempotencyKey",
                )
            if not 1 <= len(key) <= 256:
                raise Invalid("An Idempotency-Key has 1 to 256 characters.")
            values["idempotency_key"] = key
        return self._wire(**values)

    def _convert(
        self, values: Mapping[str, object], wanted: type[msgspec.Struct]
    ) -> msgspec.Struct:
        try:
            return msgspec.convert(values, wanted, strict=False)
        except msgspec.ValidationError as error:
            raise invalid(error) from error
        except ValueError as error:
            # From a time in seconds that no datetime can be.
            raise Invalid(f"A value of the query is out of range: {error}.") from error


def query_pairs(query: bytes) -> list[tuple[str, str]]:
    """The names and values of a query, decoded; a name without ``=`` has the value "".

    twisted.web's own parser would drop such a name, and splits at semicolons too.

    :raises Invalid: it is not UTF-8, or holds a NUL.
    """
    if not query:
        return []
    pairs = []
    for item in query.split(b"&"):
        if item:
            name, _, value = item.partition(b"=")
            pairs.append((_unquote(name), _unquote(value)))
    return pairs


def _unquote(octets: bytes) -> str:
    try:
        text = unquote_to_bytes(octets.replace(b"+", b" ")).decode()
    except UnicodeDecodeError as error:
        raise Invalid("The query is not percent-encoded UTF-8.") from error
    if "\0" in text:
        raise Invalid("The query holds a NUL, which no text here can.")
    return text


def check_body(body: bytes) -> None:
    """Refuse what decodes to far more than it looks, and what no column can hold.

    :raises TooLarge: it has an absurd number of strings.
    :raises Invalid: a string has a NUL.
    """
    # Two quotes a string; those within strings are escaped. Everything but strings
    # fails at its first occurrence in an array, so only strings can be many.
    quotes = body.count(b'"')
    if quotes > MAX_STRINGS and quotes - body.count(b'\\"') > MAX_STRINGS:
        raise TooLarge("The body has too many values; split the request.")
    if b"\\u0000" in body and _NUL.search(body):
        raise Invalid("The body holds a NUL (\\u0000), which no text here can.")


def invalid(error: msgspec.ValidationError) -> Invalid:
    """What msgspec found, in a sentence, with the field's name in the details."""
    reason = str(error)
    field = ""
    if place := _PLACE.search(reason):
        reason, field = reason[: place.start()], place["place"]
    if named := _NAMED.search(reason):
        field = f"{field}.{named['name']}" if field else named["name"]
    reason = reason.replace("`", "")
    reason = reason[:1].lower() + reason[1:]
    if not field:
        return Invalid(f"The request is wrong: {reason}.")
    return Invalid(f"{field[:200]}: {reason[:500]}.", field=field[:200])


def _check_zone(value: object, name: str) -> None:
    if getattr(value, "tzinfo", True) is None:
        raise Invalid(
            f"{name}: a time needs its offset from UTC, such as a final Z.", field=name
        )


def _part(
    name: str, fields: Iterable[msgspec.structs.FieldInfo]
) -> type[msgspec.Struct]:
    """A type of some of a request's fields, under the request's name."""
    return msgspec.defstruct(
        name,
        [(f.name, f.type, _field(f)) for f in fields],
        kw_only=True,
        frozen=True,
        forbid_unknown_fields=True,
    )


def _field(info: msgspec.structs.FieldInfo) -> Any:
    if info.default is not msgspec.NODEFAULT:
        return msgspec.field(default=info.default, name=info.encode_name)
    if info.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(
            default_factory=info.default_factory, name=info.encode_name
        )
    return msgspec.field(name=info.encode_name)


def _struct(wire: type[msgspec.Struct]) -> inspect.StructType:
    info = inspect.type_info(wire)
    assert isinstance(info, inspect.StructType)
    return info


def _holds(kind: inspect.Type, wanted: type[inspect.Type]) -> bool:
    """Whether a type is of a kind, or a union with it."""
    if isinstance(kind, inspect.UnionType):
        return any(_holds(part, wanted) for part in kind.types)
    return isinstance(kind, wanted)
