"""What was found out in the DNS, kept for as long as it holds, and asked for once."""

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from noinfra.boundaries import DnsFailure

T = TypeVar("T")


@frozen(kw_only=True)
class Finding(Generic[T]):
    """The answer to one question, which may be that there is none."""

    answers: tuple[T, ...] = ()
    failure: DnsFailure | None = None
    seconds: float
    """How long it holds; 0 keeps it from being remembered."""

    def told(self) -> tuple[T, ...]:
        """:raises DnsFailure: there is no answer."""
        if self.failure is not None:
            # A new one each time: what is raised gathers tracebacks.
            raise type(self.failure)(*self.failure.args)
        return self.answers


class Memory(Generic[T]):
    """Answers by name. Those who ask while an answer is under way wait for that one."""

    def __init__(
        self,
        clock: IReactorTime,
        find: Callable[[str], Coroutine[Deferred[object], object, Finding[T]]],
        size: int,
    ) -> None:
        self._clock = clock
        self._find = find
        self._size = size
        self._known: OrderedDict[str, tuple[float, Finding[T]]] = OrderedDict()
        self._waiting: dict[str, list[Deferred[Finding[T]]]] = {}

    async def get(self, name: str) -> tuple[T, ...]:
        """:raises DnsFailure: the name has no answer."""
        until, finding = self._known.get(name, (0.0, None))
        if finding is not None and self._clock.seconds() < until:
            self._known.move_to_end(name)
            return finding.told()
        # Who waits may give up without ending the question for the others.
        answer: Deferred[Finding[T]] = Deferred()
        waiting = self._waiting.get(name)
        if waiting is None:
            self._waiting[name] = [answer]
            Deferred.fromCoroutine(self._find(name)).addBoth(self._found, name)
        else:
            waiting.append(answer)
        return (await answer).told()

    def _found(self, finding: Finding[T] | Failure, name: str) -> None:
        if isinstance(finding, Finding) and finding.seconds > 0:
            self._known[name] = (self._clock.seconds() + finding.seconds, finding)
            self._known.move_to_end(name)
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        for answer in self._waiting.pop(name):
            if not answer.called:
                answer.callback(finding)
