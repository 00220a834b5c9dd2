"""Texts that are not JSON are refused with the words of AWS's parser."""

from __future__ import annotations

import pytest

from flowrunner.api.aws.texts import json_fault

VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


@pytest.mark.parametrize(
    "text", ["1", "null", '"x"', "{}", " [1, 2.5e3] ", '{"a": {"a": 1}, "b": 2}', "[" * 128 + "]" * 128, "1" * 300, "[" + "{}," * 500 + "{}]"]
)
def test_json(text):
    """JSON is JSON: any value, any white space."""
    assert json_fault(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ""),
        (" \n", ""),
        ("not some json", f"Unrecognized token 'not': was expecting {VALUES}"),
        ("{'not': 'json'", "Unexpected character (''' (code 39)): was expecting double-quote to start field name"),
        ("NaN", f"Unrecognized token 'NaN': was expecting {VALUES}"),
        ('{"a": -Infinity}', f"Unrecognized token 'Infinity': was expecting {VALUES}"),
        ("'x'", f"Unexpected character (''' (code 39)): expected a valid value {VALUES}"),
        ('{"a" 1}', "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value"),
        ('{"a": 1 "b": 2}', "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries"),
        ('["]", 1 2]', "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries"),
        ("[1,]", f"Unexpected character (']' (code 93)): expected a valid value {VALUES}"),
        ('{"a": 1,}', "Unexpected character ('}' (code 125)): was expecting double-quote to start field name"),
        ('{"a": [1', "Unexpected end-of-input: expected close marker for Array"),
        ('{"a": 1', "Unexpected end-of-input: expected close marker for Object"),
        ('"abc', "Unexpected end-of-input: was expecting closing quote for a string value"),
        ('"a\nb"', "Illegal unquoted character ((CTRL-CHAR, code 10)): has to be escaped using backslash to be included in string value"),
        ('"\\x"', "Unrecognized character escape"),
        ("{} x", f"Unrecognized token 'x': was expecting {VALUES}"),
        ("[" * 129 + "]" * 129, "Document nesting depth exceeds the maximum allowed (128)"),
        ("[" * 100_000, "Document nesting depth exceeds the maximum allowed (128)"),
        ('"\\ud800"', "Invalid UTF-16 surrogate in a string, or a number out of range"),
    ],
)
def test_not_json(text, fault):
    """What is not JSON is told."""
    assert json_fault(text) == fault
