"""The replies of other projects' tests, and how many of them we read as they do.

These projects differ (on signatures, forwards, answers below a quote), so that nobody
reaches all. Compared is as a reader would: without blanks at the ends of lines and of
the text, runs of blank lines as one; of HTML, the text without any white space.
"""

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from noinfra.mail.html import to_text
from noinfra.mail.reply import extract, extract_html
from tests.pace import within

ROOT = Path(__file__).resolve().parents[2]
REPLIES = ROOT.parent / "shared" / "corpora" / "reply-extraction" / "replies.json"
FLOOR = 0.9


def replies() -> list[dict[str, Any]]:
    if not REPLIES.exists():
        raise SkipTest(f"There is no {REPLIES}; the score of replies is not taken.")
    return list(json.loads(REPLIES.read_text("utf-8")))


def normal(text: str) -> str:
    lines = (line.rstrip() for line in text.replace("\r\n", "\n").split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def without_space(text: str) -> str:
    return "".join(text.split())


def agrees(reply: dict[str, Any]) -> bool:
    expect = reply["expect"]
    if reply["kind"] == "html":
        new = to_text(extract_html(reply["input"]))
        return without_space(new) == str(expect["reply_text_nows"])
    start = time.process_time()
    new = extract(reply["input"])
    spent = time.process_time() - start
    text = normal(new)
    return (
        text == normal(expect.get("reply", text))
        and text.startswith(expect.get("reply_starts", ""))
        and all(normal(part) in text for part in expect.get("reply_contains", ()))
        and not any(normal(p) in text for p in expect.get("reply_not_contains", ()))
        and all(re.search(p, new, re.M) for p in expect.get("reply_regex", ()))
        and not any(re.search(p, new, re.M) for p in expect.get("reply_not_regex", ()))
        and spent < expect.get("max_seconds", 60)
    )


class CorpusTests(SynchronousTestCase):
    def test_score(self) -> None:
        """We agree with at least nine tenths; the figures by project are printed."""
        corpus = replies()
        agreed = [agrees(reply) for reply in corpus]
        total: Counter[str] = Counter()
        good: Counter[str] = Counter()
        for reply, good_one in zip(corpus, agreed, strict=True):
            name = f"{reply['source']} ({reply['kind']})"
            total[name] += 1
            good[name] += good_one
            if not good_one:
                print("\n  differs:", reply["id"], end="")
        for name, count in sorted(total.items()):
            print(f"\n  {name}: {good[name]} of {count}", end="")
        print(f"\n  replies: {sum(agreed)} of {len(agreed)}")
        self.assertGreaterEqual(sum(agreed) / len(agreed), FLOOR)

    def test_speed(self) -> None:
        """The median reply takes less than a millisecond, none more than ten."""
        spent = []
        for reply in replies():
            function = extract_html if reply["kind"] == "html" else extract
            best = 1.0
            for _ in range(3):
                start = time.process_time()
                function(reply["input"])
                best = min(best, time.process_time() - start)
            spent.append(best * 1000)
        spent.sort()
        print(f"\n  median {spent[len(spent) // 2]:.2f} ms, most {spent[-1]:.2f} ms")
        self.assertLess(spent[len(spent) // 2], within(1))
        self.assertLess(spent[-1], within(10))
