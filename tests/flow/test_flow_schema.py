"""The JSON Schema of flows: published as it is made, sound, and what the examples name for editors."""

import json

import pytest
from flowplay import ROOT
from ruamel.yaml import YAML

from flowrunner.cli.main import run
from flowrunner.flow.parse import parse_flow
from flowrunner.flow.schema import flow_schema
from flowrunner.kinds import BUILT_IN, KINDS

PUBLISHED = ROOT / "docs" / "reference" / "flow.schema.json"
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.yaml") if "nodes:" in path.read_text(encoding="utf-8"))
FIRST_LINE = "# yaml-language-server: $schema="


def test_the_published_schema_is_what_the_command_prints(capsys):
    """`flowrunner schema flow > docs/reference/flow.schema.json` changes nothing."""
    assert run(["schema", "flow"]) == 0
    assert capsys.readouterr().out == PUBLISHED.read_text(encoding="utf-8")
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == json.loads(json.dumps(flow_schema(KINDS)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_sound_and_names_its_schema(path):
    """Without a finding; its first line leads editors to the published schema."""
    text = path.read_text(encoding="utf-8")
    assert not parse_flow(text, BUILT_IN).diagnostics
    first = text.splitlines()[0]
    assert first.startswith(FIRST_LINE)
    assert (path.parent / first.removeprefix(FIRST_LINE)).resolve() == PUBLISHED


def test_the_examples_are_there():
    """Both named flows."""
    assert {"complex_flow.yaml", "simple_branching.yaml"} <= {path.name for path in EXAMPLES}


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="a validator of JSON Schemas is not among the tools")
    schema = flow_schema(KINDS)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_fit_the_schema(validator, path):
    """As an editor would check them."""
    assert not [error.message for error in validator.iter_errors(YAML(typ="safe").load(path.read_text(encoding="utf-8")))]


@pytest.mark.parametrize(
    ("node", "place"),
    [
        ({"type": "transfrom"}, ["type"]),
        ({"type": "loop"}, ["type"]),
        ({"type": "delay"}, []),
        ({"type": "delay", "params": {"duration": True}}, ["params", "duration"]),
        ({"type": "transform", "retry": {"max_retries": -1}}, ["retry", "max_retries"]),
        ({"type": "transform", "retry": {"wait": "soon"}}, ["retry", "wait"]),
        ({"type": "transform", "batch": {"strategy": "all"}}, ["batch", "strategy"]),
        ({"type": "transform", "nxt": "b"}, []),
        ({"type": "http.request", "params": {"url": "http://x", "follow_redirects": "yes"}}, ["params", "follow_redirects"]),
        ({"type": "http.request", "params": {"url": "http://x", "follow_redirects": "${ input.follow }"}}, None),
        ({"type": "sub-flow", "params": {"flow_id": "x"}}, None),
    ],
)
def test_an_editor_finds_what_the_reader_finds(validator, node, place):
    """The schema and the reader say the same of a node."""
    flow = {"metadata": {"name": "x"}, "nodes": {"a": node}}
    found = list(validator.iter_errors(flow))
    parsed = parse_flow(json.dumps(flow), BUILT_IN)
    assert (parsed.program is None) == bool(found)
    if place is not None:
        assert ["nodes", "a", *place] in [list(error.absolute_path) for error in found]
