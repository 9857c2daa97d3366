"""Where data waits: bounds in memory, files, and what happens when neither will do."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from noinfra.fronts.smtp.intake import Intake
from noinfra.fronts.smtp.refusals import StorageFull
from noinfra.fronts.smtp.spool import Budget, Spool, Storage
from tests.fronts.smtp_edge import MemoryReceiving, connect, edge_factory

HEAD = b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<agent@example.com>\r\nDATA\r\n"


def storage(**limits: int) -> Storage:
    return Storage(
        in_thread=maybeDeferred,
        in_memory=10,
        collecting=Budget(limits.get("collecting", 100)),
        reading=Budget(limits.get("reading", 100)),
    )


class SpoolTests(SynchronousTestCase):
    def read(self, spool: Spool) -> bytes:
        return self.successResultOf(Deferred.fromCoroutine(spool.read()))

    def test_memory(self) -> None:
        """Little data stays in memory, and gives its share back."""
        common = storage()
        spool = Spool(common)
        spool.write(b"hello ")
        spool.write(b"you")
        self.assertEqual(common.collecting.used, 9)
        self.assertEqual(self.read(spool), b"hello you")
        spool.close()
        self.assertEqual(common.collecting.used, 0)

    def test_file(self) -> None:
        """More data is in a file, and has a share while it is read and received."""
        common = storage()
        spool = Spool(common)
        spool.write(b"hello ")
        spool.write(b"everybody")
        self.assertEqual(common.collecting.used, 0)
        self.assertEqual(self.read(spool), b"hello everybody")
        self.assertEqual(common.reading.used, 15)
        spool.close()
        spool.close()
        self.assertEqual(common.reading.used, 0)

    def test_no_share(self) -> None:
        """Without a share in memory even little data is in a file."""
        common = storage(collecting=5)
        first, second = Spool(common), Spool(common)
        first.write(b"1234")
        second.write(b"5678")
        self.assertEqual(common.collecting.used, 4)
        self.assertEqual(self.read(second), b"5678")
        second.close()
        first.close()

    def test_waits(self) -> None:
        """Large data waits, in order, until there is memory to read it."""
        common = storage(reading=30)
        spools = [Spool(common) for _ in range(3)]
        for spool in spools:
            spool.write(b"x" * 20)
        reads = [Deferred.fromCoroutine(spool.read()) for spool in spools]
        self.successResultOf(reads[0])
        self.assertNoResult(reads[1])
        spools[0].close()
        self.successResultOf(reads[1])
        self.assertNoResult(reads[2])
        spools[1].close()
        self.successResultOf(reads[2])
        spools[2].close()

    def test_larger_than_all(self) -> None:
        """Data larger than the budget is read, alone."""
        common = storage(reading=5)
        spool = Spool(common)
        spool.write(b"x" * 20)
        self.assertEqual(self.read(spool), b"x" * 20)
        spool.close()
        self.assertEqual(common.reading.used, 0)


class FullTests(SynchronousTestCase):
    def test_no_room(self) -> None:
        """Without room on disk the data is refused for now, at its end."""
        common = Storage(in_thread=maybeDeferred, directory=Path("/nonexistent"), in_memory=9)  # fmt: skip
        protocol, transport = connect(edge_factory(MemoryReceiving(), storage=common))
        protocol.dataReceived(HEAD + b"x" * 20 + b"\r\n.\r\nNOOP\r\n")
        lines = transport.value().split(b"\r\n")
        self.assertTrue(lines[-3].startswith(b"452 4.3.1 "), lines)
        self.assertTrue(lines[-2].startswith(b"250 "), lines)
        self.assertEqual(common.collecting.used, 0)

    def test_read_failed(self) -> None:
        """A file that cannot be read back is our passing trouble."""

        def fail(_: object) -> Deferred[bytes]:
            return maybeDeferred(lambda: b"cut")

        intake = Intake(Storage(in_thread=fail, in_memory=1), 100, False)
        intake.add(b"hello")
        self.failureResultOf(Deferred.fromCoroutine(intake.octets()), StorageFull)
        intake.close()

    def test_shares_come_back(self) -> None:
        """However a mail ends, nothing of it stays."""
        for end in (b"x\r\n.\r\n", b"x\ny", b"x" * 3000, b"x" * 9000, b"half"):
            common = storage(collecting=5000)
            protocol, _ = connect(edge_factory(MemoryReceiving(), storage=common))
            protocol.dataReceived(HEAD + end)
            protocol.connectionLost()
            self.assertEqual((common.collecting.used, common.reading.used), (0, 0))
