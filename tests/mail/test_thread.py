"""The decision which thread a message joins, and the base subject."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.thread import (
    MAX_ANCESTORS,
    Placement,
    ancestry,
    base_subject,
    place,
    strip_subject,
    thread_key,
)

FRAGMENTS = st.sampled_from(
    ["Re:", "re[2]:", "FWD:", "(fwd)", "[list]", "[fwd:", "]", "[", " ", "\t", "a", ":"]
)


class BaseSubjectTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """Decoration goes, in any order and depth; what means something stays."""
        for subject, base in (
            ("", ""),
            ("a", "a"),
            ("Re: a", "a"),
            ("re : [x] FW: a (fwd) (FWD)", "a"),
            ("[list] Re: [other] a", "a"),
            ("Re[2]: a", "a"),
            ("re: [fwd: [fwd: re: [fwd: babylon]]]", "babylon"),
            ("[announce]", "[announce]"),
            ("Re: [announce]", "[announce]"),
            ("[a][b] c", "c"),
            ("a\r\n\t b", "a b"),
            ("reply: a", "reply: a"),
            ("Ad: Re: Ad: x", "Ad: Re: Ad: x"),
            ("b (a)", "b (a)"),
            ("AW: a", "AW: a"),
        ):
            self.assertEqual(base_subject(subject), base, subject)

    def test_is_reply(self) -> None:
        """A list's name is no sign of a reply; Re, Fwd and their forms are."""
        self.assertFalse(strip_subject("[list] a").is_reply)
        for subject in ("Re: a", "a (fwd)", "[Fwd: a]"):
            self.assertTrue(strip_subject(subject).is_reply, subject)

    @settings(deadline=None, max_examples=300)
    @given(st.lists(FRAGMENTS, max_size=12).map("".join) | st.text(max_size=40))
    def test_idempotent(self, subject: str) -> None:
        """The base of a base is the base."""
        base = base_subject(subject)
        self.assertEqual(base_subject(base), base)

    def test_hostile(self) -> None:
        """A megabyte of brackets takes no time."""
        for piece in ("[a]", "[", "re:", "re ", "[fwd:", "(fwd)"):
            base_subject(piece * 300_000)


class AncestryTests(SynchronousTestCase):
    def test_order(self) -> None:
        """The parent comes first, then the others from the latest to the root."""
        self.assertEqual(
            ancestry("m", ["c"], ["a", "b", "c"]),
            ("c", "b", "a"),
        )
        self.assertEqual(ancestry("m", [], ["a", "b"]), ("b", "a"))
        self.assertEqual(ancestry("m", ["x"], ["a", "b"]), ("x", "b", "a"))

    def test_not_itself(self) -> None:
        """A message that refers to itself is not its own ancestor."""
        self.assertEqual(ancestry("m", ["m"], ["a", "m", ""]), ("a",))

    def test_bounded(self) -> None:
        """Of very many ancestors the closest and the root are kept."""
        found = ancestry("m", [], [str(number) for number in range(5000)])
        self.assertEqual(len(found), MAX_ANCESTORS)
        self.assertEqual((found[0], found[-1]), ("4999", "0"))

    def test_keys(self) -> None:
        """A long or unprintable identifier is known by its hash, alike each time."""
        for odd in ("x" * 5000, "a\0b", "a\ud800b"):
            key = thread_key(odd)
            self.assertEqual(len(key), len("sha256:") + 64)
            self.assertEqual(ancestry("m", [odd], []), (key,))
        self.assertEqual(thread_key("a@b"), "a@b")


class PlaceTests(SynchronousTestCase):
    def placed(
        self, ancestors: list[str], known: dict[str, str]
    ) -> tuple[str | None, str | None]:
        placement = place("m", ancestors, known)
        return placement.thread, placement.absorbs

    def test_new(self) -> None:
        """A message of which nothing is known begins a thread."""
        self.assertEqual(place("m", [], {}), Placement(thread=None, absorbs=None))
        self.assertEqual(self.placed(["a"], {"b": "T"}), (None, None))

    def test_closest(self) -> None:
        """The thread of the closest known ancestor wins."""
        self.assertEqual(
            self.placed(["c", "b", "a"], {"a": "A", "b": "B"}), ("B", None)
        )

    def test_reply_came_first(self) -> None:
        """A message joins the thread that its own reply began."""
        self.assertEqual(self.placed(["a"], {"m": "T"}), ("T", None))

    def test_absorbs(self) -> None:
        """The missing link between two threads makes them one."""
        self.assertEqual(self.placed(["a"], {"a": "A", "m": "T"}), ("A", "T"))
        self.assertEqual(self.placed(["a"], {"a": "A", "m": "A"}), ("A", None))

    @settings(deadline=None, max_examples=200)
    @given(st.permutations(range(6)))
    def test_any_order(self, order: list[int]) -> None:
        """A conversation ends as one thread, in whatever order its messages come."""
        known: dict[str, str] = {}
        for number in order:
            own = str(number)
            ancestors = ancestry(own, [], [str(one) for one in range(number)])
            placement = place(own, ancestors, known)
            thread = placement.thread or f"T{number}"
            for key, old in known.items():
                known[key] = thread if old == placement.absorbs else old
            known |= {key: thread for key in (own, *ancestors) if key not in known}
        self.assertEqual(len(set(known.values())), 1)
