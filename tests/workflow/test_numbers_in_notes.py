"""Whole numbers of any length go through a workflow; what is told of them can be written and read by everybody."""

import orjson
import pytest
from workflowplay import Player

from flowrunner.core.records import encode

LOOP = {"loop": {"type": "forEach", "source": "numbers", "children": [{"id": "b", "type": "merge"}]}}


@pytest.mark.parametrize("restored", [False, True])
def test_items_beyond_64_bits(restored):
    """The run ends as it would with small ones; the log has the nearest number that readers of JSON know, or else the digits."""
    numbers = [2**63 - 1, 2**64 - 1, 2**64, -(2**63) - 1, 10**30, 10**400]
    played = Player({"variables": {"numbers": numbers}, "steps": {"l": LOOP}}, restored=restored)
    assert played.machine.outcome.status == "SUCCEEDED"
    assert str(10**400) in played.machine.outcome.output
    told = [record["note"]["item"] for record in orjson.loads(encode(played.records)) if record["type"] == "IterationStarted"]
    assert told == [2**63 - 1, 2**64 - 1, float(2**64), float(-(2**63) - 1), 1e30, str(10**400)]
