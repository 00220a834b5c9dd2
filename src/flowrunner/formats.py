"""The formats that a definition may be written in, and who reads each: state machines, flows, workflows, test cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from flowrunner.asl.parse import parse_definition
from flowrunner.core.program import Program
from flowrunner.definitions.entries import Format
from flowrunner.definitions.service import Parser
from flowrunner.errors import InvalidDefinition
from flowrunner.flow.parse import parse_flow
from flowrunner.kinds import KindInfo
from flowrunner.ports.definitions import Revision
from flowrunner.reading.findings import format_aws
from flowrunner.reading.parsed import Parsed
from flowrunner.workflow.parse import parse_workflow
from flowrunner.workflow.testcase import parse_testcase

Kinds = Mapping[str, KindInfo]
Around = Mapping[str, Any]  # what a text was read with, beside it: the settings of its revision


def _flow(text: str, kinds: Kinds, around: Around, *, kept: bool = False) -> Parsed:
    del around
    return parse_flow(text, kinds, kept=kept)


def _workflow(text: str, kinds: Kinds, around: Around, *, kept: bool = False) -> Parsed:
    return parse_workflow(text, kinds, around.get("templates"), kept=kept)


def _test(text: str, kinds: Kinds, around: Around, *, kept: bool = False) -> Parsed:
    return parse_testcase(text, kinds, around.get("templates"), kept=kept)


class Reader(Protocol):
    """Reads a text with what was beside it; `kept`: it was accepted before."""

    def __call__(self, text: str, kinds: Kinds, around: Around, *, kept: bool = False) -> Parsed:
        """What the text says."""
        ...


READERS: Mapping[str, Reader] = {"flow": _flow, "workflow": _workflow, "test": _test}


def reader(form: Format, kinds: Kinds) -> Parser:
    """What reads texts of this format, with these kinds of nodes."""
    return lambda text, around: READERS[form](text, kinds, around)


def compile_revision(revision: Revision, kinds: Kinds) -> Program:
    """The program of a stored revision, by its setting `format`; raises InvalidDefinition if this release cannot read it."""
    form = revision.settings.get("format")
    if form is None:
        machine = parse_definition(revision.definition, kept=True)
        program, diagnostics = machine.program, machine.diagnostics
    elif (read := READERS.get(str(form))) is not None:
        parsed = read(revision.definition, kinds, revision.settings, kept=True)
        program, diagnostics = parsed.program, parsed.diagnostics
    else:
        raise InvalidDefinition(f"This release knows no format {form!r}.")
    if program is None:
        raise InvalidDefinition(format_aws(diagnostics), diagnostics)
    return program
