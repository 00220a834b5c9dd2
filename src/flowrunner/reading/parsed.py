"""What a front end says of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flowrunner.core.diagnostics import Diagnostic
from flowrunner.core.program import Program
from flowrunner.reading.scripts import Problem, Scripts


class Parsed(NamedTuple):
    """The outcome: `program` is None when a diagnostic is an error. The rest is what the text says of itself, as far as it can be read.

    `scripts` have been collected, but nobody has looked whether they compile.
    """

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    name: str | None = None
    description: str | None = None
    version: str | None = None
    scripts: Scripts = Scripts()
    tags: tuple[str, ...] | None = None
    category: str | None = None
    custom: Mapping[str, Any] | None = None

    def with_problems(self, problems: Mapping[str, Problem]) -> Parsed:
        """The same after its scripts were judged: `problems` by the sources that have one."""
        found = self.scripts.diagnostics(problems)
        return self._replace(program=None, diagnostics=(*self.diagnostics, *found)) if found else self
