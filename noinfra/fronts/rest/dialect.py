"""What a dialect is: which paths it has, how it spells answers, how it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from attrs import frozen

from noinfra.errors import Refusal
from noinfra.fronts.rest.answer import Answer


class Form(Protocol):
    """Makes an answer of what a use case returned."""

    @property
    def statuses(self) -> tuple[int, ...]:
        """What the answer's status may be, the usual one first."""

    @property
    def schema(self) -> Any:
        """The type of the JSON body; Octets of a download; None if there is none."""

    def __call__(self, result: Any) -> Answer:
        """The answer."""


@frozen
class Route:
    """A method and a path that ask for an operation of the catalogue.

    :ivar wire: the request as this dialect words it, where its words are not ours.
    :ivar ask: makes the operation's request of a ``wire``.
    :ivar alias: another spelling of a path that the documentation shows.
    """

    method: str
    path: str
    operation: str
    form: Form
    wire: type[msgspec.Struct] | None = None
    ask: Callable[[Any], msgspec.Struct] | None = None
    alias: bool = False


@frozen(kw_only=True)
class Dialect:
    """A public API that this server speaks.

    :ivar prefix: below which paths its form of refusal holds, "" being everywhere.
    """

    name: str
    prefix: str
    routes: tuple[Route, ...]
    refuse: Callable[[Refusal, str], Answer]
