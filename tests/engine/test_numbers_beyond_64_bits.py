"""Whole numbers beyond 64 bits are JSON: a run with one in a variable, or in what failed, goes on."""

import json

LARGE = 123456789012345678901234567890
STEPS = {"s1": {"id": "s1", "name": "s1", "type": "transform", "config": {"script": "1"}, "output": {"n": "n"}}}
FLOW = """
metadata: {name: Large}
nodes:
  a: {type: batch, params: {items: "${input.items}", item_script: "1"}, next: {error: b}}
  b: {type: transform}
"""


async def test_a_variable(bench):
    """The note of its change could not be written, and the run stopped for good."""
    bench.handler.table = {"s1": [{"return": {"output": {"n": LARGE}, "action": "success"}}]}
    head = await bench.run(json.dumps({"name": "w", "version": "1.0.0", "steps": STEPS}), {"variables": {}}, form="workflow")
    assert head.status == "SUCCEEDED", head.error
    [changed] = [record["note"] for record in await bench.records(head.id) if record["type"] == "VariableChanged"]
    assert (changed["name"], changed["newValue"]) == ("n", LARGE)
    assert not bench.reports


async def test_items_that_failed(bench):
    """They stand in the failure of the node, beside which a snapshot may be taken."""
    bench.handler.table = {"a (batch) 0": [{"fail": {"error": "E", "cause": "no"}}], "b": [{"return": {"output": 1, "action": "success"}}]}
    head = await bench.run(FLOW, {"items": [{"n": LARGE}]}, form="flow")
    assert head.status == "SUCCEEDED", head.error
    assert json.loads(head.output)["failed_items"] == [{"n": LARGE, "error": "no"}]
    assert not bench.reports
