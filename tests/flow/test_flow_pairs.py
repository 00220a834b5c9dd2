"""Characters beyond U+FFFF that a JSON text writes as two escapes, and halves of them."""

import json

from flowplay import found_in, program_of

from flowrunner.jsonvalue import whole

FACE = "\N{GRINNING FACE}"


def test_a_flow_in_plain_json():
    """Python, Java and others write JSON in ASCII; names of members are read as well as texts."""
    text = json.dumps({"metadata": {"name": f"Hello {FACE}"}, "nodes": {f"{FACE}{FACE}": {"type": "transform", "params": {"script": f"return '{FACE}é'"}}}})
    assert text.isascii()
    program = program_of(text)
    assert program.root.start_at == f"{FACE}{FACE}"


def test_two_escapes_may_name_the_same():
    """A name is there once, however it is written."""
    text = f'metadata: {{name: x}}\nnodes:\n  "\\ud83d\\ude00": {{type: transform}}\n  {FACE}: {{type: transform}}\n'
    assert found_in(text) == [f"4:3 error INVALID_JSON_DESCRIPTION /nodes/{FACE}"]


def test_half_a_character_has_a_place():
    """It was told at the beginning of the text."""
    text = "metadata: {name: x}\nnodes:\n  a: {type: transform, params: {script: \"return '\\ud83d'\"}}\n"
    [found] = found_in(text)
    assert found.startswith("3:41 error")


def test_a_text_without_halves_stays_itself():
    """Only what no store could hold is replaced."""
    for text in ("plain", f"é{FACE}", ""):
        assert whole(text) is text
    assert whole("a\ud83d b\ude00") == "a\ufffd b\ufffd"
