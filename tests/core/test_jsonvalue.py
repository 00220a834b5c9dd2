"""Reading JSON strictly and whole."""

import json

import pytest

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import MAX_DEPTH, Payload, depth, dumps, is_too_deep, loads


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12345678901234567890123", 12345678901234567890123),
        ("[9223372036854775807,9223372036854775808]", [2**63 - 1, 2**63]),
        ('{"a":1.5,"b":null}', {"a": 1.5, "b": None}),
        ('"12345678901234567890123"', "12345678901234567890123"),
    ],
)
def test_numbers_stay_whole(text, value):
    """Integers of any length up to 1,000 digits are integers."""
    assert loads(text) == value
    assert loads(text.encode()) == value
    assert loads(dumps(value)) == value
    assert type(loads(text)) is type(value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e400", "{'a':1}", '"\\ud800"', "", "[1,]", "1" * 5000, "[" * 100_000, '{"a":1', "\x00"])
def test_what_is_not_json_is_refused_with_its_place(text):
    """No NaN, no lone surrogates, no bombs: InvalidDocument with a line and a column, never another error."""
    with pytest.raises(InvalidDocument) as refused:
        loads(text)
    assert refused.value.line >= 1


def test_depth_is_counted_without_recursion():
    """A hostile nesting is measured, not walked into."""
    value = []
    for _ in range(100_000):
        value = [value]
    assert depth(value, 128) == 129
    assert depth({"a": [1, {"b": 2}]}) == 3


def test_a_payload_makes_its_other_half_once():
    """Text and value stand for each other; sizes are bytes of UTF-8."""
    payload = Payload(text='{"ä":1}')
    assert payload.value == {"ä": 1}
    assert payload.value is payload.value
    assert payload.size() == 8
    assert Payload(value={"ä": 1}) == payload


@pytest.mark.parametrize("middle", ["", "0", "123456789012345678901234567890", '"[[{{"', ",".join(["[]"] * 1000), ",".join(['{"a":[1]}'] * 1000)])
def test_texts_that_are_nested_too_deep(middle):
    """The quick way agrees with a walk over every part, on both sides of the limit."""
    for levels in (1, MAX_DEPTH - 2, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 2, 200, 253, 254, 255, 900):
        text = "[" * levels + middle + "]" * levels
        assert is_too_deep(text) is (depth(json.loads(text)) > MAX_DEPTH), levels


def test_texts_whose_depth_cannot_be_told():
    """What looks deep and is no JSON is refused as such."""
    with pytest.raises(InvalidDocument):
        is_too_deep("[" * 1000)
