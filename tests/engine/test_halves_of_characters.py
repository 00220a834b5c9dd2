"""What a task gives may hold a half of a character, which no store can keep: the run goes on all the same."""

import json

from flowrunner.ports.tasks import Succeeded

HALF = "caf\udce9"  # as the HTTP client gives a header that a server wrote in Latin-1
FLOW = """
metadata: {name: Halves}
nodes:
  a: {type: transform, next: b}
  b: {type: transform, next: {success: c, error: c}}
  c: {type: transform}
"""


async def test_results_failures_and_lines(bench):
    """Each of them stopped the execution for good; now the half is a replacement character."""
    carry_out = bench.handler.run

    async def run(call):
        return Succeeded(f'{{"output":{{"text":"{HALF}"}},"action":"success"}}') if call.state == "a" else await carry_out(call)

    bench.handler.run = run
    bench.handler.table = {"b": [{"log": [("info", HALF, {"k": 1})], "fail": {"error": "E", "cause": HALF}}], "c": [{"return": {"output": 1}}]}
    head = await bench.run(FLOW, {}, form="flow")
    assert head.status == "SUCCEEDED", head.error
    output = json.loads(head.output)
    assert (output["text"], output["error"]["cause"], output["c"]) == ("caf\ufffd", "caf\ufffd", 1)
    said = [record["note"]["message"] for record in await bench.records(head.id) if record["type"] == "StepLogged"]
    assert "caf\ufffd" in said
    assert not bench.reports
