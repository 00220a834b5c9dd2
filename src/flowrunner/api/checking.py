"""What is wrong with a definition that somebody sent, as an answer of the REST API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from flowrunner.api.problems import ProblemError, as_error
from flowrunner.core.diagnostics import Diagnostic
from flowrunner.errors import InvalidDefinition
from flowrunner.reading.parsed import Parsed


class Checked(msgspec.Struct):
    """What is wrong with a definition, and what is doubtful."""

    valid: bool
    errors: list[ProblemError]
    warnings: list[ProblemError]


def checked(parsed: Parsed, given: dict[str, Any] | str | None = None) -> Checked:
    """The findings; with `given` at their places in the request whose member ``definition`` that is."""
    found = parsed.diagnostics if given is None else tuple(placed(one, given) for one in parsed.diagnostics)
    told = [(one.severity, ProblemError(**as_error(one))) for one in found]
    errors, warnings = ([error for severity, error in told if (severity == "ERROR") is wanted] for wanted in (True, False))
    return Checked(parsed.program is not None, errors, warnings)


def placed(found: Diagnostic, given: dict[str, Any] | str) -> Diagnostic:
    """A finding with its place in the request; lines and columns are those of a text."""
    place = replace(found, pointer=f"/definition{'' if found.pointer == '/' else found.pointer}")
    return place if isinstance(given, str) else replace(place, line=0, column=0)


def all_placed(error: InvalidDefinition, given: dict[str, Any] | str) -> InvalidDefinition:
    """The error with each finding at its place in the request."""
    return InvalidDefinition(error.message, tuple(placed(one, given) for one in error.diagnostics if isinstance(one, Diagnostic)))
