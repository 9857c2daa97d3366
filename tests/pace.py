"""Bounds of time that hold on a busy machine, and while coverage counts every line."""

import os
import sys

_TRACED = sys.gettrace() is not None or any(
    name in os.environ for name in ("COVERAGE_RUN", "COVERAGE_PROCESS_CONFIG")
)
_SLACK = 8 if _TRACED else 2


def within(bound: float) -> float:
    """The bound that a quiet machine keeps, with room for one that is not quiet.

    What the tests look for is work that grows with the square of its input: that
    exceeds any such bound by far.
    """
    return bound * _SLACK
