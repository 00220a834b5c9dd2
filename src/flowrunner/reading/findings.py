"""Collecting what is wrong while a definition is read: places as tuples, written as AWS writes them at the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

from flowrunner.core.diagnostics import Diagnostic
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.embedded import Embedded
from flowrunner.reading.hints import HINTS

Place = tuple[str | int, ...]  # member names and array indexes, from the root
Severity = Literal["ERROR", "WARNING"]
Locate = Callable[[Place], tuple[int, int]]

SCHEMA = "SCHEMA_VALIDATION_FAILED"
UNREADABLE = "INVALID_JSON_DESCRIPTION"
_PART = re.compile(r"([/\[])([^/\[\]]+)")
NO_OBJECT = "Definition must be a valid JSON object"
MAX_CHARACTERS = 1000  # of a message, and of a pointer: both may hold names of the author's, which have the size of the text
MAX_FINDINGS = 1000  # per definition; more tell nobody anything, and bound the answer to a hostile one


class Finding(NamedTuple):
    """One finding; `place` None when it belongs to no place at all."""

    code: str
    message: str
    place: Place | None
    severity: Severity
    position: tuple[int, int] | None = None  # line and column, where known without the place
    hint: str = ""


class Script(NamedTuple):
    """JavaScript that stands at a place: all of the `text` there, or the part of it from `offset` on."""

    source: str
    place: Place
    text: str
    offset: int = 0


class Findings:
    """The findings so far, in the order in which they were made, and the scripts that were met on the way.

    `kept`: the text was accepted before, perhaps by a release that looked less closely. What is refused only when a text is to be kept
    is a warning then, for what has been kept goes on to run.
    """

    def __init__(self, *, kept: bool = False) -> None:
        self.kept = kept
        self._found: list[Finding] = []
        self.errors = 0
        self.scripts: list[Script] = []

    def script(self, place: Place, source: JSONValue) -> None:
        """Remember JavaScript; what is no text was found elsewhere."""
        if isinstance(source, str):
            self.scripts.append(Script(source, place, source))

    def expressions(self, place: Place, text: str, parts: Iterable[str | Embedded]) -> None:
        """Remember the expressions among the parts of a text."""
        for part in parts:
            if isinstance(part, Embedded):
                self.scripts.append(Script(part.source, place, text, part.offset))

    def error(self, place: Place | None, message: str, code: str = SCHEMA, *, hint: str = "") -> None:
        """Add an error; `hint` is what would mend it."""
        self._add(Finding(code, message, place, "ERROR", hint=hint))

    def refuse(self, place: Place | None, message: str, code: str, *, hint: str = "") -> None:
        """Add an error about what can be compiled all the same: it would fail, or do nothing good, when it runs."""
        self._add(Finding(code, message, place, "WARNING" if self.kept else "ERROR", hint=hint))

    def warning(self, place: Place | None, message: str, code: str, *, hint: str = "") -> None:
        """Add a warning; a definition with only warnings is valid."""
        self._add(Finding(code, message, place, "WARNING", hint=hint))

    def _add(self, finding: Finding) -> None:
        self.errors += finding.severity == "ERROR"
        if len(self._found) < MAX_FINDINGS:
            self._found.append(finding)

    def absorb(self, others: Findings, place: Place) -> None:
        """Add what was found, and met, in a part of the text that begins at `place`."""
        for finding in others._found:
            self._add(finding if finding.place is None else finding._replace(place=(*place, *finding.place)))
        self.scripts += [script._replace(place=(*place, *script.place)) for script in others.scripts]

    def unreadable(self, error: InvalidDocument, *, as_aws: bool) -> None:
        """Add what a reader refused, at its line and column.

        `as_aws`: as AWS says it for text that is not JSON (recorded: no reason, no place); the reason follows as a warning.
        """
        at = (error.line or 1, error.column or 1)
        if as_aws:
            self._add(Finding(SCHEMA, NO_OBJECT, None, "ERROR", at))
        place = _place(error.pointer) or None
        self._add(Finding(UNREADABLE, error.message, place, "WARNING" if as_aws else "ERROR", at))

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return self.errors > 0

    def count(self) -> int:
        """How many there are."""
        return len(self._found)

    def diagnostics(self, locate: Locate | None = None, *, authored: bool = False) -> tuple[Diagnostic, ...]:
        """All findings with pointer, line and column. `authored`: of our own formats, with remedies and with pointers of RFC 6901; else as AWS has them."""
        return tuple(_diagnostic(finding, locate, authored=authored) for finding in self._found)


def _diagnostic(finding: Finding, locate: Locate | None, *, authored: bool) -> Diagnostic:
    hint = bounded(finding.hint or HINTS.get(finding.code, "")) if authored else finding.hint
    place = finding.place
    line, column = finding.position or (locate(place or ()) if locate is not None else (0, 0))
    pointer = "" if place is None else bounded(json_pointer(place) if authored else pointer_of(place))
    return Diagnostic(code=finding.code, message=bounded(finding.message), pointer=pointer, severity=finding.severity, line=line, column=column, hint=hint)


def bounded(text: str) -> str:
    """The text, or its beginning when it is too long to be told again with every finding."""
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"


def pointer_of(place: Place) -> str:
    """The place as AWS writes it: ``/States/A/Catch[0]/Next``, ``/`` for the whole. Unlike RFC 6901, nothing is escaped."""
    return "".join(f"[{part}]" if isinstance(part, int) else f"/{part}" for part in place) or "/"


def _place(pointer: str) -> Place:
    """The parts of what `pointer_of` has written, as far as they can be told apart."""
    return tuple(int(part) if part.isdecimal() and mark == "[" else part for mark, part in _PART.findall(pointer))


def json_pointer(place: Place) -> str:
    """The place as RFC 6901 has it, but ``/`` for the whole, as in findings of state machines."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place) or "/"


def for_people(diagnostics: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """The same findings, but what cannot be read is told once: the reason as the error, without AWS's sentence that gives none."""
    match diagnostics:
        case (Diagnostic(message=message), Diagnostic(code=code) as reason) if message == NO_OBJECT and code == UNREADABLE:
            return (replace(reason, severity="ERROR"),)
        case _:
            return diagnostics


def format_aws(diagnostics: Iterable[Diagnostic]) -> str:
    """The message of AWS's InvalidDefinition: every error, ``at null`` for one without a place.

    Wording: recorded answers of CreateStateMachine; ``at null`` as published in github.com/floci-io/floci/issues/2735.
    """
    errors = [found for found in diagnostics if found.severity == "ERROR"]
    listed = ", ".join(f"{found.code}: {found.message} at {found.pointer or 'null'}" for found in errors)
    return f"Invalid State Machine Definition: '{listed}'"
