"""Who may connect where, when there is not room for all."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from noinfra.net.places import Closing, Place, Places
from tests.net.dialogue import Session


class PlacesTests(SynchronousTestCase):
    """Two places to a destination, three in all."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.places = Places(
            self.clock, limit=3, limit_of_destination=2, messages=2, idle=10
        )

    def take(self, name: str) -> Deferred[Place]:
        return Deferred.fromCoroutine(self.places.take(name))

    def taken(self, name: str) -> Place:
        return self.successResultOf(self.take(name))

    def connected(self, place: Place) -> Session:
        """Give the place a connection that works."""
        session = Session()
        session.play("S: 220 mx")
        self.successResultOf(session.start(session.client.reply(1, "x")))
        place.client = session.client
        return session

    def test_limits(self) -> None:
        """A destination has its limit, all of them have one, and who waits has turns."""
        first, _ = self.taken("a"), self.taken("a")
        third_a = self.take("a")
        self.assertNoResult(third_a)
        b = self.taken("b")
        c, second_b = self.take("c"), self.take("b")
        self.places.give_back(first)
        self.assertEqual(self.successResultOf(c).destination, "c")
        self.assertNoResult(third_a)
        self.places.give_back(b)
        place = self.successResultOf(second_b)
        self.assertEqual(place.destination, "b")
        self.places.give_back(place)
        self.assertEqual(self.successResultOf(third_a).destination, "a")

    def test_hand_on(self) -> None:
        """A connection goes to who waits for the same destination, then it rests."""
        place = self.taken("a")
        session = self.connected(place)
        self.taken("a")
        waiting = self.take("a")
        self.places.give_back(place)
        self.assertIs(self.successResultOf(waiting), place)
        self.places.give_back(place)
        self.assertIs(self.taken("a"), place)
        self.assertIs(place.client, session.client)

    def test_served(self) -> None:
        """A connection that has served its messages takes leave."""
        place = self.taken("a")
        session = self.connected(place)
        session.client.served = 2
        self.places.give_back(place)
        session.play("C: QUIT\nS: 221 bye")
        self.assertFalse(session.transport.connected)
        self.assertIsNone(self.taken("a").client)

    def test_rest(self) -> None:
        """A resting connection is closed when time is up, or room is needed."""
        places = [self.taken("a"), self.taken("b"), self.taken("c")]
        sessions = [self.connected(place) for place in places]
        for place in places:
            self.places.give_back(place)
        self.assertEqual(self.taken("d").destination, "d")
        sessions[0].play("C: QUIT\nS: 221 bye")
        self.clock.advance(10)
        for session in sessions[1:]:
            session.play("C: QUIT\nS: 221 bye")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ended_at_rest(self) -> None:
        """A connection that ended meanwhile is not given out."""
        place = self.taken("a")
        session = self.connected(place)
        self.places.give_back(place)
        session.transport.loseConnection()
        self.assertIsNone(self.taken("a").client)

    def test_called_off(self) -> None:
        """Who stops waiting is passed over."""
        first, second = self.taken("a"), self.taken("a")
        gone, next_ = self.take("a"), self.take("a")
        gone.cancel()
        self.failureResultOf(gone)
        self.places.give_back(first)
        self.successResultOf(next_)
        self.places.give_back(second)

    def test_close(self) -> None:
        """Nobody gets a place any more, and resting connections take leave."""
        place = self.taken("a")
        session = self.connected(place)
        held = self.taken("a")
        waiting = self.take("a")
        self.places.give_back(place)
        place = self.successResultOf(waiting)
        waiting = self.take("a")
        self.places.close()
        self.failureResultOf(waiting, Closing)
        self.failureResultOf(self.take("b"), Closing)
        self.places.give_back(place)
        self.places.give_back(held)
        session.play("C: QUIT\nS: 221 bye")
