"""What is wrong with a definition that somebody sent, as an answer of the REST API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from litestar import Request
from msgspec import UNSET, UnsetType

from flowrunner.api.bodies import object_of, places_in
from flowrunner.api.problems import ProblemError, as_error
from flowrunner.core.diagnostics import Diagnostic
from flowrunner.definitions.service import invalid
from flowrunner.errors import InvalidDefinition
from flowrunner.reading.document import Pointers
from flowrunner.reading.parsed import Parsed


class Checked(msgspec.Struct):
    """What is wrong with a definition, and what is doubtful."""

    valid: bool
    errors: list[ProblemError]
    warnings: list[ProblemError]


def checked(parsed: Parsed, found: tuple[Diagnostic, ...] | None = None) -> Checked:
    """The findings of a definition that was sent as a text; `found` are the same at other places."""
    told = [(one.severity, ProblemError(**as_error(one))) for one in (parsed.diagnostics if found is None else found)]
    errors, warnings = ([error for severity, error in told if (severity == "ERROR") is wanted] for wanted in (True, False))
    return Checked(parsed.program is not None, errors, warnings)


async def checked_in(request: Request[Any, Any, Any], parsed: Parsed, member: str = "/definition") -> Checked:
    """The findings of a definition at their places in the body, whose `member` (a pointer, or all of the body) it is."""
    return checked(parsed, await _placed(request, parsed.diagnostics, member))


async def warnings_in(request: Request[Any, Any, Any], parsed: Parsed, member: str = "/definition") -> list[ProblemError] | UnsetType:
    """What is doubtful about a definition that was kept, at its places in the body; UNSET for nothing."""
    return (await checked_in(request, parsed, member)).warnings or UNSET


async def doubts_in(request: Request[Any, Any, Any], form: str, found: tuple[Diagnostic, ...]) -> list[ProblemError] | UnsetType:
    """What is doubtful about the whole body; UNSET for nothing. Raises InvalidDefinition for what is wrong with it; `form` is what it is called."""
    placed = await _placed(request, found, "")
    if any(one.severity == "ERROR" for one in placed):
        raise invalid(form, placed)
    return [ProblemError(**as_error(one)) for one in placed] or UNSET


async def refused(request: Request[Any, Any, Any], form: str, error: InvalidDefinition, member: str = "") -> InvalidDefinition:
    """The error with each finding at its place in the body, whose `member` (a pointer, or all of the body) the definition is."""
    return invalid(form, await _placed(request, tuple(one for one in error.diagnostics if isinstance(one, Diagnostic)), member))


async def _placed(request: Request[Any, Any, Any], found: tuple[Diagnostic, ...], member: str) -> tuple[Diagnostic, ...]:
    """Findings with pointers into the body; line and column are those there, but in a definition that is a text those of that text."""
    if not found:
        return ()
    body = await object_of(request)
    is_text = isinstance(body, dict) and isinstance(body.get(member.removeprefix("/")), str)
    places = None if is_text else await places_in(request)
    return tuple(_at(one, f"{member}{'' if one.pointer == '/' else one.pointer}", places, is_text=is_text) for one in found)


def _at(found: Diagnostic, pointer: str, places: Pointers | None, *, is_text: bool) -> Diagnostic:
    if is_text:
        return replace(found, pointer=pointer)
    # What the body does not have was there before, or was left out: that has no line.
    line, column = places(pointer) if places is not None and places.begins(pointer) else (0, 0)
    return replace(found, pointer=pointer, line=line, column=column)
