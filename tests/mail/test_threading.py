"""IMAP THREAD's algorithms (RFC 5256)."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.mime import parse
from noinfra.mail.threading import Node, Threadable, by_references, by_subject, render
from tests.pace import within

CASES = Path(__file__).parents[3] / "shared/corpora/threading/imaptest-threads.json"
START = datetime(2026, 6, 1, tzinfo=UTC)


def message(
    number: int, message_id: str | None = None, *references: str, subject: str = ""
) -> Threadable:
    """A message that was sent as many minutes after the start as its number."""
    return Threadable(
        number=number,
        message_id=message_id,
        references=references,
        subject=subject,
        date=START + timedelta(minutes=number),
    )


def threads(*messages: Threadable) -> str:
    return render(by_references(messages))


def of_octets(number: int, octets: bytes) -> Threadable:
    """A message of the corpus; those without a date came one after the other."""
    read = parse(octets)
    return Threadable(
        number=number,
        message_id=read.message_id,
        references=read.references or read.in_reply_to[:1],
        subject=read.subject,
        date=read.date or START,
    )


def unordered(answer: str) -> list[object]:
    """A THREAD answer with its siblings in one fixed order."""
    stack: list[list[object]] = [[]]
    for token in answer.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            stack.append([])
        elif token == ")":
            inner = stack.pop()
            stack[-1].append(inner)
        else:
            stack[-1].append(token)
    return _sorted(stack[0])


def _sorted(tree: list[object]) -> list[object]:
    inner = sorted((_sorted(one) for one in tree if isinstance(one, list)), key=str)
    return [one for one in tree if not isinstance(one, list)] + inner


class ReferencesTests(SynchronousTestCase):
    def test_chain_and_fork(self) -> None:
        """A chain is one list; a fork opens a list for each branch."""
        self.assertEqual(
            threads(
                message(1, "a"),
                message(2, "b", "a"),
                message(3, "c", "a", "b"),
                message(4, "d", "a", "b"),
                message(5, "e", "a", "b", "d"),
                message(6, "z"),
            ),
            "(1 2 (3)(4 5))(6)",
        )

    def test_missing_parent(self) -> None:
        """Siblings whose parent is missing stay together; one alone is a root."""
        self.assertEqual(
            threads(message(1, "a", "x"), message(2, "b", "x")), "((1)(2))"
        )
        self.assertEqual(threads(message(1, "a", "x", "y")), "(1)")

    def test_loop(self) -> None:
        """References that go round do not."""
        self.assertEqual(
            threads(message(1, "a", "b"), message(2, "b", "a"), message(3, "c", "c")),
            "(2 1)(3)",
        )

    def test_subjects(self) -> None:
        """Roots of one base subject are one thread; empty subjects are not."""
        self.assertEqual(
            threads(
                message(1, "a", subject="x"),
                message(2, "b", subject="Re: X"),
                message(3, "c"),
                message(4, "d"),
            ),
            "(1 2)(3)(4)",
        )
        self.assertEqual(
            threads(message(1, "a", subject="x"), message(2, "b", subject="x")),
            "((1)(2))",
        )

    def test_long_chain(self) -> None:
        """Ten thousand replies in a row are threaded at once, in any order."""
        chain = [message(n, str(n), str(n - 1)) for n in range(1, 10_001)]
        for messages in (chain, chain[::-1]):
            began = perf_counter()
            self.assertEqual(render(by_references(messages)).count(" "), 9_999)
            self.assertLess(perf_counter() - began, within(3))

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["", "a", "b", "c", "d", "e"]),
                st.lists(
                    st.sampled_from(["a", "b", "c", "d", "e", "x", "y"]), max_size=4
                ),
                st.sampled_from(["", "s", "Re: s", "t"]),
            ),
            max_size=8,
        )
    )
    def test_all_once(self, drawn: list[tuple[str, list[str], str]]) -> None:
        """Whatever refers to what, each message is there once."""
        messages = [
            message(number, own or None, *references, subject=subject)
            for number, (own, references, subject) in enumerate(drawn)
        ]
        for trees in (by_references(messages), by_subject(messages)):
            found: list[int] = []
            left: list[Node] = list(trees)
            while left:
                node = left.pop()
                found += [node.message.number] if node.message else []
                left += node.children
            self.assertEqual(sorted(found), list(range(len(drawn))))
            self.assertEqual(render(trees).count("("), render(trees).count(")"))


class ImaptestTests(SynchronousTestCase):
    if not CASES.exists():
        skip = f"the threads are not at {CASES}"

    def test_corpus(self) -> None:
        """Dovecot's imaptest expects these trees; it leaves the order of siblings open."""
        cases = [
            case for case in json.loads(CASES.read_text()) if "stateful" not in case
        ]
        passed = 0
        for case in cases:
            octets = [one.replace("\n", "\r\n").encode() for one in case["messages"]]
            messages = [of_octets(number, one) for number, one in enumerate(octets, 1)]
            references = case["algorithm"] == "REFERENCES"
            found = render((by_references if references else by_subject)(messages))
            passed += unordered(found) == unordered(case["expect"])
            if unordered(found) != unordered(case["expect"]):
                print(f"{case['id']}: {found} for {case['expect']}")
        print(f"\nthreads: {passed} of {len(cases)}")
        self.assertEqual(passed, len(cases))
