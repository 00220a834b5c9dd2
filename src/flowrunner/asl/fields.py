"""Every field of the language as tables: where it may stand, what it must be, in which query language.

One check (``checked``) walks a table; whatever comes out of it has the right types, so that the parser never meets a
surprise. Sources: https://states-language.net/, the Step Functions Developer Guide ("Amazon States Language"), and AWS's
own answers where recorded or published: github.com/floci-io/floci/issues/2735, /2968 and /3733 for wording and places, and
what ValidateStateMachineDefinition was measured to say (2026-09-05, github.com/badmintoncryer/cdk-preflight, rules pf-sfn-asl).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flowrunner.core.program import Kind, Language
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.jsonata.template import is_expression
from flowrunner.lang.moment import is_timestamp
from flowrunner.reading.findings import Findings, Place

Check = Callable[[JSONValue], str | None]  # the complaint, or None

MAX_SECONDS = 99_999_999  # of Wait, timeouts and retry intervals: Step Functions Developer Guide, task and wait states
MAX_RETRY_ATTEMPTS = 99_999_999  # Developer Guide, "Handling errors"
MAX_DELAY_SECONDS = 31_622_400  # 366 days: measured; the Developer Guide says less than that
MAX_READ_ITEMS = 100_000_000  # ReaderConfig.MaxItems, measured
MAX_BATCH_BYTES = 262_144  # MaxInputBytesPerBatch, Developer Guide


def text(value: JSONValue) -> str | None:
    """A string."""
    return None if isinstance(value, str) else "Expected value of type String"


def name(value: JSONValue) -> str | None:
    """A string that is not empty."""
    return text(value) or (None if value else "Value cannot be empty")


def boolean(value: JSONValue) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "Expected value of type Boolean"


def mapping(value: JSONValue) -> str | None:
    """An object."""
    return None if isinstance(value, dict) else "Expected value of type Object"


def filled_mapping(value: JSONValue) -> str | None:
    """An object with members."""
    return mapping(value) or (None if value else "Value cannot be empty")


def array(value: JSONValue) -> str | None:
    """An array with items."""
    if not isinstance(value, list):
        return "Expected value of type Array"
    return None if value else "Value cannot be empty"


def any_array(value: JSONValue) -> str | None:
    """An array, empty or not."""
    return None if isinstance(value, list) else "Expected value of type Array"


def array_or_mapping(value: JSONValue) -> str | None:
    """What ``Items`` may be without an expression."""
    return None if isinstance(value, (list, dict)) else "Expected value of type Array or Object"


def anything(_value: JSONValue) -> str | None:
    """Any JSON value."""
    return None


def names(value: JSONValue) -> str | None:
    """An array of strings with at least one."""
    return array(value) or (None if all(isinstance(item, str) for item in value) else "Expected value of type Array of String")


def timestamp(value: JSONValue) -> str | None:
    """An RFC 3339 instant."""
    return text(value) or (None if is_timestamp(value) else "String does not match RFC3339 timestamp")


def one_of(*allowed: str, said: str = "Value should be one of the following") -> Check:
    """One of these words, in AWS's order."""

    def check(value: JSONValue) -> str | None:
        fits = isinstance(value, str) and value in allowed
        return None if fits else f"{said}: [{', '.join(allowed)}]"

    return check


def integer(least: int, most: int) -> Check:
    """A whole number within the bounds."""

    def check(value: JSONValue) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "Expected value of type Integer"
        return _within(value, least, most)

    return check


def number(least: float, most: float) -> Check:
    """A number within the bounds."""

    def check(value: JSONValue) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return "Expected value of type Number"
        return _within(value, least, most)

    return check


def _within(value: float, least: float, most: float) -> str | None:
    if value < least:
        return f"Minimum value is {least}"
    return f"Maximum value is {most}" if value > most else None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field must be. `language` None: both. `expression`: in JSONata, ``{% %}`` may stand instead of the value."""

    check: Check
    language: Language | None = None
    required: bool = False
    expression: bool = False
    nullable: bool = False


Table = Mapping[str, Rule]

LANGUAGES: tuple[Language, ...] = ("JSONPath", "JSONata")
_PATH = Rule(name, "JSONPath")
_NULLABLE_PATH = Rule(name, "JSONPath", nullable=True)
_JSONPATH_ANY = Rule(anything, "JSONPath")
_JSONATA_ANY = Rule(anything, "JSONata")
_SECONDS = Rule(integer(1, MAX_SECONDS), expression=True)

_ALL: Table = {"Type": Rule(text, required=True), "Comment": Rule(text), "QueryLanguage": Rule(one_of(*LANGUAGES))}
_FLOW: Table = {"Next": Rule(name), "End": Rule(boolean)}
_IN_OUT: Table = {"InputPath": _NULLABLE_PATH, "OutputPath": _NULLABLE_PATH, "Output": _JSONATA_ANY}
_ASSIGN: Table = {"Assign": Rule(mapping, expression=True)}
_RESULT: Table = {"ResultPath": _NULLABLE_PATH, "ResultSelector": _JSONPATH_ANY}
_ARGUMENTS: Table = {"Parameters": _JSONPATH_ANY, "Arguments": _JSONATA_ANY}
_ERRORS: Table = {"Retry": Rule(any_array), "Catch": Rule(any_array)}

FIELDS: Mapping[Kind, Table] = {
    "Pass": {
        **_ALL, **_FLOW, **_IN_OUT, **_ASSIGN,
        "Parameters": _JSONPATH_ANY, "Result": _JSONPATH_ANY, "ResultPath": _NULLABLE_PATH,
    },
    "Task": {
        **_ALL, **_FLOW, **_IN_OUT, **_ASSIGN, **_RESULT, **_ARGUMENTS, **_ERRORS,
        "Resource": Rule(name, required=True),
        "TimeoutSeconds": _SECONDS, "TimeoutSecondsPath": _PATH,
        "HeartbeatSeconds": _SECONDS, "HeartbeatSecondsPath": _PATH,
        "Credentials": Rule(mapping, expression=True),
    },
    "Choice": {**_ALL, **_IN_OUT, **_ASSIGN, "Choices": Rule(array, required=True), "Default": Rule(name)},
    "Wait": {
        **_ALL, **_FLOW, **_IN_OUT, **_ASSIGN,
        "Seconds": Rule(integer(0, MAX_SECONDS), expression=True), "SecondsPath": _PATH,
        "Timestamp": Rule(timestamp, expression=True), "TimestampPath": _PATH,
    },
    "Succeed": {**_ALL, **_IN_OUT},
    "Fail": {**_ALL, "Error": Rule(text), "ErrorPath": _PATH, "Cause": Rule(text), "CausePath": _PATH},
    "Parallel": {**_ALL, **_FLOW, **_IN_OUT, **_ASSIGN, **_RESULT, **_ARGUMENTS, **_ERRORS, "Branches": Rule(array, required=True)},
    "Map": {
        **_ALL, **_FLOW, **_IN_OUT, **_ASSIGN, **_RESULT, **_ERRORS,
        "ItemProcessor": Rule(mapping), "Iterator": Rule(mapping), "Parameters": _JSONPATH_ANY, "ItemSelector": Rule(anything),
        "Items": Rule(array_or_mapping, "JSONata", expression=True), "ItemsPath": _PATH,
        "MaxConcurrency": Rule(integer(0, MAX_SECONDS), expression=True), "MaxConcurrencyPath": _PATH,
        "ToleratedFailureCount": Rule(integer(0, MAX_SECONDS), expression=True), "ToleratedFailureCountPath": _PATH,
        "ToleratedFailurePercentage": Rule(number(0.0, 100.0), expression=True), "ToleratedFailurePercentagePath": _PATH,
        "ItemReader": Rule(mapping), "ItemBatcher": Rule(mapping), "ResultWriter": Rule(filled_mapping), "Label": Rule(name),
    },
}  # fmt: skip

MACHINE: Table = {
    "Comment": Rule(text), "Version": Rule(text), "QueryLanguage": Rule(one_of(*LANGUAGES)),
    "TimeoutSeconds": Rule(integer(1, MAX_SECONDS)),
    "States": Rule(filled_mapping, required=True), "StartAt": Rule(name, required=True),
}  # fmt: skip
BRANCH: Table = {"Comment": Rule(text), "States": Rule(filled_mapping, required=True), "StartAt": Rule(name, required=True)}
PROCESSOR: Table = {**BRANCH, "ProcessorConfig": Rule(mapping)}
PROCESSOR_CONFIG: Table = {
    "Comment": Rule(text), "Mode": Rule(one_of("INLINE", "DISTRIBUTED")), "ExecutionType": Rule(one_of("STANDARD", "EXPRESS")),
}  # fmt: skip
RETRIER: Table = {
    "Comment": Rule(text), "ErrorEquals": Rule(names, required=True), "IntervalSeconds": Rule(integer(0, MAX_SECONDS)),
    "MaxAttempts": Rule(integer(0, MAX_RETRY_ATTEMPTS)), "BackoffRate": Rule(number(1.0, 1e9)),
    "MaxDelaySeconds": Rule(integer(1, MAX_DELAY_SECONDS)), "JitterStrategy": Rule(one_of("NONE", "FULL")),
}  # fmt: skip
CATCHER: Table = {
    "Comment": Rule(text), "ErrorEquals": Rule(names, required=True), "Next": Rule(name, required=True),
    "ResultPath": _NULLABLE_PATH, "Output": _JSONATA_ANY, **_ASSIGN,
}  # fmt: skip
READER: Table = {
    "Comment": Rule(text), "Resource": Rule(name, required=True), "ReaderConfig": Rule(mapping), **_ARGUMENTS,
}  # fmt: skip
READER_CONFIG: Table = {
    "Comment": Rule(text), "InputType": Rule(one_of("MANIFEST", "JSON", "CSV", "JSONL", "PARQUET", said="The field 'InputType' should have one of these values")),
    "Transformation": Rule(one_of("NONE", "LOAD_AND_FLATTEN")), "ManifestType": Rule(one_of("ATHENA_DATA", "S3_INVENTORY")),
    "CSVDelimiter": Rule(one_of("COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB")),
    "CSVHeaderLocation": Rule(one_of("FIRST_ROW", "GIVEN")), "CSVHeaders": Rule(names),
    "ItemsPointer": Rule(text), "ExpectedBucketOwner": Rule(text),
    "MaxItems": Rule(integer(0, MAX_READ_ITEMS), expression=True), "MaxItemsPath": _PATH,
}  # fmt: skip
BATCHER: Table = {
    "Comment": Rule(text), "MaxItemsPerBatch": Rule(integer(1, MAX_SECONDS), expression=True), "MaxItemsPerBatchPath": _PATH,
    "MaxInputBytesPerBatch": Rule(integer(1, MAX_BATCH_BYTES), expression=True), "MaxInputBytesPerBatchPath": _PATH,
    "BatchInput": Rule(anything),
}  # fmt: skip
WRITER: Table = {"Comment": Rule(text), "Resource": Rule(name), "WriterConfig": Rule(mapping), **_ARGUMENTS}
WRITER_CONFIG: Table = {
    "Comment": Rule(text), "OutputType": Rule(one_of("JSON", "JSONL")), "Transformation": Rule(one_of("NONE", "COMPACT", "FLATTEN")),
}  # fmt: skip
CONDITION_RULE: Table = {
    "Comment": Rule(text), "Condition": Rule(boolean, required=True, expression=True), "Next": Rule(name, required=True),
    "Output": Rule(anything), **_ASSIGN,
}  # fmt: skip

EXCLUSIVE: tuple[tuple[str, ...], ...] = (  # the groups in AWS's order
    ("Next", "End"),
    ("Error", "ErrorPath"),
    ("Cause", "CausePath"),
    ("TimeoutSeconds", "TimeoutSecondsPath"),
    ("HeartbeatSeconds", "HeartbeatSecondsPath"),
    ("SecondsPath", "Seconds", "TimestampPath", "Timestamp"),
    ("ItemProcessor", "Iterator"),
    ("ItemSelector", "Parameters"),
    ("Items", "ItemsPath"),
    ("MaxConcurrency", "MaxConcurrencyPath"),
    ("ToleratedFailureCount", "ToleratedFailureCountPath"),
    ("ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
    ("MaxItems", "MaxItemsPath"),
    ("MaxItemsPerBatch", "MaxItemsPerBatchPath"),
    ("MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath"),
)

NEEDED: tuple[tuple[str, ...], ...] = (("SecondsPath", "Seconds", "TimestampPath", "Timestamp"), ("ItemProcessor", "Iterator"))


def one_needed(group: Iterable[str]) -> str:
    """What is said where none of these fields is there."""
    return f"This object should have only one of the following fields: [{', '.join(group)}]"


def one_allowed(group: Iterable[str]) -> str:
    """What is said where several of these fields are there."""
    return f"There should only be one of the following fields: [{', '.join(group)}]"


def checked(found: Findings, value: JSONValue, place: Place, table: Table, language: Language = "JSONPath") -> JSONObject | None:
    """The fields of `value` that are as `table` wants them; None when it is not an object. Everything else becomes a finding."""
    if not isinstance(value, dict):
        found.error(place, "Expected value of type Object")
        return None
    good: JSONObject = {}
    for field, part in value.items():
        rule = table.get(field)
        if rule is None:
            found.error(place, f"Field '{field}' is not supported")
        elif rule.language not in {None, language}:
            found.error(place, f"The QueryLanguage is set to '{language}', but field '{field}' is only supported for the '{rule.language}' QueryLanguage")
        elif (complaint := _complaint(rule, part, language)) is None:
            good[field] = part
        else:
            found.error((*place, field), complaint)
    _required(found, value, place, table)
    for group in NEEDED:
        if group[0] in table and not any(field in value for field in group):
            found.error(place, one_needed(group))
    for group in EXCLUSIVE:
        both = [field for field in group if field in value and field in table]
        if len(both) > 1 and value.get("End") is not False:
            found.error(place, one_allowed(group))
    return good


def _complaint(rule: Rule, value: JSONValue, language: Language) -> str | None:
    if value is None and rule.nullable:
        return None
    if rule.expression and language == "JSONata" and isinstance(value, str) and is_expression(value):
        return None
    return rule.check(value)


def _required(found: Findings, value: JSONObject, place: Place, table: Table) -> None:
    missing = [field for field, rule in table.items() if rule.required and field not in value]
    if missing:
        found.error(place, f"These fields are required: [{', '.join(missing)}]")
