"""The lines of the log: as Twisted would write them, and together."""

from __future__ import annotations

import io
from threading import Thread

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher, textFileLogObserver
from twisted.trial.unittest import SynchronousTestCase

from noinfra.cli.lines import Lines


class LineTests(SynchronousTestCase):
    """What is written, and when."""

    def test_lines(self) -> None:
        """A line is what Twisted would write, whatever it tells."""
        theirs, octets = io.StringIO(), io.BytesIO()
        ours = Lines(octets.write)
        logger = Logger(
            namespace="test", observer=LogPublisher(ours, textFileLogObserver(theirs))
        )
        logger.info(
            "{number:.2f} {text!r} {thing.level}", number=1, text="a", thing=Odd()
        )
        logger.warn("two\nlines {{}}")
        logger.error("{called()}", called=lambda: "called")
        logger.info("{missing} {text}", text="a")
        logger.info("{text.missing}", text="a")
        logger.info("{", text="a")
        logger.info("")
        logger.info("own system", log_system="system")
        logger.info("of \u00e4", log_format=b"octets {text}", text="a")
        logger.emit(LogLevel.critical, "no {text}", text=Odd())
        try:
            raise ValueError("three\nfour")
        except ValueError:
            logger.failure("it {broke}", broke="broke")
        self.assertEqual(octets.getvalue().decode(), theirs.getvalue())

    def test_surrogate(self) -> None:
        """Half of a surrogate pair, which has no UTF-8, is spelled out."""
        octets = io.BytesIO()
        logger = Logger(namespace="test", observer=Lines(octets.write))
        logger.info("a {text}", text="\ud800")
        self.assertIn(b"] a \\ud800\n", octets.getvalue())

    def test_together(self) -> None:
        """Lines wait a second for each other, but not behind what is bad."""
        octets, clock = io.BytesIO(), Clock()
        lines = Lines(octets.write)
        logger = Logger(namespace="test", observer=lines)
        lines.gather(clock.callLater)

        def written() -> int:
            return octets.getvalue().count(b"\n")

        logger.info("one")
        logger.info("two")
        self.assertEqual(written(), 0)
        clock.advance(1)
        self.assertEqual(written(), 2)
        logger.info("three")
        logger.warn("four")
        self.assertEqual(written(), 4)
        logger.info("five")
        other = Thread(target=logger.info, args=("six",))
        other.start()
        other.join()
        self.assertEqual(written(), 6)
        for _ in range(1000):
            logger.info("many")
        self.assertEqual(written(), 1006)
        logger.info("last")
        lines.close()
        logger.info("after")
        self.assertEqual(written(), 1008)


class Odd:
    """Something that cannot be spelled."""

    level = 7

    def __format__(self, specification: str) -> str:
        raise ValueError("no")
