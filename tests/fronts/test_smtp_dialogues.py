"""Every dialogue of the edge, played whole and byte by byte."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.fronts.dialogue import DIALOGUES, How, connected, play, turns
from tests.fronts.smtp_edge import MemoryReceiving, edge_factory


class DialogueTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """Each dialogue holds when a turn comes in one segment."""
        self.play_all("whole")

    def test_byte_by_byte(self) -> None:
        """Each dialogue holds when each octet comes by itself."""
        self.play_all("byte by byte")

    def play_all(self, how: How) -> None:
        paths = sorted(DIALOGUES.glob("smtp-*.txt"))
        self.assertGreater(len(paths), 10)
        for path in paths:
            try:
                play(path.read_text(encoding="utf-8"), self.connect, how)
            except AssertionError as error:
                self.fail(f"{path.name}, {how}: {error}")
            self.flushLoggedErrors(ZeroDivisionError)

    def connect(self) -> IProtocol:
        protocol = edge_factory(MemoryReceiving()).buildProtocol(
            IPv4Address("TCP", "192.0.2.1", 40000)
        )
        connected(protocol)
        return protocol


class RunnerTests(SynchronousTestCase):
    def test_turns(self) -> None:
        """Lines of one side that stand together are one turn."""
        text = "S: hi\nC: a\\x41\nC+ {3*b}\n# aside\nS: x\nS:\n-- closed\n"
        first, second = turns(text)
        self.assertEqual((first.said, first.heard), (b"", (b"hi",)))
        self.assertEqual((second.said, second.heard), (b"aA\r\nbbb", (b"x", b"")))
        self.assertEqual((first.closed, second.closed), (False, True))

    def test_nonsense(self) -> None:
        """A line of nobody is an error of the dialogue."""
        with self.assertRaises(ValueError):
            list(turns("Q: what\n"))
