"""Entering a state and doing its work: one function per kind, in the WORK table."""

from __future__ import annotations

import math
from collections.abc import Callable

from flowrunner.core import notes
from flowrunner.core.choice import holds
from flowrunner.core.commands import RunAttempt
from flowrunner.core.dataflow import (
    arguments,
    effective_input,
    field_text,
    field_value,
    fill,
    json_type,
    query_failed,
    runtime,
    unexpected_type,
)
from flowrunner.core.faults import ITEM_READER_FAILED, RESULT_WRITER_FAILED, Failure, StateFailed
from flowrunner.core.graphs import open_graph, open_switch
from flowrunner.core.groups import finish, open_map, open_parallel
from flowrunner.core.leave import choose, skip, succeed
from flowrunner.core.loops import open_loop
from flowrunner.core.program import ChoiceWork, FailWork, Field, GraphWork, LoopWork, MapWork, ParallelWork, PassWork, SwitchWork, TaskWork, WaitWork
from flowrunner.core.records import NOT_TRUNCATED, text_detail
from flowrunner.core.resource import Resource, parse_resource
from flowrunner.core.run import Run
from flowrunner.core.scope import Attempt, Group, Pause, Scope
from flowrunner.errors import ExpressionError
from flowrunner.jsonvalue import JSONObject, JSONValue, Payload, dumps
from flowrunner.lang.moment import parse_timestamp

EVENT_PREFIX = {"lambda": "LambdaFunction", "activity": "Activity", "service": "Task"}
KNOWN_OF_RUN = frozenset({"variables", "results"})
MILLISECONDS = "Milliseconds"
LONGEST_WAIT_SECONDS = 99_999_999  # AWS: Seconds and TimeoutSeconds go up to 99999999


def enter(run: Run, scope: Scope) -> None:
    """Enter the scope's state, or try it again, and do its work as far as it goes without the outside."""
    state = scope.state
    if scope.resuming:
        scope.resuming = False
    else:
        scope.previous_event = scope.last_event
        scope.entered_at = run.now
        scope.retries = [0] * len(state.retriers)
        given = scope.input.text
        run.written += len(given)
        detail = {"input": given, "inputDetails": NOT_TRUNCATED, "name": state.name}
        run.advance(scope, f"{state.kind}StateEntered", "stateEnteredEventDetails", detail)
        scope.entered_event = scope.last_event
        scope.undecided = state.when is not None
    if scope.undecided and not _is_wanted(run, scope):
        skip(run, scope)
        return
    if not scope.noted:
        notes.started(run, scope)
    WORK[state.kind](run, scope)


def _is_wanted(run: Run, scope: Scope) -> bool:
    """Whether the state's condition holds. One that cannot be evaluated fails a step that has begun; a Retry asks again before any work is done."""
    when = scope.state.when
    assert when is not None  # noqa: S101 - the caller looked
    try:
        wanted = fill(scope, when, run.environment(scope, scope.input.value), "when")
    except StateFailed:
        if not scope.noted:
            notes.started(run, scope)
        raise
    scope.undecided = False
    return bool(wanted)


def _pass(run: Run, scope: Scope) -> None:
    work = scope.state.work
    assert isinstance(work, PassWork)  # noqa: S101 - narrows for the type checker; the table pairs kinds and works
    given = arguments(run, scope, effective_input(run, scope))
    succeed(run, scope, Payload(value=work.result) if work.has_result else given)


def _succeed(run: Run, scope: Scope) -> None:
    succeed(run, scope, effective_input(run, scope))


def _fail(run: Run, scope: Scope) -> None:
    work = scope.state.work
    assert isinstance(work, FailWork)  # noqa: S101
    error = _text(run, scope, work.error)
    cause = _text(run, scope, work.cause)
    detail = None if work.detail is None else field_value(run, scope, work.detail, scope.input.value)
    raise StateFailed(Failure(error, cause, detail=detail))


def _text(run: Run, scope: Scope, field: Field | None) -> str | None:
    if field is None:
        return None
    value = field.constant if field.template is None else _fail_field(run, scope, field)
    if isinstance(value, str) or value is None:
        return value
    if scope.state.language == "JSONata":
        raise unexpected_type(scope, field, "string", value)
    raise runtime(scope, f"The {field.name} field must reference a string value: {field_text(field)} == {dumps(value)}")


def _fail_field(run: Run, scope: Scope, field: Field) -> JSONValue:
    """ErrorPath and CausePath: a missing value is worded as in templates."""
    assert field.template is not None  # noqa: S101
    document = scope.input.value
    try:
        return field_value(run, scope, field, document)
    except StateFailed as failed:
        if scope.state.language == "JSONPath" and "Invalid path" in (failed.failure.cause or ""):
            text = f"The JSONPath '{field_text(field)}' specified for the field '{field.name}' could not be found in the input '{dumps(document)}'"
            raise runtime(scope, text) from None
        raise


def _choice(run: Run, scope: Scope) -> None:
    work = scope.state.work
    assert isinstance(work, ChoiceWork)  # noqa: S101
    given = effective_input(run, scope)
    for index, rule in enumerate(work.rules):
        if rule.condition is not None:
            name = f"Choices[{index}]/Condition"
            value = fill(scope, rule.condition, run.environment(scope, None), name)
            if not isinstance(value, bool):
                raise unexpected_type(scope, Field(name=name, template=rule.condition), "boolean", value)
            taken = value
        else:
            taken = rule.test is not None and holds(run, scope, rule.test, given.value)
        if taken:
            choose(run, scope, given, rule.next, assign=rule.assign, output=rule.output, part=f"Choices[{index}]/")
            return
    if work.default is None:
        # The documentation calls it States.NoChoiceMatched; AWS was seen to answer so: github.com/floci-io/floci/pull/3167.
        raise runtime(scope, "Failed to transition out of the state. The state does not point to a next state.")
    choose(run, scope, given, work.default, assign=scope.state.assign, output=scope.state.output)


def _wait(run: Run, scope: Scope) -> None:
    work = scope.state.work
    assert isinstance(work, WaitWork)  # noqa: S101
    given = effective_input(run, scope)
    name = work.until.name
    if name == MILLISECONDS:
        due = run.now + whole_number(run, scope, work.until, _wait_value(run, scope, work.until, given), least=0, most=1000 * LONGEST_WAIT_SECONDS)
        _pause(run, scope, due)
        return
    due = _moment(run, scope, work.until, given) if name.startswith("Timestamp") else run.now + 1000 * _seconds(run, scope, work.until, given)
    _pause(run, scope, due)


def _pause(run: Run, scope: Scope, due: int) -> None:
    scope.wait = Pause(due, "wait")
    run.set_timer(due, scope.id, "wait")
    if due > run.now:
        notes.waits(run, scope, "time", due)


def _seconds(run: Run, scope: Scope, field: Field, given: Payload) -> int:
    value = _wait_value(run, scope, field, given)
    where = f"{field_text(field)} == {dumps(value)}"
    if scope.state.language == "JSONata":
        return whole_number(run, scope, field, value, least=0, most=LONGEST_WAIT_SECONDS)
    if not isinstance(value, int) or isinstance(value, bool):
        raise runtime(scope, f"The {field.name} parameter cannot be parsed as a long value: {where}")
    if value < 0:
        raise runtime(scope, f"The {field.name} parameter references a negative value: {where}")
    if value > LONGEST_WAIT_SECONDS:
        raise runtime(scope, f"The {field.name} parameter references a value that is too large: {where}")
    return value


def _moment(run: Run, scope: Scope, field: Field, given: Payload) -> int:
    value = _wait_value(run, scope, field, given)
    try:
        return parse_timestamp(value)
    except (ExpressionError, TypeError, AttributeError):
        shown = value if isinstance(value, str) else dumps(value)
    if scope.state.language == "JSONata":
        if not isinstance(value, str):
            raise unexpected_type(scope, field, "string", value)
        text = f"The {field.name} field cannot be parsed as an ISO-8601 extended offset date-time format string: {shown}"
        raise query_failed(scope, text, field.name, evaluated=False)
    text = f"The {field.name} parameter does not reference a valid ISO-8601 extended offset date-time format string: {field_text(field)} == {shown}"
    raise runtime(scope, text)


def _wait_value(run: Run, scope: Scope, field: Field, given: Payload) -> JSONValue:
    try:
        return field_value(run, scope, field, given.value)
    except StateFailed as failed:
        if scope.state.language == "JSONPath" and "Invalid path" in (failed.failure.cause or ""):
            raise runtime(scope, f"The {field.name} parameter does not reference an input value: {field_text(field)}") from None
        raise


def _task(run: Run, scope: Scope) -> None:
    work = scope.state.work
    assert isinstance(work, TaskWork)  # noqa: S101
    resource = parse_resource(work.resource)
    if resource is None:
        raise runtime(scope, f"The resource provided {work.resource} is not recognized.")
    number = run.last_attempt + 1
    token = run.token(number) if resource.pattern else None
    given = effective_input(run, scope)
    parameters = arguments(run, scope, given, token=token)
    timeout = _timeout(run, scope, work, given)
    heartbeat = task_seconds(run, scope, work.heartbeat, given)
    credentials = _credentials(run, scope, work, given)
    run.last_attempt = number
    run.written += len(parameters.text)
    attempt = Attempt(
        number=number,
        parameters=parameters.text,
        token=token,
        credentials=credentials,
        due=run.now + timeout if timeout is not None else None,
        heartbeat_seconds=heartbeat,
    )
    scope.wait = attempt
    run.attempts[number] = scope
    if attempt.due is not None:
        run.set_timer(attempt.due, scope.id, "timeout", number)
    seconds = None if timeout is None else math.ceil(timeout / 1000)
    detail = _scheduled(run, resource, attempt, told=_told(run, parameters), timeout=seconds, credentials=credentials)
    run.advance(scope, f"{EVENT_PREFIX[resource.family]}Scheduled", *detail)
    run.command(attempt_command(run, scope, resource, attempt))


def attempt_command(run: Run, scope: Scope, resource: Resource, attempt: Attempt) -> RunAttempt:
    """The order to carry an attempt out; the same one again after a restart, if it had not begun."""
    work = scope.state.work
    assert isinstance(work, TaskWork)  # noqa: S101 - only tasks have attempts
    return RunAttempt(
        attempt=attempt.number,
        state=scope.state.name,
        retry=scope.retry_count,
        resource=resource,
        parameters=attempt.parameters,
        key=f"{run.identity.id}/{attempt.number}",
        token=attempt.token,
        deadline=attempt.due,
        heartbeat_seconds=attempt.heartbeat_seconds,
        credentials=attempt.credentials,
        secrets=work.secrets,
    )


def _told(run: Run, parameters: Payload) -> str:
    """The parameters of a task as its event has them: without the variables and outputs of the run, which a script is given each time and the log has."""
    value = parameters.value if run.program.shares_variables else None
    if not isinstance(value, dict) or KNOWN_OF_RUN.isdisjoint(value):
        return parameters.text
    return dumps({name: part for name, part in value.items() if name not in KNOWN_OF_RUN})


def _scheduled(run: Run, resource: Resource, attempt: Attempt, *, told: str, timeout: int | None, credentials: str | None) -> tuple[str, dict[str, JSONValue]]:
    detail: dict[str, JSONValue] = {}
    if resource.family == "service":
        key = "taskScheduledEventDetails"
        detail |= {"parameters": told, "region": run.identity.region, "resource": resource.name, "resourceType": resource.service}
    else:
        key = "lambdaFunctionScheduledEventDetails" if resource.family == "lambda" else "activityScheduledEventDetails"
        detail |= {**text_detail("input", attempt.parameters), "resource": resource.arn}
    if timeout is not None:
        detail["timeoutInSeconds"] = timeout
    if attempt.heartbeat_seconds is not None and resource.family != "lambda":
        detail["heartbeatInSeconds"] = attempt.heartbeat_seconds
    if credentials is not None:
        detail["taskCredentials"] = {"roleArn": credentials}
    return key, detail


def _timeout(run: Run, scope: Scope, work: TaskWork, given: Payload) -> int | None:
    """How long an attempt may take, in milliseconds."""
    if work.timeout_milliseconds is not None:
        return work.timeout_milliseconds
    seconds = task_seconds(run, scope, work.timeout, given)
    return None if seconds is None else 1000 * seconds


def task_seconds(run: Run, scope: Scope, field: Field | None, given: Payload) -> int | None:
    """TimeoutSeconds or HeartbeatSeconds in whole seconds; None when not stated."""
    if field is None:
        return None
    value = field_value(run, scope, field, given.value)
    return whole_number(run, scope, field, value, least=1, most=LONGEST_WAIT_SECONDS)


def whole_number(run: Run, scope: Scope, field: Field, value: JSONValue, *, least: int, most: int) -> int:
    """A number that a field's expression gave, checked; raises StateFailed."""
    del run
    number = value
    if isinstance(number, float) and math.isfinite(number) and number == int(number):
        number = int(number)
    if isinstance(number, int) and not isinstance(number, bool) and least <= number <= most:
        return number
    if scope.state.language == "JSONata":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise unexpected_type(scope, field, "number", value)
        raise query_failed(scope, f"The value for the field '{field.name}' must be between {least} and {most}: {dumps(value)}", field.name, evaluated=False)
    raise runtime(scope, f"The {field.name} parameter does not reference a valid number between {least} and {most}: {field_text(field)} == {dumps(value)}")


def _credentials(run: Run, scope: Scope, work: TaskWork, given: Payload) -> str | None:
    if work.credentials is None:
        return None
    value = fill(scope, work.credentials, run.environment(scope, given.value), "Credentials")
    role = value.get("RoleArn") if isinstance(value, dict) else None
    return role if isinstance(role, str) else dumps(value)


def _parallel(run: Run, scope: Scope) -> None:
    work = scope.state.work
    given = effective_input(run, scope)
    if isinstance(work, GraphWork):
        open_graph(run, scope, work, given)
    elif isinstance(work, SwitchWork):
        open_switch(run, scope, work, given)
    else:
        assert isinstance(work, ParallelWork)  # noqa: S101
        open_parallel(run, scope, work, arguments(run, scope, given))
        return
    if isinstance(scope.wait, Group) and not scope.wait.open:  # no case holds, or a graph without nodes
        finish(run, scope, scope.wait)


def _map(run: Run, scope: Scope) -> None:
    work = scope.state.work
    given = effective_input(run, scope)
    if isinstance(work, LoopWork):
        open_loop(run, scope, work, given)
        return
    assert isinstance(work, MapWork)  # noqa: S101
    open_map(run, scope, work, given, _items(run, scope, work, given))


def _items(run: Run, scope: Scope, work: MapWork, given: Payload) -> list[JSONValue] | JSONObject:
    """An array, for a distributed Map an object too: recorded, an inline one fails with it."""
    if work.reader is not None:
        raise StateFailed(Failure(ITEM_READER_FAILED, "ItemReader is not available in this version of FlowRunner."))
    if work.writer is not None:
        raise StateFailed(Failure(RESULT_WRITER_FAILED, "ResultWriter is not available in this version of FlowRunner."))
    value = given.value if work.items is None else field_value(run, scope, work.items, given.value)
    if isinstance(value, list) or (work.distributed and isinstance(value, dict)):
        return value
    if scope.state.language == "JSONata":
        if work.items is None:
            raise query_failed(scope, f"Map state input must be an array but was: {dumps(value)}", None)
        is_literal = work.items.template is None or getattr(work.items.template, "constant", False)
        text = f"The JSONata expression '{field_text(work.items)}' specified for the field 'Items' returned an unexpected result type."
        if is_literal or not field_text(work.items):
            text = "The value of the field 'Items' has an unexpected type."
        raise query_failed(scope, f"{text} Expected 'array', but was '{json_type(value)}' for value: {dumps(value)}", "Items")
    path = field_text(work.items) if work.items is not None else "$"
    raise runtime(scope, f'Reference path "{path}" must point to array.')


WORK: dict[str, Callable[[Run, Scope], None]] = {
    "Pass": _pass,
    "Succeed": _succeed,
    "Fail": _fail,
    "Choice": _choice,
    "Wait": _wait,
    "Task": _task,
    "Parallel": _parallel,
    "Map": _map,
}
