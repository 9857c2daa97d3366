"""Every dialogue of IMAP, played whole and byte by byte."""

from __future__ import annotations

from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.fronts.dialogue import DIALOGUES, How, play
from tests.fronts.imap_session import connect, imap_factory, memory_mail


class DialogueTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """Each dialogue holds when a turn comes in one segment."""
        self.play_all("whole")

    def test_byte_by_byte(self) -> None:
        """Each dialogue holds when each octet comes by itself."""
        self.play_all("byte by byte")

    def play_all(self, how: How) -> None:
        paths = sorted(DIALOGUES.glob("imap-*.txt"))
        self.assertGreater(len(paths), 15)
        for path in paths:
            try:
                play(path.read_text(encoding="utf-8"), self.connect, how)
            except AssertionError as error:
                self.fail(f"{path.name}, {how}: {error}")
            self.flushLoggedErrors(ZeroDivisionError)

    def connect(self) -> IProtocol:
        return connect(imap_factory(memory_mail()))[0]
