"""Text to Program: reads, checks and compiles a definition in one walk, and says everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, cast

from flowrunner.asl import fields as table
from flowrunner.asl.expressions import Budget, Scope, field_of, optional_template, path_of, result_path_of, template_of, value_of
from flowrunner.asl.fields import FIELDS, checked
from flowrunner.asl.integrations import is_activity, refusal
from flowrunner.asl.maps import MapParts, map_parts
from flowrunner.asl.references import secrets_of
from flowrunner.asl.rules import catchers_of, retriers_of, rules_of
from flowrunner.asl.validate import check_graph, check_names
from flowrunner.asl.variables import check_variables
from flowrunner.core.diagnostics import Diagnostic
from flowrunner.core.program import (
    Branch,
    ChoiceWork,
    FailWork,
    Field,
    Kind,
    Language,
    MapWork,
    ParallelWork,
    PassWork,
    Program,
    State,
    SucceedWork,
    TaskWork,
    WaitWork,
    Work,
)
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.reading.document import Document, Syntax, read_document
from flowrunner.reading.findings import SCHEMA, Findings, Place

MachineKind = Literal["STANDARD", "EXPRESS"]
KINDS: tuple[Kind, ...] = ("Task", "Wait", "Pass", "Succeed", "Fail", "Choice", "Parallel", "Map")  # in AWS's order
VERSION = "1.0"  # of the language, the only one
MAX_NESTING = 25  # states within states; ours, AWS has TOO_DEEPLY_NESTED without naming its limit


class Parsed(NamedTuple):
    """The outcome: `program` is None when a diagnostic is an error."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class _Machine:
    """What every state of a definition is read with."""

    found: Findings
    language: Language
    express: bool
    budget: Budget = field(default_factory=Budget)
    references: dict[str, tuple[str, ...]] = field(default_factory=dict)
    depth: int = 0


def parse_definition(text: str, *, kind: MachineKind = "STANDARD", syntax: Syntax = "json", kept: bool = False) -> Parsed:
    """Read a whole definition; `kept`: one that was accepted before. Never raises for what the text holds; the time is bounded by the size limit."""
    found = Findings(kept=kept)
    document = _document(found, text, syntax)
    if document is None:
        return Parsed(None, found.diagnostics())
    program = _program(found, document.value, express=kind == "EXPRESS")
    return Parsed(None if found.failed else program, found.diagnostics(document.locate))


def parse_state(text: str, *, name: str = "StateName", kind: MachineKind = "STANDARD", language: Language = "JSONPath") -> Parsed:
    """Read a single state, as TestState takes it: a program of this one state, whose targets are not looked for.

    Places are given below ``/States/<name>``; AWS calls the state ``StateName``.
    """
    found = Findings()
    document = _document(found, text, "json")
    if document is None:
        return Parsed(None, found.diagnostics())
    machine = _Machine(found, language, kind == "EXPRESS")
    state = _state(machine, name, document.value, ("States", name))
    program = None
    if state is not None and not found.failed:
        branch = Branch(start_at=name, states={name: state})
        program = Program(root=branch, language=language, variable_references=machine.references)
    return Parsed(program, found.diagnostics(lambda place: document.locate(place[2:])))


def _document(found: Findings, text: str, syntax: Syntax) -> Document | None:
    try:
        document = read_document(text, syntax)
    except InvalidDocument as error:
        found.unreadable(error, as_aws=syntax == "json" and error.line > 0 and not error.pointer)
        return None
    if isinstance(document.value, dict):
        return document
    found.unreadable(InvalidDocument("The definition is not an object.", line=1, column=1), as_aws=True)
    return None


def _program(found: Findings, value: JSONObject, *, express: bool) -> Program | None:
    chosen = value.get("QueryLanguage")
    language: Language = "JSONata" if chosen == "JSONata" else "JSONPath"
    fields = checked(found, value, (), table.MACHINE, language)
    if fields is None:
        return None
    machine = _Machine(found, language, express)
    root, timeout = _branch(machine, fields, ()), fields.get("TimeoutSeconds")
    if "Version" in fields and fields["Version"] != VERSION:
        found.refuse(("Version",), f"Value should be one of the following: [{VERSION}]", SCHEMA)
    check_names(found, value)
    check_variables(found, value)
    if root is None:
        return None
    return Program(
        root=root,
        language=language,
        timeout_milliseconds=None if timeout is None else 1000 * timeout,
        comment=fields.get("Comment"),
        version=fields.get("Version", VERSION),
        variable_references=dict(sorted(machine.references.items())),
    )


def _branch(machine: _Machine, fields: JSONObject, place: Place) -> Branch | None:
    """The states of a machine, a parallel branch or an item processor."""
    states = fields.get("States")
    if states is None:
        return None
    if machine.depth > MAX_NESTING:
        machine.found.error(place, f"States are nested more than {MAX_NESTING} levels deep", "TOO_DEEPLY_NESTED")
        return None
    inner, before = replace(machine, depth=machine.depth + 1), machine.found.errors
    compiled = {name: _state(inner, name, value, (*place, "States", name)) for name, value in states.items()}
    if "StartAt" not in fields:
        return None
    check_graph(machine.found, fields["StartAt"], states, place, sound=machine.found.errors == before)
    good = {name: state for name, state in compiled.items() if state is not None}
    return Branch(start_at=fields["StartAt"], states=good) if len(good) == len(compiled) else None


def _state(machine: _Machine, name: str, value: JSONValue, place: Place) -> State | None:
    found = machine.found
    if not isinstance(value, dict):
        found.error(place, "Expected value of type Object")
        return None
    kind = _kind(found, value, place)
    if kind is None:
        return None
    own = value.get("QueryLanguage", machine.language)
    language: Language = own if own in table.LANGUAGES else machine.language
    if machine.language == "JSONata" and language == "JSONPath":
        found.error(place, "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine")
    fields = checked(found, value, place, FIELDS[kind], language)
    if fields is None:
        return None
    scope = Scope(found, place, language, machine.budget)
    if "Next" in FIELDS[kind] and "Next" not in value and value.get("End") is not True:
        scope.error(table.one_needed(("Next", "End")))
    work = WORKS[kind](machine, scope, fields)
    state = _complete(scope, name, kind, fields, work) if work is not None else None
    if scope.uses:
        machine.references[name] = tuple(sorted(scope.uses))
    return state


def _kind(found: Findings, value: JSONObject, place: Place) -> Kind | None:
    for kind in KINDS:
        if value.get("Type") == kind:
            return kind
    if "Type" in value:
        found.error((*place, "Type"), f"The field 'Type' should have one of these values: [{', '.join(KINDS)}]")
    else:
        found.error(place, "The field 'Type' is required but was missing")
    return None


def _complete(scope: Scope, name: str, kind: Kind, fields: JSONObject, work: Work) -> State:
    """The state with everything that several kinds share."""
    arguments = ("Arguments",) if kind == "Map" else ("Parameters", "Arguments")
    return State(
        name=name,
        kind=kind,
        work=work,
        language=scope.language,
        next=fields.get("Next"),
        input_path=path_of(scope, fields, "InputPath"),
        discards_input="InputPath" in fields and fields["InputPath"] is None,
        arguments=optional_template(scope, fields, *arguments),
        result_selector=optional_template(scope, fields, "ResultSelector"),
        result_path=result_path_of(scope, fields),
        discards_result="ResultPath" in fields and fields["ResultPath"] is None,
        output_path=path_of(scope, fields, "OutputPath"),
        discards_output="OutputPath" in fields and fields["OutputPath"] is None,
        output=optional_template(scope, fields, "Output"),
        assign=optional_template(scope, fields, "Assign"),
        retriers=retriers_of(scope, fields),
        catchers=catchers_of(scope, fields),
    )


def _pass(_machine: _Machine, scope: Scope, fields: JSONObject) -> Work:
    result = fields.get("Result")
    if isinstance(result, str) and result.startswith("$."):
        scope.found.warning((*scope.place, "Result"), "The result of a Pass state is static: a path in it is not evaluated", "PASS_RESULT_IS_STATIC")
    return PassWork(result, "Result" in fields)


def _task(machine: _Machine, scope: Scope, fields: JSONObject) -> Work | None:
    resource = fields.get("Resource")
    if resource is not None and (refused := refusal(resource, express=machine.express)):
        message, wrong = refused
        if wrong:
            scope.found.refuse((*scope.place, "Resource"), message, SCHEMA)
        else:
            scope.found.warning((*scope.place, "Resource"), message, "INVALID_RESOURCE")
    credentials = fields.get("Credentials")
    if isinstance(credentials, dict) and not {"RoleArn", "RoleArn.$"} & credentials.keys():
        scope.error("The field 'RoleArn' is required but was missing", "Credentials")
    if credentials is not None and is_activity(resource):
        scope.found.refuse((*scope.place, "Credentials"), "The field 'Credentials' is not supported for activities", SCHEMA)
    timeout, heartbeat = field_of(scope, fields, "TimeoutSeconds"), field_of(scope, fields, "HeartbeatSeconds")
    limits = [each.constant for each in (heartbeat, timeout) if each is not None and each.template is None]
    if len(limits) == 2 and limits[0] >= limits[1]:
        scope.found.warning((*scope.place, "HeartbeatSeconds"), "HeartbeatSeconds should be less than TimeoutSeconds", "HEARTBEAT_TOO_LONG")
    template = optional_template(scope, fields, "Credentials")
    if resource is None:
        return None
    return TaskWork(resource=resource, timeout=timeout, heartbeat=heartbeat, credentials=template, secrets=secrets_of(scope, fields, resource))


def _choice(_machine: _Machine, scope: Scope, fields: JSONObject) -> Work:
    return ChoiceWork(rules=rules_of(scope, fields.get("Choices", [])), default=fields.get("Default"))


def _wait(_machine: _Machine, scope: Scope, fields: JSONObject) -> Work | None:
    for name in ("Seconds", "Timestamp"):
        until = field_of(scope, fields, name)
        if until is not None:
            return WaitWork(until=until)
    return None


def _succeed(_machine: _Machine, _scope: Scope, _fields: JSONObject) -> Work:
    return SucceedWork()


def _fail(_machine: _Machine, scope: Scope, fields: JSONObject) -> Work:
    return FailWork(error=_reason(scope, fields, "Error"), cause=_reason(scope, fields, "Cause"))


def _reason(scope: Scope, fields: JSONObject, name: str) -> Field | None:
    """``Error`` and ``Cause``: text, JSONata, or a path or intrinsic in ``<name>Path``."""
    by_path = f"{name}Path"
    if by_path in fields:
        template = value_of(scope, fields[by_path], by_path)
        return None if template is None else Field(name=by_path, template=template)
    return field_of(scope, fields, name)


def _parallel(machine: _Machine, scope: Scope, fields: JSONObject) -> Work | None:
    branches = []
    for index, value in enumerate(fields.get("Branches", ())):
        place = (*scope.place, "Branches", index)
        inner = checked(scope.found, value, place, table.BRANCH, scope.language)
        branches.append(None if inner is None else _branch(machine, inner, place))
    good = tuple(branch for branch in branches if branch is not None)
    return ParallelWork(branches=good) if len(good) == len(branches) else None


def _map(machine: _Machine, scope: Scope, fields: JSONObject) -> Work | None:
    parts: MapParts | None = map_parts(scope, fields, express=machine.express)
    if parts is None:
        return None
    selector_name = "ItemSelector" if "ItemSelector" in fields else "Parameters"
    selector = template_of(scope, fields[selector_name], selector_name) if selector_name in fields else None
    child = replace(machine, express=parts.execution_type == "EXPRESS") if parts.distributed else machine
    processor = _branch(child, parts.processor, parts.place)
    if processor is None:
        return None
    return MapWork(
        processor=processor,
        items=field_of(scope, fields, "Items"),
        selector=selector,
        selector_name=selector_name if selector is not None else "ItemSelector",
        max_concurrency=field_of(scope, fields, "MaxConcurrency"),
        tolerated_failure_count=field_of(scope, fields, "ToleratedFailureCount"),
        tolerated_failure_percentage=field_of(scope, fields, "ToleratedFailurePercentage"),
        distributed=parts.distributed,
        execution_type=cast("MachineKind", parts.execution_type),
        label=fields.get("Label"),
        reader=parts.reader,
        batcher=parts.batcher,
        writer=parts.writer,
    )


WORKS: Mapping[Kind, Callable[[_Machine, Scope, JSONObject], Work | None]] = {
    "Pass": _pass,
    "Task": _task,
    "Choice": _choice,
    "Wait": _wait,
    "Succeed": _succeed,
    "Fail": _fail,
    "Parallel": _parallel,
    "Map": _map,
}
