"""The variables of flows and workflows: one set per execution, and a note for every change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowrunner.core.dataflow import UNSET, Exit
from flowrunner.core.notes import variable_changed
from flowrunner.core.program import LoopWork
from flowrunner.core.run import Run
from flowrunner.core.scope import Scope
from flowrunner.errors import ExpressionError, InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, Payload, dumps, loads
from flowrunner.lang.braces.values import strictly_equal

ENVIRONMENT = "environment"  # the member of a run's input with the variables of its environment
ENVIRONMENT_SECRETS = "environment.secrets"  # there: the names of its secret variables to names of secrets. Only the server writes it


def is_variable(name: str) -> bool:
    """Whether a variable may be called so. Names with a dot are the compilers' own, those that begin with $ no expression could reach."""
    return "." not in name and not name.startswith("$")


def wrong_name(name: str) -> str:
    """What is said of a name that no variable has."""
    return f"The name of a variable has no dots and does not begin with $: '{name[:100]}'."


def check_variables(names: Iterable[str], pointer: str) -> None:
    """Raise InvalidDocument for a name that no variable has; `pointer` is the place of the object of variables."""
    for name in names:
        if not name:
            raise InvalidDocument("The name of a variable is empty.", pointer=f"{pointer}/", remedy="Give it a name, such as userId.")
        if not is_variable(name):
            escaped = name.replace("~", "~0").replace("/", "~1")
            raise InvalidDocument(
                wrong_name(name),
                pointer=f"{pointer}/{escaped}",
                remedy='Call it otherwise, such as userId; for user.id give an object: {"user": {"id": ...}}.',
            )


def given_variables(value: JSONValue) -> JSONObject:
    """What a step or a node gives a run that it starts; raises ExpressionError for what is no object of variables."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ExpressionError("'variables' must be an object: the names of variables, and their values.")
    try:
        check_variables(value, "")
    except InvalidDocument as error:
        raise ExpressionError(error.message, remedy=error.remedy) from None
    return value


def without_secrets(given: str) -> str:
    """The input (JSON text) of a run that a state machine starts: which secrets an environment has is not for its data to say."""
    value = loads(given)
    around = value.get(ENVIRONMENT) if isinstance(value, dict) else None
    if not isinstance(around, dict) or ENVIRONMENT_SECRETS not in around:
        return given
    return dumps({**value, ENVIRONMENT: {name: part for name, part in around.items() if name != ENVIRONMENT_SECRETS}})


def begin_variables(run: Run, root: Scope) -> None:
    """Give an execution the variables of its environment, those of its program over them, those of its input over both (row 37).

    The input of an execution that shares its variables is ``{"variables": {...}, "environment": {...}}``; either may be missing.
    Whatever door it came in by, it sets no variable of the compiler's own: what steps have left behind, which secrets there are.
    """
    program = run.program
    values = dict(program.variables)
    if program.shares_variables:
        document = Payload(text=run.identity.input).value
        levels = document if isinstance(document, dict) else {}
        below, above = (_named(levels.get(name)) for name in (ENVIRONMENT, "variables"))
        values = {**below, **values, **above}
        around = levels.get(ENVIRONMENT)
        if isinstance(around, dict) and isinstance(secrets := around.get(ENVIRONMENT_SECRETS), dict):
            values[ENVIRONMENT_SECRETS] = secrets
    if values:
        run.assign(root, values, {name: dumps(value) for name, value in values.items()})


def _named(level: JSONValue) -> JSONObject:
    """The variables of one level, those of the compilers' own left out."""
    return {name: value for name, value in level.items() if is_variable(name)} if isinstance(level, dict) else {}


def assign(run: Run, scope: Scope, made: Exit) -> None:
    """Keep what a state assigns on its way out: in its own branch, or for the whole execution.

    What is assigned within iterations that run at once is kept in the iteration too: its own steps see what it set, not what another one did.
    """
    shared = run.program.shares_variables and run.root is not None
    target = run.root if shared and run.root is not None else scope
    if run.program.notes:
        _note(run, scope, target, made)
    gone = made.assigned.get(UNSET)
    values = {name: value for name, value in made.assigned.items() if name != UNSET}
    if values:
        run.assign(target, values, made.texts)
        for iteration in _side_by_side(scope) if shared else ():
            run.assign(iteration, values, made.texts)
    if isinstance(gone, list):
        names = [name for name in gone if isinstance(name, str)]
        run.unassign(target, names)
        for iteration in _side_by_side(scope) if shared else ():
            run.unassign(iteration, names)


def _side_by_side(scope: Scope) -> Iterator[Scope]:
    """The iterations around a scope that run at once with others."""
    inner: Scope | None = scope
    while inner is not None and inner.parent is not None:
        work = inner.parent.state.work
        if isinstance(work, LoopWork) and work.concurrency > 1:
            yield inner
        inner = inner.parent


def _note(run: Run, scope: Scope, target: Scope, made: Exit) -> None:
    known: dict[str, JSONValue] = target.visible_variables()
    for name, value in made.assigned.items():
        if name == UNSET:
            for gone in value if isinstance(value, list) else ():
                if gone in known:
                    variable_changed(run, scope, str(gone), "delete", old=known[gone], new=None)
        elif name not in known:
            variable_changed(run, scope, name, "create", old=None, new=value)
        elif known[name] != value or type(known[name]) is not type(value) or not strictly_equal(known[name], value):
            variable_changed(run, scope, name, "update", old=known[name], new=value)
