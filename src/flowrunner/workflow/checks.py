"""Assertions of test cases, in the words of the kind ``assert``: statuses, paths into bodies, exit codes, output, and its thirteen comparisons."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.checks import COMPARISONS
from flowrunner.kinds.formats import ASSERTION as ASSERTION_FORMAT
from flowrunner.kinds.formats import FORMATS
from flowrunner.kinds.formats import STATUS as STATUS_FORMAT
from flowrunner.lang.braces import has_braces
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant, shown
from flowrunner.workflow.fields import ASSERTION, INVALID_VALUE, MISSING_FIELD, read_object

STATUS, PATH, EXIT, STDOUT = "status_code", "json_path", "exit_code", "stdout_contains"
TYPES = (STATUS, PATH, EXIT, STDOUT, *COMPARISONS)
ASSERTIONS = "assertions"
EXPECTED = ("expected", "value", "equals")
VALUES = (*EXPECTED, "actual")  # members of which null is a value
ALONE = ("exists", "notExists")  # comparisons that need nothing beside what they look at
# What stands for the last step of a stored workflow, and for the body of its answer; each also with what the run gave around it. Ids have no dots.
LAST, BODY, OR_RUN = "test.last", "test.body", ".run"
_WHOLE = re.compile(r"-?[0-9]{1,9}", re.ASCII)


def has_exit_code(assertions: Sequence[JSONValue]) -> bool:
    """Whether anything is asserted of the exit code."""
    return any(isinstance(one, dict) and (one.get("type") == EXIT or one.get("path") == "exitCode") for one in assertions)


def is_actual(place: Place) -> bool:
    """Whether it is the place, in a config, of a value that is checked: there, what leads nowhere is null."""
    return len(place) == 3 and place[0] == ASSERTIONS and place[2] == "actual"


def is_actual_of(place: Place) -> bool:
    """The same in a list of assertions."""
    return len(place) == 2 and place[1] == "actual"


def statuses_of(assertions: Sequence[JSONValue]) -> list[JSONValue]:
    """What is asserted of the status: of each assertion about it the status, or the list of those that will do."""
    statuses = [one for one in assertions if isinstance(one, dict) and one.get("type") == STATUS]
    return [one.get("in", _expected(one, None)) for one in statuses]


def checks_of(
    found: Findings, assertions: Sequence[JSONValue], *, step: str, answers: bool, stored: bool = False, place: Place = (ASSERTIONS,)
) -> list[JSONValue]:
    """Assertions on the output of a step that has ended; `answers` tells that it was a request, `place` where they stand.

    `stored`: it is the last step of a stored workflow, which has run elsewhere.
    """
    output = _output(step)
    checks: list[JSONValue] = []
    for one, at in _read(found, assertions, place):
        if one["type"] == STATUS:
            checks.append(_of_status(_status(one, at, found), output))
            continue
        compared = _compared(found, one, at, answers=answers)
        about = _output((BODY if one["type"] == PATH else step) + (OR_RUN if "path" in compared else "")) if stored else output
        checks.append({"actual": f"{{{{{about}}}}}", **compared})
    return checks


def _output(step: str) -> str:
    return f"nodes[{json.dumps(step)}].output"


def _of_status(wanted: JSONObject, output: str) -> JSONObject:
    """The status as a comparison: it is the one, or one of the list."""
    if "in" not in wanted:
        said = f"the status is {{{{{output}.status}}}}; asserted: {wanted['expected']}"
        return {**wanted, "type": "equals", "path": "status", "actual": f"{{{{{output}}}}}", "message": wanted.get("message") or said}
    said = f"the status is {{{{{output}.status}}}}; asserted: one of {json.dumps(wanted['in'])}"
    return {"type": "contains", "actual": wanted["in"], "expected": f"{{{{{output}.status}}}}", "message": wanted.get("message") or said}


def _read(found: Findings, assertions: Sequence[JSONValue], around: Place) -> list[tuple[JSONObject, Place]]:
    """The assertions of a known type, and where they stand."""
    read: list[tuple[JSONObject, Place]] = []
    for index, value in enumerate(assertions):
        place: Place = (*around, index)
        given = read_object(found, value, place, ASSERTION, nulls=VALUES)
        kind = given.get("type")
        if kind not in TYPES:
            hint = meant(kind, TYPES) if kind is not None else f"There are: {', '.join(TYPES)}."
            found.error((*place, "type"), f"There is no assertion of the type {shown(kind)}.", INVALID_VALUE, hint=hint)
        else:
            read.append((given, place))
    return read


def _message(given: JSONObject) -> JSONObject:
    return {"message": given["message"]} if "message" in given else {}


def _status(given: JSONObject, place: Place, found: Findings) -> JSONObject:
    """``{type, in}`` or ``{type, expected}``."""
    wanted = given.get("in", given.get("expected", given.get("value", given.get("equals"))))
    listed = wanted if isinstance(wanted, list) else [wanted]
    if not listed or not all(has_braces(one) or (isinstance(one, int | str) and FORMATS[STATUS_FORMAT](one) is None) for one in listed):
        said = f"'expected' must be a status such as 200, from 100 to 599, or 'in' a list of them; {shown(wanted)} stands there."
        found.refuse(place, said, INVALID_VALUE, hint="Write expected: 200, or in: [200, 204].")
    return {"type": STATUS, **({"in": wanted} if isinstance(wanted, list) else {"expected": wanted}), **_message(given)}


def _compared(found: Findings, given: JSONObject, place: Place, *, answers: bool) -> JSONObject:
    """One of the comparisons of ``assert``, about the whole output unless it names a value of its own."""
    match given["type"]:
        case "exit_code":
            expected = _expected(given, None)
            if not (has_braces(expected) or (isinstance(expected, int | str) and _WHOLE.fullmatch(str(expected)))):
                said = f"'expected' must be an exit code, a whole number; {shown(expected)} stands there."
                found.refuse(place, said, INVALID_VALUE, hint="Write expected: 0.")
            return {"type": "equals", "path": "exitCode", "expected": 0 if expected is None else expected, **_message(given)}
        case "stdout_contains":
            expected = _expected(given, None)
            if not isinstance(expected, str) or not expected:
                said = f"'expected' must be the text that is looked for; {shown(expected)} stands there."
                found.refuse(place, said, INVALID_VALUE, hint="Write expected: and the text.")
            return {"type": "contains", "path": "stdout", "expected": "" if expected is None else expected, **_message(given)}
        case "json_path":
            return _by_path(found, given, place, answers=answers)
    made = {name: value for name, value in given.items() if name in ("type", "path", "actual", "message")} | _comparand(given, given["type"])
    _check(found, made, place)
    return made


def _comparand(given: JSONObject, kind: str) -> JSONObject:
    """``expected``, which may be null; nothing where it is missing, and is needed."""
    return {"expected": _expected(given, None)} if kind in ALONE or any(name in given for name in EXPECTED) else {}


def _check(found: Findings, assertion: JSONObject, place: Place) -> None:
    """What the comparison asks of a constant."""
    wrong = FORMATS[ASSERTION_FORMAT](assertion)
    if wrong is not None:
        found.refuse(place, f"An assertion of the type '{assertion['type']}' {wrong}.", INVALID_VALUE)


def _expected(given: JSONObject, otherwise: JSONValue) -> JSONValue:
    return given.get("expected", given.get("value", given.get("equals", otherwise)))


def _by_path(found: Findings, given: JSONObject, place: Place, *, answers: bool) -> JSONObject:
    """A path into the body of an answer, or into what a step gave."""
    path = given.get("path")
    if not path:
        found.error(place, "'path' is missing: a path such as $.items[0].id.", MISSING_FIELD)
        return {"type": "exists"}
    inner = path.removeprefix("$")
    base = "response.body" if answers else ""
    whole = f"{base}{inner if inner.startswith(('.', '[')) or not inner else f'.{inner}'}".removeprefix(".")
    compares = any(name in given for name in EXPECTED)
    kind = given.get("operator") or ("equals" if compares else "notExists" if given.get("exists") is False else "exists")
    if kind not in COMPARISONS:
        found.error((*place, "operator"), f"There is no comparison {shown(kind)}.", INVALID_VALUE, hint=meant(kind, COMPARISONS))
    if kind == "exists" and given.get("exists") is False:
        kind = "notExists"
    made = {"type": kind, **({"path": whole} if whole else {}), **_comparand(given, kind), **_message(given)}
    _check(found, made, place)
    return made
