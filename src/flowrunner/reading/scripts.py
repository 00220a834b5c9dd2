"""The JavaScript that stands in a definition: collected while it is read, judged by somebody who has an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from flowrunner.core.diagnostics import Diagnostic
from flowrunner.reading.document import Document
from flowrunner.reading.findings import MAX_FINDINGS, Script, bounded, json_pointer

INVALID_SCRIPT = "INVALID_SCRIPT"
HINT = "A script is the body of a function, or one expression, in JavaScript (ES2023)."


class Problem(Protocol):
    """Why a script does not compile; line and column count from 1 in the script itself."""

    @property
    def message(self) -> str:
        """What is wrong, without the place."""

    @property
    def line(self) -> int:
        """The line of the script."""

    @property
    def column(self) -> int:
        """The column in that line."""


class Scripts(NamedTuple):
    """The scripts of one definition, and where they stand in its text."""

    found: tuple[Script, ...] = ()
    document: Document | None = None

    def sources(self) -> tuple[str, ...]:
        """Every source once."""
        return tuple(dict.fromkeys(script.source for script in self.found))

    def diagnostics(self, problems: Mapping[str, Problem]) -> tuple[Diagnostic, ...]:
        """A finding for each script whose source has a problem, at the script's own line where that can be told."""
        wrong = [(script, problems[script.source]) for script in self.found if script.source in problems]
        return tuple(self._diagnostic(script, problem) for script, problem in wrong[:MAX_FINDINGS])

    def _diagnostic(self, script: Script, problem: Problem) -> Diagnostic:
        where = f" (line {problem.line} of the script)" if problem.line > 1 else ""
        line, column = (0, 0) if self.document is None else self.document.within(script.place, script.text, *_in_text(script, problem))
        return Diagnostic(
            code=INVALID_SCRIPT,
            message=bounded(f"The JavaScript does not compile: {problem.message}{where}."),
            pointer=bounded(json_pointer(script.place)),
            line=line,
            column=column,
            hint=HINT,
        )


def _in_text(script: Script, problem: Problem) -> tuple[int, int]:
    """Line and column in the whole text that the script is a part of."""
    lines, rest = script.text.count("\n", 0, script.offset), script.offset - script.text.rfind("\n", 0, script.offset) - 1
    return problem.line + lines, problem.column + (rest if problem.line == 1 else 0)
