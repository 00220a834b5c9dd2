"""What scripts may return goes from node to node on every store, several times, and is there again when it is read back."""

import json

FLOW = """
metadata: {name: Large}
nodes:
  a: {type: transform, next: b}
  b: {type: transform, next: c}
  c: {type: transform, next: d}
  d: {type: transform, next: {success: e, error: e}}
  e: {type: transform}
"""
MEBIBYTE = 1024 * 1024


def gives(**members):
    return [{"return": {"output": members, "action": "success"}}]


async def test_a_mebibyte_each(bench):
    """Two of them reach the third node, one in letters of four bytes, and four all but a few bytes; a fifth is too much, and its error edge is taken."""
    first, second = "x" * MEBIBYTE, "\N{GRINNING FACE}" * (MEBIBYTE // 4)
    bench.handler.table = {"a": gives(a=first), "b": gives(b=second), "c": gives(c="z" * (2 * MEBIBYTE - 1000)), "d": gives(d="z" * MEBIBYTE), "e": gives(e=1)}
    head = await bench.run(FLOW, {}, form="flow")
    assert head.status == "SUCCEEDED", head.error
    output = json.loads(head.output)
    assert (output["a"], output["b"], len(output["c"]), output["e"]) == (first, second, 2 * MEBIBYTE - 1000, 1)
    assert "d" not in output
    assert output["error"]["error"] == "States.DataLimitExceeded"
    assert "In 'd': What it gives" in output["error"]["message"]
    records = await bench.records(head.id)
    [kept] = [record["note"]["output"] for record in records if record["type"] == "StepCompleted" and record["note"]["stepId"] == "b"]
    assert json.loads(kept) == {"b": second}
    assert not bench.reports
