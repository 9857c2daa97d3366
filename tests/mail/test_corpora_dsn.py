"""Real non-delivery reports and complaints, against their labels.

The labels are Sisimai's. Its statuses of the form x.0.9yy are of its own making, so that
only their class is compared. It calls what expired delayed, where the report itself says
failed, so that the action is not compared there.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.mime import parse
from noinfra.mail.outcome import Outcome
from noinfra.mail.report import read, read_complaint

BOUNCES = Path(__file__).parents[3] / "shared" / "corpora" / "bounces"
FLOOR = 0.93

Label = dict[str, Any]


class BounceCorpusTests(SynchronousTestCase):
    if not BOUNCES.exists():
        skip = f"the bounces are not at {BOUNCES}"

    def test_score(self) -> None:
        """Recipients, statuses, actions and kinds are found in nearly all reports."""
        passed, failed, misses = Counter[str](), Counter[str](), list[str]()
        for name, label in json.loads((BOUNCES / "labels.json").read_text()).items():
            octets = (BOUNCES / name).read_bytes()
            for check, good in checks(octets, label):
                (passed if good else failed)[check] += 1
                if not good:
                    misses.append(f"{name}: {check}")
        total = passed.total() + failed.total()
        print(f"\nbounces: {passed.total()} of {total} checks; missed {dict(failed)}")
        if "-v" in sys.argv:
            print("\n".join(misses))
        self.assertGreater(passed.total() / total, FLOOR)


def checks(octets: bytes, label: Label) -> list[tuple[str, bool]]:
    """Each thing that a label says of a message, and whether we read it."""
    message = parse(octets)
    if label["kind"] == "vacation":
        return [("no report", read(octets, message) is None)]
    if label["kind"] == "feedback":
        complaint = read_complaint(octets, message)
        wanted = [cast(str, one["recipient"]) for one in label["expect"]]
        found = complaint.recipients if complaint else ()
        kind = complaint.feedback_type if complaint else ""
        return [("complaint", complaint is not None)] + [
            check
            for one, expected in zip(wanted, label["expect"], strict=True)
            for check in (
                ("complained recipient", one in found or "undisclosed" in one),
                ("feedback type", kind == expected["feedbacktype"]),
            )
        ]
    report = read(octets, message)
    outcomes = report.recipients if report else ()
    results = [("report", report is not None)]
    results.append(("recipients", len(outcomes) == len(label["expect"])))
    for expected in label["expect"]:
        if "recipient" in expected:
            results += outcome_checks(outcomes, expected)
    return results


def outcome_checks(
    outcomes: tuple[Outcome, ...], label: Label
) -> list[tuple[str, bool]]:
    """What is expected of one recipient."""
    address = label["recipient"].lower()
    named = [
        one
        for one in outcomes
        if address in (one.address.lower(), (one.original or "").lower())
    ]
    if not named:
        return [(check, False) for check in ("address", "status", "hard", "action")]
    outcome = named[0]
    status = label["status"]
    same = outcome.status == status
    if ".0.9" in status:
        same = outcome.status[0] == status[0]
    return [
        ("address", True),
        ("status", same),
        ("hard", (outcome.kind == "hard") == label["hardbounce"]),
    ] + [
        ("action", outcome.action == label["action"])
        for _ in range(label["reason"] != "expired" and "action" in label)
    ]
