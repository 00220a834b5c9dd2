"""What a node speaks of is handed to it, wherever in its texts the word stands."""

import json

import pytest
from flowplay import JavaScript, play

from flowrunner.jsonvalue import mentions


def flow(script, **top):
    nodes = {"first": {"type": "transform", "params": {"script": "return {n: 7}"}, "next": "a"}, "a": {"type": "transform", "params": {"script": script}}}
    return json.dumps({"metadata": {"name": "test"}, "nodes": nodes, **top})


@pytest.mark.parametrize("before", ["const t = 5;\n", "\t", "\f", "/*\b*/\b", "x ="])
def test_a_script_whose_line_begins_with_the_word(before):
    """In JSON the word would stand behind the letter of an escape: then `shared` was handed over empty, and what it held was lost."""
    played = play(flow(f"{before}shared.total = 1", shared={"keep": 1}), {}, default=JavaScript())
    assert played.called("a")[0]["shared"] == {"keep": 1}


def test_results_and_variables_too():
    """All three."""
    played = play(flow("return [\nresults.first,\nvariables.k]", variables={"k": "v"}), {}, default=JavaScript())
    assert (played.called("a")[0]["results"], played.called("a")[0]["variables"]) == ({"first": {"n": 7}}, {"k": "v"})
    assert played.output["a"] == [{"n": 7}, "v"]


def test_a_word_is_a_whole_word():
    """In names of members, and in lists, as well."""
    assert mentions({"a": ["x\nword"]}, "word")
    assert mentions({"the word": 1}, "word")
    assert not mentions({"words": ["aword", "éword", "nword", 1, None]}, "word")
