"""Every dialogue of SMTP submission, played whole and byte by byte."""

from __future__ import annotations

from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.fronts.dialogue import DIALOGUES, How, play
from tests.fronts.submission import MemorySubmitting, connect, submission_factory


class DialogueTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """Each dialogue holds when a turn comes in one segment."""
        self.play_all("whole")

    def test_byte_by_byte(self) -> None:
        """Each dialogue holds when each octet comes by itself."""
        self.play_all("byte by byte")

    def play_all(self, how: How) -> None:
        paths = sorted(DIALOGUES.glob("submission-*.txt"))
        self.assertGreater(len(paths), 3)
        for path in paths:

            def connection(in_tls: bool = path.stem != "submission-clear") -> IProtocol:
                factory = submission_factory(MemorySubmitting())
                return connect(factory, in_tls=in_tls)[0]

            try:
                play(path.read_text(encoding="utf-8"), connection, how)
            except AssertionError as error:
                self.fail(f"{path.name}, {how}: {error}")
