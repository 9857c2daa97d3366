"""The forms of answers that all dialects share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from noinfra.app.letters import Octets
from noinfra.fronts.rest.answer import Answer, to_json


class Spelled(Protocol):
    """A type that makes itself from what a use case returned, to be encoded."""

    @classmethod
    def of(cls, result: Any, /) -> Any:
        """The result, spelled."""


def whole(result: Any) -> Any:
    """All of a result is spelled."""
    return result


@frozen
class One:
    """One thing.

    :ivar part: what of the result is spelled.
    """

    view: type[Spelled]
    status: int = 200
    part: Callable[[Any], Any] = whole

    @property
    def statuses(self) -> tuple[int, ...]:
        """Always the same."""
        return (self.status,)

    @property
    def schema(self) -> Any:
        """The spelled type."""
        return self.view

    def __call__(self, result: Any) -> Answer:
        """The answer."""
        body = to_json(self.view.of(self.part(result)))
        return Answer(status=self.status, body=body)


@frozen
class Made:
    """A thing that was made, or 200 with the one that was there already.

    The result says which by its ``created``.
    """

    view: type[Spelled]
    part: Callable[[Any], Any] = whole
    status: int = 201

    @property
    def statuses(self) -> tuple[int, ...]:
        """The one for what is new, and the one for what was there."""
        return (self.status, 200)

    @property
    def schema(self) -> Any:
        """The spelled type."""
        return self.view

    def __call__(self, result: Any) -> Answer:
        """The answer."""
        return Answer(
            status=self.status if result.created else 200,
            body=to_json(self.view.of(self.part(result))),
        )


@frozen
class Empty:
    """Done, and nothing to say."""

    @property
    def statuses(self) -> tuple[int, ...]:
        """Always 204."""
        return (204,)

    @property
    def schema(self) -> Any:
        """There is no body."""
        return None

    def __call__(self, result: Any) -> Answer:
        """The answer."""
        return Answer(status=204)


@frozen
class Download:
    """Octets as they are, whole or in part."""

    @property
    def statuses(self) -> tuple[int, ...]:
        """All of them, or a range."""
        return (200, 206)

    @property
    def schema(self) -> Any:
        """Octets have no JSON type."""
        return Octets

    def __call__(self, result: Octets) -> Answer:
        """The answer; the frame reads the octets while it sends them."""
        return Answer(octets=result)
