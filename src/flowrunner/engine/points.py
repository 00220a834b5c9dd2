"""Named points of the shell where a test may kill the process; nothing happens at them otherwise (reliability R1).

They stand only here in the engine, around the commit and the dispatch, so they can be counted and tried exhaustively.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from flowrunner.errors import ConfigurationError

BEFORE_COMMIT = "before_commit"
AFTER_COMMIT = "after_commit_before_ack"
AFTER_DISPATCH = "after_dispatch_before_result"
AFTER_RESULT = "after_result_before_commit"
POINTS = (BEFORE_COMMIT, AFTER_COMMIT, AFTER_DISPATCH, AFTER_RESULT)

Point = Callable[[str], None]


VARIABLE = "FLOWRUNNER_CRASH_AT"


def point_of(environment: Mapping[str, str]) -> Point:
    """What ``FLOWRUNNER_CRASH_AT=before_commit:3`` asks for: the process kills itself when it comes to that point the third time.

    For crash tests; without the variable nothing happens at any point. Raises ConfigurationError.
    """
    text = environment.get(VARIABLE, "")
    if not text:
        return no_point
    name, _, number = text.partition(":")
    if name not in POINTS or not (number or "1").isdigit():
        raise ConfigurationError(f"{VARIABLE}={text!r} names no crash point.", remedy=f"It is one of {', '.join(POINTS)}, and ':' with how many times to pass.")
    left = int(number or "1")

    def crash(at: str) -> None:
        nonlocal left
        left -= at == name
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return crash


def no_point(name: str) -> None:
    """What production does at every point: nothing."""
    del name
