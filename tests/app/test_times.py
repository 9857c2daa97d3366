from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.times import spell_time

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class TimeTests(SynchronousTestCase):
    def test_milliseconds(self) -> None:
        """Three digits after the second, whatever there is, and never rounded up."""
        for microseconds, fraction in (
            (0, "000"),
            (1, "000"),
            (123_000, "123"),
            (123_456, "123"),
            (999_999, "999"),
        ):
            time = NOON.replace(microsecond=microseconds)
            self.assertEqual(spell_time(time), f"2026-01-31T12:00:00.{fraction}Z")

    def test_zone(self) -> None:
        """PostgreSQL's times are in UTC; so is what is told."""
        self.assertTrue(
            spell_time(NOON.astimezone(timezone(timedelta()))).endswith("Z")
        )
