"""What is wrong with a definition, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding.

    `code` is AWS's where AWS has one (SCHEMA_VALIDATION_FAILED, MISSING_TRANSITION_TARGET, ...). `pointer` is the place
    as AWS writes it ("/States/S1/Next"); `line` and `column` count from 1, 0 when the text was not available.
    `message` is AWS's own wording where recorded, without the place; `hint` is what would mend it, where that is known.
    """

    code: str
    message: str
    pointer: str = ""
    severity: Literal["ERROR", "WARNING"] = "ERROR"
    line: int = 0
    column: int = 0
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.line}:{self.column}: " if self.line else ""
        return f"{where}{self.severity.lower()}: {self.message} at {self.pointer or '/'} [{self.code}]"
