"""Kinds that check: assert, test-case."""

from __future__ import annotations

from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds.formats import ASSERTION
from flowrunner.kinds.info import KindInfo, anything, boolean, choice, fields, integer, listed, mapping, text

ASSERTION_FAILED = "FlowRunner.AssertionFailed"
# The comparisons and what each asks of `actual`.
COMPARISONS = {
    "equals": "is the same JSON value as `expected`; a number also equals its text, true and false do not",
    "notEquals": "is not",
    "contains": "is a text with `expected` in it (a value that is no text as its JSON), a list with the same JSON value as an item, or an object with it as a name",
    "notContains": "is not",
    "regex": "is a text in which the regular expression `expected` (RE2) matches; of any other value but null, its JSON is looked at",
    "exists": "is there and not null",
    "notExists": "is absent or null",
    "greaterThan": "is a number greater than `expected`, either of them perhaps as a text; texts that are not both numbers are compared as texts, by their characters",
    "lessThan": "is less than it",
    "gte": "is greater or equal",
    "lte": "is less or equal",
    "arrayLength": "is a list with `expected` items",
    "type": "is of the type `expected`: string, number, integer, boolean, array, object or null",
}
_ASSERTED: dict[str, JSONObject] = {
    "actual": anything("The value to check. Default: the input."),
    "expected": anything("What it is compared with."),
    "path": text("A path into `actual`, such as `items[0].name`."),
    "message": text("What to say when it does not hold."),
}
ONE: JSONObject = {**fields({"type": choice("How `actual` is compared.", *COMPARISONS), **_ASSERTED}, "type"), "format": ASSERTION}
# An assertion of an answer: of its status, of a path into its body, or any of the above.
OF_ANSWER: JSONObject = {
    **fields(
        {
            "type": choice("What is asserted.", "status_code", "json_path", *COMPARISONS),
            **_ASSERTED,
            "in": listed("For `status_code`: the statuses, one of which it is."),
            "value": anything("`expected`, by another name."),
            "equals": anything("For `json_path`: what stands there."),
            "exists": boolean("For `json_path`: whether there is something."),
        },
        "type",
    ),
    "format": ASSERTION,
}
ASSERT = KindInfo(
    name="assert",
    title="Assert",
    description="Checks values. All assertions are evaluated, each is reported, and one that does not hold fails the node.",
    parameters=fields(
        {
            "assertions": listed(
                "The checks.",
                ONE,
            ),
            "stopOnFirst": boolean("Whether the first assertion that does not hold ends the checks.", default=False),
        },
        "assertions",
    ),
    outputs=fields(
        {
            "passed": boolean("Whether all hold."),
            "total": integer("How many there are."),
            "failed": integer("How many do not hold."),
            "assertions": listed("Each with `type`, `path`, `actual`, `expected`, `passed`, `message`.", {"type": "object"}),
        }
    ),
    errors=((ASSERTION_FAILED, "an assertion does not hold; the cause is the output as JSON text, after the first message"), ("FlowRunner.InvalidParameters", "an assertion cannot be evaluated")),
    pure=True,
)  # fmt: skip
TEST_CASE = KindInfo(
    name="test-case",
    title="Test case",
    description="Runs a stored test case as an execution of its own, with its assertions, and gives its result.",
    aliases=("test_case",),
    parameters=fields({"testId": text("The test case."), "variables": mapping("Its variables.")}, "testId"),
    outputs=fields({"status": text("`passed`, `failed`, `error` or `skipped`."), "assertions": listed("As of an assert step."), "duration": integer("Milliseconds.")}, closed=False),
    errors=((ASSERTION_FAILED, "the test case did not pass"), ("FlowRunner.NotFound", "there is no such test case")),
    structural=True,
)  # fmt: skip
KINDS = (ASSERT, TEST_CASE)
