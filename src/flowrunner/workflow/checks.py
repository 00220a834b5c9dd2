"""Assertions of test cases, in the words of the kind ``assert``: statuses, paths into bodies, exit codes, output, and its thirteen comparisons."""

from __future__ import annotations

import json
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


def has_exit_code(assertions: Sequence[JSONValue]) -> bool:
    """Whether anything is asserted of the exit code."""
    return any(isinstance(one, dict) and (one.get("type") == EXIT or one.get("path") == "exitCode") for one in assertions)


def is_actual(place: Place) -> bool:
    """Whether it is the place, in a config, of a value that is checked: there, what leads nowhere is null."""
    return len(place) == 3 and place[0] == ASSERTIONS and place[2] == "actual"


def for_request(found: Findings, assertions: Sequence[JSONValue]) -> list[JSONValue]:
    """As a request checks its answer itself: a status other than 2xx is a failure only if none is asserted."""
    read = _read(found, assertions)
    return [_status(one, place, found) if one["type"] == STATUS else _compared(found, one, place, answers=True) for one, place in read]


def checks_of(found: Findings, assertions: Sequence[JSONValue], *, step: str, answers: bool) -> list[JSONValue]:
    """Assertions on the output of a step that has ended; `answers` tells that it was a request."""
    output = f"nodes[{json.dumps(step)}].output"
    checks: list[JSONValue] = []
    for one, place in _read(found, assertions):
        if one["type"] == STATUS:
            wanted = _status(one, place, found)
            checks.append(_one_of(wanted, output) if "in" in wanted else {**wanted, "type": "equals", "path": "status", "actual": f"{{{{{output}}}}}"})
        else:
            checks.append({"actual": f"{{{{{output}}}}}", **_compared(found, one, place, answers=answers)})
    return checks


def _one_of(wanted: JSONObject, output: str) -> JSONObject:
    listed = json.dumps(wanted["in"])
    said = wanted.get("message") or f"the status is {{{{{output}.status}}}}; asserted: one of {listed}"
    return {"type": "contains", "actual": wanted["in"], "expected": f"{{{{{output}.status}}}}", "message": said}


def _read(found: Findings, assertions: Sequence[JSONValue]) -> list[tuple[JSONObject, Place]]:
    """The assertions of a known type, and where they stand."""
    read: list[tuple[JSONObject, Place]] = []
    for index, value in enumerate(assertions):
        place: Place = (ASSERTIONS, index)
        given = read_object(found, value, place, ASSERTION)
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
            return {"type": "equals", "path": "exitCode", "expected": _expected(given, 0), **_message(given)}
        case "stdout_contains":
            return {"type": "contains", "path": "stdout", "expected": _expected(given, ""), **_message(given)}
        case "json_path":
            return _by_path(found, given, place, answers=answers)
    made = {name: value for name, value in given.items() if name in ("type", "path", "actual", "message")} | {"expected": _expected(given, None)}
    _check(found, made, place)
    return made


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
    compares = any(name in given for name in ("expected", "value", "equals"))
    kind = given.get("operator") or ("equals" if compares else "notExists" if given.get("exists") is False else "exists")
    if kind not in COMPARISONS:
        found.error((*place, "operator"), f"There is no comparison {shown(kind)}.", INVALID_VALUE, hint=meant(kind, COMPARISONS))
    if kind == "exists" and given.get("exists") is False:
        kind = "notExists"
    made = {"type": kind, **({"path": whole} if whole else {}), "expected": _expected(given, None), **_message(given)}
    _check(found, made, place)
    return made
