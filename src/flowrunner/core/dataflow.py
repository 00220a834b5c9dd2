"""How data passes through a state: InputPath ... OutputPath in JSONPath, Arguments, Output and Assign in JSONata.

Order of evaluation (recorded from AWS): InputPath, Parameters, the work, ResultSelector, Assign, ResultPath, OutputPath.
New variables are visible from the next state on. The wording of causes is AWS's.
"""

from __future__ import annotations

from typing import Any

from flowrunner.core.faults import DATA_LIMIT_EXCEEDED, INTRINSIC_FAILURE, QUERY_EVALUATION_ERROR, RUNTIME, Failure, StateFailed
from flowrunner.core.program import Field, State, Template
from flowrunner.core.records import NOT_TRUNCATED
from flowrunner.core.run import Run
from flowrunner.core.scope import Scope
from flowrunner.errors import ExpressionError, IntrinsicError, PathNotFound, ResultTooLarge
from flowrunner.jsonvalue import JSONValue, Payload, dumps
from flowrunner.lang.environment import Environment
from flowrunner.lang.jsonata.template import TemplateFailure
from flowrunner.lang.jsonpath import Path
from flowrunner.lang.template import TemplateFieldNotFound
from flowrunner.limits import OPEN

EMPTY = Payload(value={})
UNSET = "$unset"  # assigned by flows and workflows: the names of variables to forget
_NO_TEXTS: dict[str, str] = {}


def cause_in(scope: Scope, text: str) -> str:
    """A cause with AWS's opening words."""
    return f"An error occurred while executing the state '{scope.state.name}' (entered at the event id #{scope.entered_event}). {text}"


def runtime(scope: Scope, text: str) -> StateFailed:
    """A failure that nothing catches: the definition does not fit its data."""
    return StateFailed(Failure(RUNTIME, cause_in(scope, text), said=text))


def query_failed(scope: Scope, text: str, location: str | None, *, evaluated: bool = True) -> StateFailed:
    """A JSONata evaluation, or the check of its result, failed."""
    return StateFailed(Failure(QUERY_EVALUATION_ERROR, cause_in(scope, text), location, evaluated, said=text))


def fill(scope: Scope, template: Template, environment: Environment, field: str) -> JSONValue:
    """Evaluate a template of the state; raises StateFailed with AWS's wording for what goes wrong."""
    try:
        return template.evaluate(environment)
    except ResultTooLarge:
        text = f"The state/task '{scope.state.name}' returned a result with a size exceeding the maximum number of bytes service limit."
        raise StateFailed(Failure(DATA_LIMIT_EXCEEDED, text)) from None
    except TemplateFailure as error:
        below = f"/{error.location}" if error.location and not error.location.startswith("[") else error.location
        location = f"{field}{below}"
        raise query_failed(scope, _jsonata_cause(error, location), location) from None
    except TemplateFieldNotFound as error:
        given = dumps(environment.document)
        text = f"The JSONPath '{error.path}' specified for the field '{error.field}' could not be found in the input '{given}'"
        raise runtime(scope, text) from None
    except PathNotFound as error:
        raise runtime(scope, error.message) from None
    except IntrinsicError as error:
        raise StateFailed(Failure(INTRINSIC_FAILURE, cause_in(scope, error.message))) from None
    except ExpressionError as error:
        if scope.state.language == "JSONata":
            raise query_failed(scope, error.message, field) from None
        raise runtime(scope, error.message) from None


def _jsonata_cause(error: TemplateFailure, location: str) -> str:
    said = f"The JSONata expression '{error.expression}' specified for the field '{location}'"
    if error.kind == "undefined":
        return f"{said} returned nothing (undefined)."
    if error.kind == "unsupported":
        return f"{said} returned an unsupported result type."
    return f"{said} threw an error during evaluation. {error.detail}"


def unexpected_type(scope: Scope, field: Field, wanted: str, value: JSONValue) -> StateFailed:
    """A JSONata expression gave a value of another type than its field has."""
    text = f"The JSONata expression '{field_text(field)}' specified for the field '{field.name}' returned an unexpected result type."
    return query_failed(scope, f"{text} Expected '{wanted}', but was '{json_type(value)}' for value: {dumps(value)}", field.name)


def no_number(scope: Scope, field: Field, kind: str, value: JSONValue) -> StateFailed:
    """What a field of a Map refers to is no number of this kind."""
    if scope.state.language == "JSONata" and json_type(value) != "number":
        return unexpected_type(scope, field, "number", value)
    shown = value if isinstance(value, str) else dumps(value)
    return out_of_range(scope, field, f'The {field.name} field refers to value "{shown}" which is not a valid {kind}: {field_text(field)}')


def out_of_range(scope: Scope, field: Field, text: str) -> StateFailed:
    """A number that a field does not take: in JSONata an evaluation that failed (https://states-language.net/#jsonata)."""
    return query_failed(scope, text, field.name, evaluated=False) if scope.state.language == "JSONata" else runtime(scope, text)


def field_text(field: Field) -> str:
    """A field's expression as written, without JSONata's delimiters."""
    return template_text(field.template)


def template_text(template: object) -> str:
    """The text of a compiled expression, without JSONata's delimiters."""
    text = getattr(template, "text", None)
    if text is None:
        source = getattr(template, "source", "")
        text = source if isinstance(source, str) else dumps(source)
    return text[2:-2].strip() if text.startswith("{%") and text.endswith("%}") else text


def json_type(value: JSONValue) -> str:
    """The JSON type as AWS names it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return {str: "string", int: "number", float: "number", list: "array"}.get(type(value), "object")


def read(run: Run, scope: Scope, path: Path, document: JSONValue) -> JSONValue:
    """The value of a path of the state; raises StateFailed."""
    if path.root == "$" and not path.steps and path.definite:
        return document
    return fill(scope, path, run.environment(scope, document), path.text)


def field_value(run: Run, scope: Scope, field: Field, document: JSONValue) -> JSONValue:
    """The value of a field that may be a constant or an expression."""
    if field.template is None:
        return field.constant
    return fill(scope, field.template, run.environment(scope, document), field.name)


def effective_input(run: Run, scope: Scope) -> Payload:
    """The state's input after InputPath (JSONata: the input itself)."""
    state = scope.state
    if state.discards_input:
        return EMPTY
    if state.input_path is None:
        return scope.input
    return Payload(value=read(run, scope, state.input_path, scope.input.value))


def arguments(run: Run, scope: Scope, given: Payload, *, token: str | None = None) -> Payload:
    """What the state's work is called with: Parameters, Arguments, or the effective input."""
    template = scope.state.arguments
    if template is None:
        return given
    name = "Arguments" if scope.state.language == "JSONata" else "Parameters"
    return Payload(value=fill(scope, template, run.environment(scope, given.value, token=token), name))


class Exit:
    """A state's exit in the making: output, and the variables it assigns."""

    __slots__ = ("assigned", "output", "texts")

    def __init__(self, output: Payload, assigned: dict[str, JSONValue]) -> None:
        self.output = output
        self.assigned = assigned
        self.texts = {name: dumps(value) for name, value in assigned.items() if name != UNSET} if assigned else _NO_TEXTS

    def detail(self, run: Run, scope: Scope) -> dict[str, Any]:
        """The details of the ...StateExited event."""
        detail: dict[str, Any] = {}
        output = self.output.text
        run.written += len(output)
        if self.assigned and not run.program.notes:  # notes tell of variables in their own way
            detail["assignedVariables"] = self.texts
            detail["assignedVariablesDetails"] = NOT_TRUNCATED
            run.written += sum(map(len, self.texts.values()))
        detail["name"], detail["output"], detail["outputDetails"] = scope.state.name, output, NOT_TRUNCATED
        return detail


def exit_with(
    run: Run,
    scope: Scope,
    result: Payload,
    *,
    has_result: bool,
    assign: Template | None,
    output: Template | None,
    error_output: JSONValue = None,
    skipped: bool = False,
    part: str = "",
) -> Exit:
    """The state's output from its result, and its assignments.

    `has_result` is false for states that only pass their input on, `skipped` true for one that its condition left out (expressions see
    ``$states.skipped``). `part` is where `assign` and `output` stand in the state, as in ``Choices[1]/``.
    """
    state = scope.state
    if state.language == "JSONata":
        further: dict[str, JSONValue] = {"skipped": True} if skipped else {}
        if error_output is not None:
            further["errorOutput"] = error_output
        elif has_result:
            further["result"] = result.value
        made = _exit_jsonata(run, scope, result, further, assign=assign, output=output, part=part)
    else:
        made = _exit_jsonpath(run, scope, result, assign)
    check_size(run, scope, made)
    return made


def _exit_jsonata(
    run: Run, scope: Scope, result: Payload, further: dict[str, JSONValue], *, assign: Template | None, output: Template | None, part: str
) -> Exit:
    if assign is None and output is None:
        return Exit(result, {})
    environment = run.environment(scope, None, **further)
    assigned = fill(scope, assign, environment, f"{part}Assign") if assign is not None else {}
    made = Payload(value=fill(scope, output, environment, f"{part}Output")) if output is not None else result
    return Exit(made, assigned)


def _exit_jsonpath(run: Run, scope: Scope, result: Payload, assign: Template | None) -> Exit:
    state = scope.state
    if state.result_selector is not None:
        result = Payload(value=fill(scope, state.result_selector, run.environment(scope, result.value), "ResultSelector"))
    assigned = fill(scope, assign, run.environment(scope, result.value), "Assign") if assign is not None else {}
    made = place(scope, state, result)
    if state.discards_output:
        made = EMPTY
    elif state.output_path is not None:
        made = Payload(value=read(run, scope, state.output_path, made.value))
    return Exit(made, assigned)


def place(scope: Scope, state: State, result: Payload) -> Payload:
    """ResultPath: where the result goes in the state's input."""
    if state.discards_result:
        return scope.input
    return written(scope, state.result_path, result)


def written(scope: Scope, path: Path | None, result: Payload) -> Payload:
    """The scope's input with `result` at `path`; the result alone for ``$``."""
    if path is None or not path.steps:
        return result
    try:
        return Payload(value=path.write(scope.input.value, result.value))
    except ExpressionError as error:
        raise StateFailed(Failure("States.ResultPathMatchFailure", cause_in(scope, error.message))) from None


def too_large(size: int, most: int) -> str:
    """What is said of a node of a flow, or a step, that gives too much."""
    return f"What it gives, in a flow with its input, has {size:,} bytes of JSON, and at most {most:,} go from one to the next. {smaller(most)}"


def smaller(most: int) -> str:
    """What to do about values that are too large, where at most `most` bytes go from one node to the next."""
    more = "" if most >= OPEN.payload_bytes else f', or have the operator set limits = "open" ({OPEN.payload_bytes:,})'
    return f"Return less, keep large values in a store and hand on their keys{more}."


def check_size(run: Run, scope: Scope, made: Exit) -> None:
    """Raise States.DataLimitExceeded for an output or variables above the profile's limits (AWS: 256 KiB, 10 MiB of variables in all)."""
    limits = run.limits
    if made.texts:
        size = sum(Payload(text=text).size() for text in made.texts.values())
        if limits.payload_bytes and size > limits.payload_bytes:
            text = f"The state/task '{scope.state.name}' assigns variables with a size exceeding the maximum number of bytes service limit."
            said = f"Its result has {size:,} bytes of JSON, and at most {limits.payload_bytes:,} are kept. {smaller(limits.payload_bytes)}"
            raise StateFailed(Failure(DATA_LIMIT_EXCEEDED, text, said=said))
        replaced = sum(scope.variable_bytes.get(name, 0) for name in made.texts)
        if limits.variable_bytes and run.variable_bytes - replaced + size > limits.variable_bytes:
            text = f"The variables of the execution exceed the maximum number of bytes service limit in the state/task '{scope.state.name}'."
            total = run.variable_bytes - replaced + size
            said = f"What all nodes and variables hold together has {total:,} bytes of JSON with its result, and at most {limits.variable_bytes:,} are kept. "
            raise StateFailed(Failure(DATA_LIMIT_EXCEEDED, text, said=f"{said}{smaller(limits.payload_bytes)}"))
    if limits.payload_bytes and made.output.size() > limits.payload_bytes:
        text = f"The state/task '{scope.state.name}' returned a result with a size exceeding the maximum number of bytes service limit."
        raise StateFailed(Failure(DATA_LIMIT_EXCEEDED, text, said=too_large(made.output.size(), limits.payload_bytes)))
