"""One answer for all who ask the same at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@define(eq=False)
class Shared(Generic[K, V]):
    """Asks a question once for many, and no answer is older than its question.

    Whoever asks while an answer is being found waits for the next one, together with
    all others who do. So a thousand who ask at once make two questions.
    """

    _ask: Callable[[K], Awaitable[V]]
    _waiting: dict[K, list[Deferred[V]]] = field(factory=dict, init=False)

    async def answer(self, question: K) -> V:
        """The answer, found after the call."""
        waiting = self._waiting.get(question)
        if waiting is not None:
            answered: Deferred[V] = Deferred()
            waiting.append(answered)
            return await answered
        self._waiting[question] = []
        try:
            return await self._ask(question)
        finally:
            self._ask_again(question)

    def _ask_again(self, question: K) -> None:
        waiting = self._waiting.pop(question)
        if waiting:
            self._waiting[question] = []
            Deferred.fromCoroutine(self._answer_all(question, waiting))

    async def _answer_all(self, question: K, waiting: list[Deferred[V]]) -> None:
        try:
            answer: V | Failure = await self._ask(question)
        except Exception:
            answer = Failure()
        self._ask_again(question)
        for one in waiting:
            one.callback(answer)
