"""Finds what answers a method and a path.

A path is split on its raw slashes first and percent-decoded after, so that an
identifier may hold anything, a slash among them. werkzeug, and Klein upon it, decodes
the whole path before it splits, and takes some 50 microseconds a request; that is why
the frame finds its routes here and not through Klein.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from attrs import define, field, frozen

from noinfra.errors import MethodNotAllowed, NotFound

T = TypeVar("T")


@frozen
class Match(Generic[T]):
    """What was found, and what the path says for each ``{name}`` of its pattern."""

    target: T
    path: Mapping[str, str]


@define
class _Node(Generic[T]):
    fixed: dict[str, _Node[T]] = field(factory=dict)
    free: _Node[T] | None = None
    targets: dict[str, tuple[T, tuple[str, ...]]] = field(factory=dict)


class Router(Generic[T]):
    """A tree of path segments; a written segment goes before a ``{name}``."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, pattern: str, target: T) -> None:
        """Answer a method and a pattern such as ``/v1/inboxes/{inboxId}``.

        :raises ValueError: something answers there already.
        """
        node, names = self._root, []
        for segment in pattern.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.free = node = node.free or _Node()
            else:
                node = node.fixed.setdefault(segment, _Node())
        if method in node.targets:
            raise ValueError(f"{method} {pattern} is routed twice")
        node.targets[method] = (target, tuple(names))

    def find(self, method: str, path: bytes) -> Match[T]:
        """The target of a request.

        :raises NotFound: nothing has this path.
        :raises MethodNotAllowed: something has, but not with this method; the detail
            ``allow`` lists those that it has.
        """
        allowed: set[str] = set()
        for node, values in self._nodes(path):
            found = node.targets.get(method)
            if found is not None:
                return Match(found[0], dict(zip(found[1], values, strict=True)))
            allowed.update(node.targets)
        if not allowed:
            raise NotFound("There is nothing at this path; /docs lists what there is.")
        raise MethodNotAllowed(
            f"This path does not take {method[:20]}.", allow=sorted(allowed)
        )

    def methods(self, path: bytes) -> list[str]:
        """The methods that a path takes.

        :raises NotFound: nothing has this path.
        """
        methods = {method for node, _ in self._nodes(path) for method in node.targets}
        if not methods:
            raise NotFound("There is nothing at this path; /docs lists what there is.")
        return sorted(methods)

    def _nodes(self, path: bytes) -> Iterator[tuple[_Node[T], list[str]]]:
        segments = _segments(path)
        if segments is None:
            return
        # Depth first by hand: what is still to be tried, the best on top.
        open_: list[tuple[_Node[T], int, list[str]]] = [(self._root, 0, [])]
        while open_:
            node, depth, values = open_.pop()
            if depth == len(segments):
                if node.targets:
                    yield node, values
                continue
            segment = segments[depth]
            if node.free is not None and segment:
                open_.append((node.free, depth + 1, [*values, segment]))
            if (fixed := node.fixed.get(segment)) is not None:
                open_.append((fixed, depth + 1, values))


def _segments(path: bytes) -> list[str] | None:
    """The decoded segments; None when they are no text that we could ever name."""
    try:
        raw = path.decode("ascii").split("/")[1:]
        if "%" in (text := "".join(raw)):
            raw = [unquote_to_bytes(segment).decode() for segment in raw]
            text = "".join(raw)
    except UnicodeDecodeError:
        return None
    # PostgreSQL holds no NUL in a text, so nothing can have such a name.
    return None if "\0" in text else raw
