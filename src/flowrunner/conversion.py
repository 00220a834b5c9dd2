"""Definitions of one format as definitions of another, where the meaning is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from flowrunner.asl.parse import parse_definition
from flowrunner.core.diagnostics import Diagnostic
from flowrunner.flow.fromasl import flow_of
from flowrunner.flow.parse import read_flow
from flowrunner.flow.toasl import CANNOT_CONVERT
from flowrunner.flow.toasl import asl_of as asl_of_flow
from flowrunner.jsonvalue import JSONObject, dumps
from flowrunner.kinds import KindInfo
from flowrunner.reading.document import Syntax, read_document
from flowrunner.reading.findings import Findings, Locate, Place
from flowrunner.workflow.fromasl import workflow_of
from flowrunner.workflow.toasl import asl_of as asl_of_workflow

Kinds = Mapping[str, KindInfo]


class Converted(NamedTuple):
    """The outcome: `definition` is None when a diagnostic is an error."""

    definition: JSONObject | None
    diagnostics: tuple[Diagnostic, ...]


def _flow_to_asl(text: str, kinds: Kinds, _name: str) -> Converted:
    flow, found, _, document = read_flow(text, kinds)
    made = None if flow is None else asl_of_flow(found, flow)
    return _sound(made, found, None if document is None else document.locate)


def _workflow_to_asl(text: str, kinds: Kinds, _name: str) -> Converted:
    made, found, locate = asl_of_workflow(text, kinds)
    return _sound(made, found, locate)


def _sound(made: JSONObject | None, found: Findings, locate: Locate | None) -> Converted:
    """The state machine, unless it would be too large or nested too deep to be one."""
    errors = () if made is None or found.failed else (one for one in parse_definition(dumps(made)).diagnostics if one.severity == "ERROR")
    if (first := next(iter(errors), None)) is not None:
        said = f"This has no counterpart in the Amazon States Language: the machine would not be sound: {first.message} ({first.pointer})."
        found.error((), said, CANNOT_CONVERT)
    return _converted(made, found, locate)


def _asl_to_flow(text: str, kinds: Kinds, name: str) -> Converted:
    made, found, locate = flow_of(text, kinds, name)
    return _converted(made, found, locate)


def _asl_to_workflow(text: str, kinds: Kinds, name: str) -> Converted:
    made, found, locate = workflow_of(text, kinds, name)
    return _converted(made, found, locate)


def _flow_to_workflow(text: str, _kinds: Kinds, _name: str) -> Converted:
    return _refused(
        text,
        "yaml",
        ("nodes",),
        "This has no counterpart in a workflow: a flow takes an object and gives it back with what its nodes have returned, a workflow takes and gives"
        " variables and outputs, and its tasks are called in another way (an answer 404 is a result in a flow, a failure in a workflow)."
        " Keep it as a flow, and start it beside the workflow.",
    )


def _workflow_to_flow(text: str, _kinds: Kinds, _name: str) -> Converted:
    return _refused(
        text,
        "json",
        ("steps",),
        "This has no counterpart in a flow: a workflow takes and gives variables and outputs, a flow takes an object and gives it back with what its"
        " nodes have returned, and its tasks are called in another way (an answer 404 is a failure in a workflow, a result in a flow)."
        " Keep it as a workflow, and start it from a flow with a node of the kind 'workflow'.",
    )


def _refused(text: str, syntax: Syntax, place: Place, message: str) -> Converted:
    found = Findings()
    found.error(place, message, CANNOT_CONVERT)
    return _converted(None, found, read_document(text, syntax).locate)


def _converted(made: JSONObject | None, found: Findings, locate: Locate | None) -> Converted:
    return Converted(None if found.failed else made, found.diagnostics(locate, authored=True))


CONVERTERS: Mapping[tuple[str, str], Callable[[str, Kinds, str], Converted]] = {
    ("flow", "asl"): _flow_to_asl,
    ("workflow", "asl"): _workflow_to_asl,
    ("asl", "flow"): _asl_to_flow,
    ("asl", "workflow"): _asl_to_workflow,
    ("flow", "workflow"): _flow_to_workflow,
    ("workflow", "flow"): _workflow_to_flow,
}


def convert(text: str, form: str, to: str, kinds: Kinds, name: str = "converted") -> Converted:
    """Convert the text of a sound definition from one format (``asl``, ``flow``, ``workflow``) to another.

    `name` is what a flow or workflow will be called where the text has no name. Raises KeyError for formats that
    are not there or the same.
    """
    return CONVERTERS[form, to](text, kinds, name)
