"""Choice rules, retriers and catchers: checked and compiled.

Sources: https://states-language.net/#choice-state and #errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flowrunner.asl import fields as table
from flowrunner.asl.expressions import NO_REFERENCE, Scope, compiled_path, optional_template, result_path_of, template_of
from flowrunner.asl.fields import Check, checked
from flowrunner.core.program import All, Catcher, Comparison, Negated, Retrier, Rule, Some, Test
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.reading.findings import SCHEMA

_ORDER = ("Equals", "LessThan", "GreaterThan", "LessThanEquals", "GreaterThanEquals")
_TYPES: Mapping[str, Check] = {"String": table.text, "Numeric": table.number(float("-inf"), float("inf")), "Timestamp": table.timestamp}

COMPARISONS: Mapping[str, Check] = {
    **{f"{kind}{order}": check for kind, check in _TYPES.items() for order in _ORDER},
    **{f"{kind}{order}Path": table.name for kind in _TYPES for order in _ORDER},
    "BooleanEquals": table.boolean,
    "BooleanEqualsPath": table.name,
    "StringMatches": table.text,
    **dict.fromkeys(("IsNull", "IsPresent", "IsNumeric", "IsString", "IsBoolean", "IsTimestamp"), table.boolean),
}
CONNECTIVES = ("And", "Or", "Not")
FORMS = (*CONNECTIVES, "Variable", "Condition")  # of a rule, in AWS's order
_NO_START = f"{NO_REFERENCE}: Reference path didn't start with '$'"
MAX_RULE_DEPTH = 64  # of And, Or and Not within each other; ours

_COMPARISON_TABLE: table.Table = {
    "Comment": table.Rule(table.text),
    "Variable": table.Rule(table.name),
    **{operator: table.Rule(check) for operator, check in COMPARISONS.items()},
}
_CONNECTIVE_TABLE: table.Table = {
    "Comment": table.Rule(table.text),
    "And": table.Rule(table.array),
    "Or": table.Rule(table.array),
    "Not": table.Rule(table.mapping),
}
_JSONATA_ONLY = table.Rule(table.anything, "JSONata")
_TOP: table.Table = {
    "Next": table.Rule(table.name, required=True),
    "Assign": table.Rule(table.mapping),
    "Condition": _JSONATA_ONLY,
    "Output": _JSONATA_ONLY,
}
_CONDITION_TABLE: table.Table = {
    **dict.fromkeys(("Variable", *COMPARISONS, *CONNECTIVES), table.Rule(table.anything, "JSONPath")),
    **table.CONDITION_RULE,
}


def rules_of(scope: Scope, choices: list[JSONValue]) -> tuple[Rule, ...]:
    """``Choices``: JSONata rules have a Condition, JSONPath rules a test."""
    read = _condition_rule if scope.language == "JSONata" else _test_rule
    rules = (read(scope.at("Choices", index), choice) for index, choice in enumerate(choices))
    return tuple(rule for rule in rules if rule is not None)


def _condition_rule(scope: Scope, value: JSONValue) -> Rule | None:
    fields = checked(scope.found, value, scope.place, _CONDITION_TABLE, "JSONata")
    if fields is None or "Next" not in fields or "Condition" not in fields:
        return None
    return Rule(
        next=fields["Next"],
        condition=template_of(scope, fields["Condition"], "Condition"),
        output=optional_template(scope, fields, "Output"),
        assign=optional_template(scope, fields, "Assign"),
    )


def _test_rule(scope: Scope, value: JSONValue) -> Rule | None:
    test = _test(scope, value, top=True)
    if not isinstance(value, dict):
        return None
    assign = value.get("Assign")
    compiled = template_of(scope, assign, "Assign") if isinstance(assign, dict) else None
    target = value.get("Next")
    return Rule(next=target, test=test, assign=compiled) if test is not None and isinstance(target, str) else None


def _test(scope: Scope, value: JSONValue, *, top: bool = False, depth: int = 0) -> Test | None:
    if depth > MAX_RULE_DEPTH:
        scope.error(f"Choice rules are nested more than {MAX_RULE_DEPTH} levels deep")
        return None
    if isinstance(value, dict) and sum(form in value for form in FORMS) != 1:
        scope.error(f"The object must have only one of the following fields, [{', '.join(FORMS)}]")
        return None
    connective = isinstance(value, dict) and any(name in value for name in CONNECTIVES)
    base = _CONNECTIVE_TABLE if connective else _COMPARISON_TABLE
    fields = checked(scope.found, value, scope.place, {**base, **_TOP} if top else base)
    if fields is None or "Condition" in value:
        return None  # told: a condition is JSONata's
    if not connective:
        return _comparison(scope, value, fields)
    name = next(name for name in CONNECTIVES if name in value)
    if name not in fields:
        return None
    if name == "Not":
        negated = _test(scope.at("Not"), fields["Not"], depth=depth + 1)
        return None if negated is None else Negated(negated)
    tests = tuple(_test(scope.at(name, index), part, depth=depth + 1) for index, part in enumerate(fields[name]))
    good = tuple(test for test in tests if test is not None)
    if len(good) != len(tests):
        return None
    return All(good) if name == "And" else Some(good)


def _comparison(scope: Scope, value: JSONObject, fields: JSONObject) -> Comparison | None:
    operators = [name for name in value if name in COMPARISONS]
    if len(operators) != 1:
        scope.error(table.one_allowed(operators) if operators else "A choice rule must have exactly one comparison operator")
        return None
    operator = operators[0]
    if operator not in fields or "Variable" not in fields:
        return None
    operand = fields[operator]
    paths = {"Variable": fields["Variable"]}
    if operator.endswith("Path"):
        paths[operator] = operand
    compiled = {name: compiled_path(scope, text, name, said=NO_REFERENCE if text.startswith("$") else _NO_START) for name, text in paths.items()}
    variable = compiled["Variable"]
    if variable is None or None in compiled.values():
        return None
    return Comparison(variable=variable, operator=operator, operand=compiled.get(operator, operand))


def retriers_of(scope: Scope, fields: JSONObject) -> tuple[Retrier, ...]:
    """``Retry``, in order."""
    return tuple(filter(None, (_retrier(inner, part) for inner, part in _rows(scope, fields, "Retry"))))


def _retrier(scope: Scope, value: JSONValue) -> Retrier | None:
    fields = checked(scope.found, value, scope.place, table.RETRIER, scope.language)
    if fields is None or "ErrorEquals" not in fields:
        return None
    delay = fields.get("MaxDelaySeconds")
    if delay is not None and delay <= fields.get("IntervalSeconds", 1) and "IntervalSeconds" in fields:
        scope.found.warning(scope.place, "MaxDelaySeconds is not greater than IntervalSeconds", "RETRY_DELAY_CAPPED")
    return Retrier(
        error_equals=tuple(fields["ErrorEquals"]),
        interval_seconds=float(fields.get("IntervalSeconds", 1)),
        max_attempts=fields.get("MaxAttempts", 3),
        backoff_rate=float(fields.get("BackoffRate", 2.0)),
        max_delay_seconds=None if delay is None else float(delay),
        full_jitter=fields.get("JitterStrategy") == "FULL",
    )


def catchers_of(scope: Scope, fields: JSONObject) -> tuple[Catcher, ...]:
    """``Catch``, in order."""
    return tuple(filter(None, (_catcher(inner, part) for inner, part in _rows(scope, fields, "Catch"))))


def _catcher(scope: Scope, value: JSONValue) -> Catcher | None:
    fields = checked(scope.found, value, scope.place, table.CATCHER, scope.language)
    if fields is None or "ErrorEquals" not in fields or "Next" not in fields:
        return None
    return Catcher(
        error_equals=tuple(fields["ErrorEquals"]),
        next=fields["Next"],
        result_path=result_path_of(scope, fields),
        keeps_input="ResultPath" in fields and fields["ResultPath"] is None,
        output=optional_template(scope, fields, "Output"),
        assign=optional_template(scope, fields, "Assign"),
    )


def _rows(scope: Scope, fields: JSONObject, name: str) -> Iterator[tuple[Scope, JSONValue]]:
    """The retriers or catchers of a state, each with its place. ``States.ALL`` stands alone, and in the last one.

    https://states-language.net/#errors; wording and place: github.com/aws/aws-cdk/issues/10530.
    """
    rows = fields.get(name, [])
    for index, part in enumerate(rows):
        errors = part.get("ErrorEquals") if isinstance(part, dict) else None
        if isinstance(errors, list) and "States.ALL" in errors and (len(errors) > 1 or index < len(rows) - 1):
            place = (*scope.place, name, index, "ErrorEquals", errors.index("States.ALL"))
            scope.found.refuse(place, "States.ALL must appear alone and at end of list", SCHEMA)
        yield scope.at(name, index), part
