"""States that are made to take long or to grow: each ends soon, by its budget or by the size it would have."""

import json
import time
import tracemalloc

import pytest
from play import START, identity_of, play, program_of

from flowrunner.core import facts
from flowrunner.core.machine import Machine
from flowrunner.jsonvalue import dumps, weight
from flowrunner.limits import AWS, OPEN

SECONDS = 3.0  # of processor time, on a slow machine; here all stay below one
LARGE = {
    "text": "ab" * 20_000,
    "numbers": list(range(20_000)),
    "words": [str(number) for number in range(3_000)],
    "objects": [{"a": number} for number in range(1_000)],
    "deep": json.loads("[" * 60 + "1" + "]" * 60),
    "json": json.dumps([{"a": number} for number in range(1_000)]),
}


def passing(**fields):
    return {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True, **fields}}}


def jsonata(output):
    return {"QueryLanguage": "JSONata", **passing(Output=output)}


def call(function, argument, times=250):
    return f"States.{function}({', '.join([argument] * times)})"


def rules(**test):
    return {
        "StartAt": "C",
        "States": {"C": {"Type": "Choice", "Choices": [{"Variable": "$.text", **test, "Next": "E"}] * 2_500, "Default": "E"}, "E": {"Type": "Succeed"}},
    }


HOSTILE = {
    "thousands of references": passing(Parameters={f"x{number}.$": "$" for number in range(8_000)}),
    "one large part named again and again": passing(InputPath=f"$[{','.join(['0'] * 450)}]"),
    "copies that are equal to none": passing(Parameters={"x.$": f"States.ArrayUnique({call('Array', '$')})"}),
    "copies that are sought": passing(Parameters={"x.$": f"States.ArrayContains({call('Array', '$')}, 1)"}),
    "copies as text": passing(Parameters={f"x{number}.$": f"States.JsonToString({call('Array', '$')})" for number in range(20)}),
    "copies filled in": passing(Parameters={"x.$": f"States.Format('{'{}' * 250}', {', '.join(['$'] * 250)})"}),
    "long texts filled in": passing(Parameters={f"x{number}.$": f"States.Format('{'{}' * 250}', {', '.join(['$.text'] * 250)})" for number in range(100)}),
    "text parsed again and again": passing(Parameters={f"x{number}.$": "States.StringToJson($.json)" for number in range(3_000)}),
    "text cut again and again": passing(Parameters={f"x{number}.$": f"States.StringSplit($.text, '{'ab' * 50}')" for number in range(2_000)}),
    "text searched again and again": rules(StringMatches="*" + "ba*" * 80 + "c"),
    "copies by a comprehension": jsonata("{% $map([1..20000], function($v){$states.input.text}) %}"),
    "a variable behind a dot": jsonata("{% $states.input.numbers.$states.input.text %}"),
    "parts that share": jsonata("{% $reduce([1..60], function($a, $b){[[$a], [$a]]}, [0]) %}"),
    "fields that share": jsonata({f"x{number}": "{% $states.input %}" for number in range(2_000)}),
}


@pytest.mark.parametrize("limits", [AWS, OPEN], ids=["aws", "open"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_states_end_soon(name, limits):
    """Whatever it is refused for, it is refused; the largest payload is a matter of the profile, the time is not."""
    machine = Machine(program_of(HOSTILE[name]), identity_of([LARGE] if name.startswith("one large part") else LARGE), limits)
    began = time.process_time()
    step = machine.apply(facts.Started(at=START))
    while step.more:
        step = machine.apply(facts.Continued(at=START))
    assert time.process_time() - began < SECONDS
    outcome = machine.outcome
    assert outcome.status == "FAILED"
    assert outcome.error in ("States.Runtime", "States.DataLimitExceeded", "States.QueryEvaluationError")


def test_what_would_be_gigabytes_is_never_written():
    """A value of shared parts is refused before its text is made."""
    tracemalloc.start()
    try:
        assert play(HOSTILE["thousands of references"], LARGE).outcome.error == "States.DataLimitExceeded"
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


HONEST = {
    "all of the input, and then a part": passing(Parameters={"all.$": "$", "again.$": "$"}, OutputPath="$.all.objects"),
    "what is different": passing(Parameters={"x.$": "States.ArrayUnique($.numbers)", "y.$": "States.ArrayContains($.objects, $.objects[999])"}),
    "text of it": passing(Parameters={"x.$": "States.Format('{} of {}', $.words, $.text)", "y.$": "States.StringToJson(States.JsonToString($.objects))"}),
    "all levels": passing(Parameters={"x.$": "$.deep..*"}),
    "a path": jsonata("{% $states.input.objects.a %}"),
    "a join": jsonata("{% $states.input.objects.{'a': a, 'text': $substring($states.input.text, 0, 20)} %}"),
}


@pytest.mark.parametrize("name", HONEST)
def test_large_payloads_pass(name):
    """Within AWS's 256 KiB a state may do all this."""
    assert play(HONEST[name], LARGE, limits=AWS).outcome.status == "SUCCEEDED"


@pytest.mark.parametrize("value", [None, True, 1, "", "text", [], {}, [1, "a", None], {"a": [1, {"b": "c"}], "d": {}}, [[], [[]], {"a": []}], [[1, 2]] * 5])
def test_weight_is_about_the_text(value):
    """Exact for short numbers and plain text, but for the last comma of each container and the length of words."""
    text = dumps(value)
    assert len(text) / 2 - 2 <= weight(value) <= len(text) + 20


def test_weight_of_shared_parts():
    """Each is looked at once."""
    value = ["x"]
    for _ in range(60):
        value = [value, value]
    assert weight(value) > 2**60
