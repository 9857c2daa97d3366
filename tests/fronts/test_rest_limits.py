from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from noinfra.fronts.rest import limits
from noinfra.fronts.rest.limits import Allowance, Buckets


class BucketTests(SynchronousTestCase):
    def test_burst_then_rate(self) -> None:
        """A full bucket gives its burst at once, and then its rate."""
        clock = Clock()
        buckets = Buckets(2.0, 3, clock.seconds)
        left = [buckets.take("key").remaining for _ in range(3)]
        self.assertEqual(left, [2, 1, 0])
        self.assertEqual(buckets.take("key"), Allowance(3, 0, 2, retry_after=1))
        clock.advance(0.5)
        self.assertIsNone(buckets.take("key").retry_after)
        self.assertIsNotNone(buckets.take("key").retry_after)

    def test_names_apart(self) -> None:
        """One name's haste is not another's."""
        buckets = Buckets(1.0, 1, Clock().seconds)
        buckets.take("a")
        self.assertIsNotNone(buckets.take("a").retry_after)
        self.assertIsNone(buckets.take("b").retry_after)

    def test_spent(self) -> None:
        """Looking takes nothing."""
        buckets = Buckets(0.5, 1, Clock().seconds)
        self.assertIsNone(buckets.spent("a"))
        self.assertIsNone(buckets.spent("a"))
        buckets.take("a")
        spent = buckets.spent("a")
        assert spent is not None
        self.assertEqual(spent.retry_after, 2)

    def test_memory(self) -> None:
        """However many names come, only so many are kept."""
        self.patch(limits, "CAPACITY", 10)
        clock = Clock()
        buckets = Buckets(1.0, 5, clock.seconds)
        for number in range(100):
            buckets.take(str(number))
        self.assertLessEqual(len(buckets._buckets), 10)
        clock.advance(10)
        for number in range(11):
            buckets.take(f"new {number}")
        self.assertLessEqual(len(buckets._buckets), 11)
