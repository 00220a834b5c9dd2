"""Where in the author's source an error of the engine happened.

Code is wrapped before the engine gets it: line 1 is ours, the author's begins in line 2, and what follows it is ours again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FRAME = re.compile(r"<input>:(\d+):(\d+)")
_END = "the script ends too early: something is not closed"
_CAUSES = {
    "unexpected end of string": "a string or template is not closed",
    "unexpected end of comment": "a comment is not closed",
}


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Why a script does not compile; `line` and `column` count from 1."""

    message: str
    line: int
    column: int


def in_script(stack: str) -> tuple[int, int]:
    """Line and column of the innermost frame that is the author's; (0, 0) without one."""
    for match in _FRAME.finditer(stack):
        line = int(match[1])
        if line > 1:
            return line - 1, int(match[2])
    return 0, 0


def syntax_problem(source: str, messages: list[str], stacks: list[str]) -> SyntaxProblem:
    """The problem of the attempt that came further; `messages` and `stacks` are those of the source read as an expression, and as a body."""
    lines = source.splitlines() or [""]
    found = max(zip((in_script(stack) for stack in stacks), messages, strict=True), key=lambda one: one[0], default=((0, 0), "it does not compile"))
    (line, column), message = found
    if line > len(lines):
        return SyntaxProblem(_END, len(lines), len(lines[-1]) + 1)
    return SyntaxProblem(_CAUSES.get(message, message), max(line, 1), max(column, 1))
