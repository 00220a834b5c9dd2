"""Named points of the shell where a test may kill the process; nothing happens at them otherwise (reliability R1).

They stand only here in the engine, around the commit and the dispatch, so they can be counted and tried exhaustively.
"""

from __future__ import annotations

from collections.abc import Callable

BEFORE_COMMIT = "before_commit"
AFTER_COMMIT = "after_commit_before_ack"
AFTER_DISPATCH = "after_dispatch_before_result"
AFTER_RESULT = "after_result_before_commit"
POINTS = (BEFORE_COMMIT, AFTER_COMMIT, AFTER_DISPATCH, AFTER_RESULT)

Point = Callable[[str], None]


def no_point(name: str) -> None:
    """What production does at every point: nothing."""
    del name
