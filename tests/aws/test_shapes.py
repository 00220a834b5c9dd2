"""The table of operations is AWS's own, and requests are checked against it in AWS's words."""

from __future__ import annotations

import botocore.loaders
import pytest

from flowrunner.api.aws.faults import AwsFault
from flowrunner.api.aws.handlers import HANDLERS
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.api.aws.shapes import Flag, Items, Number, Parts, Text, check, with_limits
from flowrunner.limits import AWS, OPEN

MODEL = botocore.loaders.Loader().load_service_model("stepfunctions", "service-2")
# Bounds that AWS does not publish in its model, and those it publishes twice.
UNBOUNDED = {"cloudWatchLogsLogGroup.logGroupArn"}


def compare(ours, name: str, path: str) -> None:
    theirs = MODEL["shapes"][name]
    match theirs["type"]:
        case "string":
            assert isinstance(ours, Text), path
            assert set(ours.values) == set(theirs.get("enum", ())), path
            assert ours.pattern == theirs.get("pattern"), path
            assert ours.sensitive == theirs.get("sensitive", False), path
            assert ours.shortest == theirs.get("min", 0), path
            assert ours.longest == theirs.get("max"), path
        case "integer" | "long" | "float":
            assert isinstance(ours, Number), path
            assert ours.fractions == (theirs["type"] == "float"), path
            assert (ours.least, ours.most) == (theirs.get("min"), theirs.get("max")), path
        case "boolean":
            assert isinstance(ours, Flag), path
        case "list":
            assert isinstance(ours, Items), path
            assert (ours.fewest, ours.most) == (theirs.get("min", 0), theirs.get("max")), path
            compare(ours.item, theirs["member"]["shape"], f"{path}[]")
        case "structure":
            assert isinstance(ours, Parts), path
            assert set(ours.members) == set(theirs["members"]), path
            assert set(ours.required) == set(theirs.get("required", ())), path
            for member, reference in theirs["members"].items():
                compare(ours.members[member], reference["shape"], f"{path}.{member}")


@pytest.mark.parametrize("name", sorted(MODEL["operations"]))
def test_operation_is_the_models(name):
    """Members, bounds, enumerations and errors of every operation are those of AWS's service model."""
    theirs, ours = MODEL["operations"][name], OPERATIONS[name]
    assert set(ours.errors) == {error["shape"] for error in theirs["errors"]}
    compare(ours.request, theirs["input"]["shape"], name)


def test_all_operations_are_listed():
    """All 37 operations have an entry, and every handler is one of them."""
    assert set(OPERATIONS) == set(MODEL["operations"])
    assert set(HANDLERS) <= set(OPERATIONS)
    assert OPERATIONS["StartExecution"].action == "states:StartExecution"


SHAPE = Parts(
    {
        "name": Text(shortest=1, longest=3),
        "kind": Text(values=("B", "A")),
        "secret": Text(longest=2, sensitive=True),
        "pattern": Text(pattern="[a-z]+"),
        "size": Number(least=0, most=9),
        "flag": Flag(),
        "tags": Items(item=Parts({"key": Text(shortest=1)}), most=2),
        "inner": Parts({"type": Text()}, ("type",)),
    },
    ("name",),
)


@pytest.mark.parametrize(
    ("request_", "wrong"),
    [
        ({}, "Value null at 'name' failed to satisfy constraint: Member must not be null"),
        ({"name": None}, "Value null at 'name' failed to satisfy constraint: Member must not be null"),
        ({"name": "abcd"}, "Value 'abcd' at 'name' failed to satisfy constraint: Member must have length less than or equal to 3"),
        ({"name": ""}, "Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1"),
        ({"kind": "b"}, "Value 'b' at 'kind' failed to satisfy constraint: Member must satisfy enum value set: [B, A]"),
        ({"secret": "abc"}, "Value at 'secret' failed to satisfy constraint: Member must have length less than or equal to 2"),
        ({"pattern": "A"}, "Value 'A' at 'pattern' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+"),
        ({"size": 10}, "Value '10' at 'size' failed to satisfy constraint: Member must have value less than or equal to 9"),
        ({"size": -1}, "Value '-1' at 'size' failed to satisfy constraint: Member must have value greater than or equal to 0"),
        (
            {"tags": [{"key": "a"}, {"key": ""}]},
            "Value '' at 'tags.2.member.key' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        ({"tags": [None]}, "Value null at 'tags.1.member' failed to satisfy constraint: Member must not be null"),
        ({"tags": [{}, {}, {}]}, "Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 2"),
        ({"inner": {}}, "Value null at 'inner.type' failed to satisfy constraint: Member must not be null"),
    ],
)
def test_broken_rule(request_, wrong):
    """A value outside its bounds is told with AWS's words, a sensitive one without the value."""
    with pytest.raises(AwsFault) as caught:
        check(SHAPE, {"name": "a", **request_} if request_ else {})
    assert caught.value.aws_code == "ValidationException"
    assert caught.value.message == f"1 validation error detected: {wrong}"


def test_all_broken_rules_are_told():
    """Several faults come in one answer."""
    with pytest.raises(AwsFault, match=r"^2 validation errors detected: Value null at 'name' .*; Value '10' at 'size' "):
        check(SHAPE, {"size": 10})


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("name", 1, "NUMBER_VALUE can not be converted to a String"),
        ("name", True, "TRUE_VALUE can not be converted to a String"),
        ("name", {}, "Start of structure or map found where not expected."),
        ("name", [], "Start of list found where not expected"),
        ("size", "1", "STRING_VALUE can not be converted to an Integer"),
        ("size", 1.5, "NUMBER_VALUE can not be converted to an Integer"),
        ("size", False, "FALSE_VALUE can not be converted to an Integer"),
        ("flag", "true", "STRING_VALUE can not be converted to a Boolean"),
        ("tags", {}, "Expected list or null"),
        ("tags", "x", "STRING_VALUE can not be converted to a List"),
        ("inner", [], "Start of list found where not expected"),
        ("inner", 1, "NUMBER_VALUE can not be converted to an Object"),
    ],
)
def test_wrong_type(member, value, message):
    """A member of another JSON type makes the request unreadable."""
    with pytest.raises(AwsFault) as caught:
        check(SHAPE, {"name": "a", member: value})
    assert (caught.value.aws_code, caught.value.message) == ("SerializationException", message)


def test_null_and_unknown_members_are_passed_over():
    """Null is as good as absent, and members of newer SDKs do no harm."""
    check(SHAPE, {"name": "a", "size": None, "tags": None, "newer": [1]})


def test_limit_profile():
    """Sizes of payloads and definitions are those of the limit profile, counted in bytes."""
    start = OPERATIONS["StartExecution"].request
    data = "é" * 140_000  # 280,000 bytes
    with pytest.raises(AwsFault, match="Value at 'input' failed to satisfy constraint: Member must have length less than or equal to 262144"):
        check(with_limits(start, AWS), {"stateMachineArn": "a", "input": data})
    check(with_limits(start, OPEN), {"stateMachineArn": "a", "input": data})
