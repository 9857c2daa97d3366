"""One answer for many who ask at once."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.sharing import Shared


class SharedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[Deferred[str]] = []
        self.shared: Shared[str, str] = Shared(self.ask)

    async def ask(self, question: str) -> str:
        self.asked.append(Deferred())
        return await self.asked[-1]

    def answer(self, question: str = "q") -> Deferred[str]:
        return Deferred.fromCoroutine(self.shared.answer(question))

    def test_two_questions(self) -> None:
        """The first is answered alone, all who came meanwhile together."""
        first, *others = [self.answer() for _ in range(100)]
        self.assertEqual(len(self.asked), 1)
        self.asked[0].callback("early")
        self.assertEqual(self.successResultOf(first), "early")
        self.assertEqual(len(self.asked), 2)
        late = self.answer()
        self.asked[1].callback("later")
        for one in others:
            self.assertEqual(self.successResultOf(one), "later")
        self.assertNoResult(late)
        self.asked[2].callback("last")
        self.assertEqual(self.successResultOf(late), "last")

    def test_questions_differ(self) -> None:
        """Other questions do not wait."""
        self.answer("one")
        self.answer("other")
        self.assertEqual(len(self.asked), 2)

    def test_failure(self) -> None:
        """A failure goes to those who asked, and the next may ask again."""
        first, second, third = [self.answer() for _ in range(3)]
        self.asked[0].errback(ZeroDivisionError())
        self.failureResultOf(first, ZeroDivisionError)
        self.asked[1].errback(ZeroDivisionError())
        for one in (second, third):
            self.failureResultOf(one, ZeroDivisionError)
        again = self.answer()
        self.asked[2].callback("well")
        self.assertEqual(self.successResultOf(again), "well")
