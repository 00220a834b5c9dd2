"""Definitions of one format as definitions of another, where the meaning is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from flowrunner.core.diagnostics import Diagnostic
from flowrunner.flow.fromasl import flow_of
from flowrunner.flow.parse import read_flow
from flowrunner.flow.toasl import asl_of as asl_of_flow
from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds import KindInfo
from flowrunner.workflow.fromasl import workflow_of
from flowrunner.workflow.toasl import asl_of as asl_of_workflow

Kinds = Mapping[str, KindInfo]


class Converted(NamedTuple):
    """The outcome: `definition` is None when a diagnostic is an error."""

    definition: JSONObject | None
    diagnostics: tuple[Diagnostic, ...]


def _flow_to_asl(text: str, kinds: Kinds, _name: str) -> Converted:
    flow, found, _, locate = read_flow(text, kinds)
    if flow is None:
        return Converted(None, found.diagnostics(locate))
    made = asl_of_flow(found, flow)
    return Converted(None if found.failed else made, found.diagnostics(locate))


def _workflow_to_asl(text: str, kinds: Kinds, _name: str) -> Converted:
    made, found, locate = asl_of_workflow(text, kinds)
    return Converted(None if found.failed else made, found.diagnostics(locate))


def _asl_to_flow(text: str, kinds: Kinds, name: str) -> Converted:
    made, found, locate = flow_of(text, kinds, name)
    return Converted(None if found.failed else made, found.diagnostics(locate))


def _asl_to_workflow(text: str, kinds: Kinds, name: str) -> Converted:
    made, found, locate = workflow_of(text, kinds, name)
    return Converted(None if found.failed else made, found.diagnostics(locate))


CONVERTERS: Mapping[tuple[str, str], Callable[[str, Kinds, str], Converted]] = {
    ("flow", "asl"): _flow_to_asl,
    ("workflow", "asl"): _workflow_to_asl,
    ("asl", "flow"): _asl_to_flow,
    ("asl", "workflow"): _asl_to_workflow,
}


def convert(text: str, form: str, to: str, kinds: Kinds, name: str = "converted") -> Converted:
    """Convert the text of a sound definition from one format (``asl``, ``flow``, ``workflow``) to another.

    The text of a state machine is JSON. `name` is what a flow or workflow will be called where the text has no name. Raises KeyError for formats that
    are not there or the same.
    """
    return CONVERTERS[form, to](text, kinds, name)
