"""Maps with batches, with failures that are tolerated, and what is left of them when they fail."""

import json
from itertools import pairwise

import pytest
from play import play

from flowrunner.limits import AWS, OPEN

PASS = {"StartAt": "E", "States": {"E": {"Type": "Pass", "End": True}}}
DISTRIBUTED = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}


def batched(batcher, processor=PASS, **fields):
    state = {"Type": "Map", "End": True, "ItemBatcher": batcher, "ItemProcessor": {"ProcessorConfig": DISTRIBUTED, **processor}, **fields}
    return {"StartAt": "M", "States": {"M": state}}


def test_items_are_batched():
    """Each iteration gets as many items as a batch may hold, in order."""
    assert play(batched({"MaxItemsPerBatch": 2}), [1, 2, 3, 4, 5]).output == [{"Items": [1, 2]}, {"Items": [3, 4]}, {"Items": [5]}]


def test_batches_share_their_input_and_take_selected_items():
    """BatchInput is computed once from the state's input; items are batched as ItemSelector makes them."""
    batcher = {"MaxItemsPerBatchPath": "$.most", "BatchInput": {"fact.$": "$.fact"}}
    played = play(
        batched(batcher, ItemsPath="$.items", ItemSelector={"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value"}, MaxConcurrency=1),
        {"most": "2", "fact": 7, "items": ["a", "b", "c"]},
    )
    assert played.output == [
        {"BatchInput": {"fact": 7}, "Items": [{"i": 0, "v": "a"}, {"i": 1, "v": "b"}]},
        {"BatchInput": {"fact": 7}, "Items": [{"i": 2, "v": "c"}]},
    ]


def test_batches_in_jsonata():
    """The limits and the batch's input may be expressions."""
    definition = batched(
        {"MaxItemsPerBatch": "{% $states.input.most %}", "BatchInput": {"fact": "{% $states.input.fact %}"}}, Items="{% $states.input.items %}"
    )
    assert play({"QueryLanguage": "JSONata", **definition}, {"most": 3, "fact": 7, "items": [1, 2, 3, 4]}).output == [
        {"BatchInput": {"fact": 7}, "Items": [1, 2, 3]},
        {"BatchInput": {"fact": 7}, "Items": [4]},
    ]


@pytest.mark.parametrize("most", [None, 3])
def test_batches_hold_no_more_bytes_than_they_may(most):
    """No batch of several items is larger than MaxInputBytesPerBatch, and none could hold the item after it."""
    items = ["é" * (7 * number % 30) for number in range(100)]
    played = play(batched({"MaxInputBytesPerBatch": 100, **({"MaxItemsPerBatch": most} if most else {})}), items)
    batches = played.output
    assert [item for batch in batches for item in batch["Items"]] == items

    def size(batch):
        return len(json.dumps(batch, separators=(",", ":"), ensure_ascii=False).encode())

    assert all(size(batch) <= 100 for batch in batches)
    for batch, following in pairwise(batches):
        assert len(batch["Items"]) == most or size({"Items": [*batch["Items"], following["Items"][0]]}) > 100


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "two", None, True])
def test_a_batch_has_a_size(wrong):
    """What is no positive integer fails the execution."""
    outcome = play(batched({"MaxItemsPerBatchPath": "$.most"}, ItemsPath="$.items"), {"most": wrong, "items": [1]}).outcome
    assert (outcome.status, outcome.error) == ("FAILED", "States.Runtime")
    assert "MaxItemsPerBatchPath" in outcome.cause


def failing(first, **tolerated):
    """Ten items of which the first few fail."""
    choice = {"Type": "Choice", "Choices": [{"Variable": "$", "NumericLessThan": first, "Next": "X"}], "Default": "E"}
    processor = {"StartAt": "C", "States": {"C": choice, "X": {"Type": "Fail", "Error": "e"}, "E": {"Type": "Succeed"}}}
    return {"StartAt": "M", "States": {"M": {"Type": "Map", "End": True, **tolerated, "ItemProcessor": {"ProcessorConfig": DISTRIBUTED, **processor}}}}


@pytest.mark.parametrize(
    ("tolerated", "status"),
    [
        ({}, "FAILED"),
        ({"ToleratedFailureCount": 3}, "FAILED"),
        ({"ToleratedFailureCount": 4}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 39}, "FAILED"),
        ({"ToleratedFailurePercentage": 40}, "SUCCEEDED"),
        ({"ToleratedFailureCount": 1, "ToleratedFailurePercentage": 50}, "FAILED"),
        ({"ToleratedFailureCount": 5, "ToleratedFailurePercentage": 10}, "FAILED"),
        ({"ToleratedFailureCount": 5, "ToleratedFailurePercentage": 50}, "SUCCEEDED"),
    ],
)
def test_a_map_run_fails_when_it_exceeds_either_threshold(tolerated, status):
    """Of a count and a percentage of failed items, none may be exceeded."""
    assert play(failing(4, **tolerated), list(range(10))).outcome.status == status


@pytest.mark.parametrize(("most", "status"), [(1, "FAILED"), (2, "SUCCEEDED")])
def test_failures_of_a_batch_count_by_its_items(most, status):
    """A batch that fails is as many failed items as it holds."""
    choice = {"Type": "Choice", "Choices": [{"Variable": "$.Items[0]", "NumericEquals": 0, "Next": "X"}], "Default": "E"}
    processor = {"StartAt": "C", "States": {"C": choice, "X": {"Type": "Fail", "Error": "e"}, "E": {"Type": "Succeed"}}}
    assert play(batched({"MaxItemsPerBatch": 2}, processor, ToleratedFailureCount=most), [0, 1, 2]).outcome.status == status


def test_a_state_that_was_not_entered_is_not_aborted():
    """A branch given up between two states names none as aborted."""
    waiting = {"StartAt": "A1", "States": {"A1": {"Type": "Pass", "Next": "A2"}, "A2": {"Type": "Wait", "Seconds": 9, "End": True}}}
    branches = [waiting, {"StartAt": "B", "States": {"B": {"Type": "Fail", "Error": "e"}}}]
    played = play({"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": True, "Branches": branches}}})
    assert "WaitStateEntered" not in played.types
    assert not [kind for kind in played.types if kind.endswith("Aborted")]


DOUBLING = {
    "I": {"Type": "Pass", "Assign": {"x": "0123456789abcdef", "n": 0}, "Output": 1, "Next": "L"},
    "L": {"Type": "Choice", "Choices": [{"Condition": "{% $n >= 18 %}", "Next": "E", "Output": 1}], "Default": "D", "Output": 1},
    "D": {"Type": "Pass", "Assign": {"x": "{% $x & $x %}", "n": "{% $n + 1 %}"}, "Output": 1, "Next": "L"},
    "E": {"Type": "Succeed", "Output": 1},
}


@pytest.mark.parametrize(("limits", "status"), [(AWS, "FAILED"), (OPEN, "SUCCEEDED")])
def test_one_assign_has_a_limit(limits, status):
    """256 KiB of variables in one state, as AWS has it."""
    outcome = play({"QueryLanguage": "JSONata", "StartAt": "I", "States": DOUBLING}, limits=limits).outcome
    assert (outcome.status, outcome.error) == (status, "States.DataLimitExceeded" if status == "FAILED" else None)


@pytest.mark.parametrize(("count", "status"), [(50, "FAILED"), (39, "SUCCEEDED")])
def test_all_variables_have_a_limit(count, status):
    """10 MiB of variables in an execution; a new value takes the place of the old one."""
    states = {f"P{number}": {"Type": "Pass", "Assign": {f"v{number}.$": "$"}, "Next": f"P{number + 1}"} for number in range(count)}
    states[f"P{count}"] = {"Type": "Pass", "Assign": {"v0.$": "$"}, "End": True}
    outcome = play({"StartAt": "P0", "States": states}, "x" * 262_000).outcome
    assert (outcome.status, outcome.error) == (status, "States.DataLimitExceeded" if status == "FAILED" else None)


def test_variables_of_iterations_that_ended_count_no_more():
    """The limit is for variables that exist."""
    processor = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Assign": {"v.$": "$"}, "Result": 1, "End": True}}}
    state = {
        "Type": "Map",
        "End": True,
        "MaxConcurrency": 1,
        "ItemProcessor": processor,
        "ItemSelector": {"x.$": "States.Format('{}', $.text)"},
        "ItemsPath": "$.items",
    }
    assert play({"StartAt": "M", "States": {"M": state}}, {"text": "x" * 250_000, "items": list(range(60))}).outcome.status == "SUCCEEDED"


def over_object(**fields):
    return {"Type": "Map", "End": True, "ItemProcessor": {"ProcessorConfig": DISTRIBUTED, **PASS}, **fields}


def test_the_members_of_an_object():
    """A distributed Map gives each member to an iteration, as a pair or as ItemSelector makes it; a literal, an expression, a path and the input will do."""
    given = {"b": 2, "a": {"x": 1}}
    pairs = [{"Key": "b", "Value": 2}, {"Key": "a", "Value": {"x": 1}}]
    assert play({"StartAt": "M", "States": {"M": over_object()}}, given).output == pairs
    assert play({"StartAt": "M", "States": {"M": over_object(ItemsPath="$.o")}}, {"o": given}).output == pairs
    for items in (given, "{% $states.input %}"):
        played = play({"QueryLanguage": "JSONata", "StartAt": "M", "States": {"M": over_object(Items=items)}}, given)
        assert played.output == pairs
        assert next(one for one in played.records if one["type"] == "MapStateStarted")["mapStateStartedEventDetails"] == {"length": 2}
    selector = {"k.$": "$$.Map.Item.Key", "v.$": "$$.Map.Item.Value", "i.$": "$$.Map.Item.Index"}
    selected = [{"k": "b", "v": 2, "i": 0}, {"k": "a", "v": {"x": 1}, "i": 1}]
    assert play({"StartAt": "M", "States": {"M": over_object(ItemSelector=selector)}}, given).output == selected
    assert play(batched({"MaxItemsPerBatch": 5}, ItemSelector=selector), given).output == [{"Items": selected}]
    inside = {"StartAt": "E", "States": {"E": {"Type": "Pass", "Parameters": {"k.$": "$$.Map.Item.Key"}, "End": True}}}
    state = over_object(ItemProcessor={"ProcessorConfig": DISTRIBUTED, **inside})
    assert play({"StartAt": "M", "States": {"M": state}}, given).output == [{"k": "b"}, {"k": "a"}]
    assert play({"StartAt": "M", "States": {"M": over_object()}}, {}).output == []


def test_an_inline_map_takes_no_object():
    """As recorded."""
    state = {"Type": "Map", "End": True, "ItemProcessor": PASS}
    played = play({"StartAt": "M", "States": {"M": state}}, {"a": 1})
    assert (played.outcome.status, played.outcome.error) == ("FAILED", "States.Runtime")


def test_a_batch_is_no_larger_than_an_input():
    """Without a limit of its own in bytes, too: its child could not even pass it on."""
    counting = {"StartAt": "E", "States": {"E": {"Type": "Pass", "Parameters": {"n.$": "States.ArrayLength($.Items)"}, "End": True}}}
    items = ["x" * 10_000] * 50
    assert play(batched({"MaxItemsPerBatch": 100}, counting), items).output == [{"n": 26}, {"n": 24}]
    assert play(batched({"MaxItemsPerBatch": 100}, counting), items, limits=OPEN).output == [{"n": 50}]
