"""Reading JSON strictly and whole."""

import pytest

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import Payload, depth, dumps, loads


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
