"""Hazards of JSON at the door: taken or refused with one answer, the same on every store (reliability R24, S24)."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import pytest
from awscaller import PASS, Caller, make_service

from flowrunner.api.aws import AwsEndpoint, Development
from flowrunner.clock import SystemClock
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import MAX_DEPTH, MAX_DIGITS, loads, repeated_name
from flowrunner.limits import AWS
from flowrunner.stores.open import open_store
from flowrunner.testing.dynamodb import fresh_url

COPY = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}'


def nested(levels, opening="[", middle="", closing="]"):
    return opening * levels + middle + closing * levels


# Text of an input -> None when it is taken, otherwise a part of the message.
CORPUS = {
    # numbers
    "0": None, "-0": None, "-0.0": None, "1e5": None, "1E+2": None, "1e-400": None, "0.1": None, "1.7976931348623157e308": None, "5e-324": None,
    "9223372036854775807": None, "9223372036854775808": None, "-9223372036854775809": None, "18446744073709551616": None,
    "9" * MAX_DIGITS: None, "[" + "9" * 100 + "]": None, "9" * (MAX_DIGITS + 1): "Number value length", "9" * 5000: "Number value length",
    "1e400": "out of range", "-1e400": "out of range", "1" + "0" * 400 + ".0": "out of range",
    "NaN": "NaN", "Infinity": "Infinity", "-Infinity": "Infinity", "[NaN]": "NaN", '{"a":NaN}': "NaN", "nan": "nan",
    "01": "Unexpected", "+1": "Unexpected", "1.": "Unexpected", ".5": "Unexpected", "0x10": "Unrecognized", "1e": "Unrecognized", "1_000": "Unrecognized", "0." + "1" * 900: None, "0." + "1" * 1000: "Number value length", "--1": "Unexpected",
    # depth
    nested(MAX_DEPTH): None, nested(MAX_DEPTH + 1): "depth", nested(1000): "depth", nested(100_000): "depth",
    nested(MAX_DEPTH, '{"a":', "1", "}"): None, nested(MAX_DEPTH + 1, '{"a":', "1", "}"): "depth", nested(30_000, '{"a":', "1", "}"): "depth",
    "[" * 100_000: "", "[" * 200: "",
    # names that repeat
    '{"a":1,"a":2}': "Duplicate field 'a'", '{"a":1,"a" :2}': "Duplicate field 'a'", '{"a":1,"\\u0061":2}': "Duplicate field 'a'",
    '[{"b":{"c":1,"c":1}}]': "Duplicate field 'c'", '{"":1,"":2}': "Duplicate field ''", '{"a":"\\":","a":2}': "Duplicate field 'a'",
    '{"a\\\\":1,"a\\\\"\n:2}': "Duplicate field", '{"a":{"a":1},"b":{"a":2}}': None, '{"a":"\\":\\":\\":"}': None, '{"a":"b","b":"a"}': None, '["a\\":",":"]': None,
    '{"A":1,"a":2}': None, '{"\u00e9":1,"e\u0301":2}': None,
    # texts
    '"\\u0000"': None, '{"a\\u0000b":"c\\u0000"}': None, '"\\u0001\\u001f\\u007f"': None, '"\\u0001\\u0001\\u0000\\u0002"': None, '"\u2028\u2029\ufeff\uffff"': None,
    '"\\ud83d\\ude00"': None, '"\U0001f600"': None, '"\U0010ffff"': None, '"\\ud800"': "surrogate", '"\\udc00"': "surrogate", '"\\ude00\\ud83d"': "surrogate",
    '"\\ud800a"': "surrogate", '{"\\ud800":1}': "surrogate", '["\\uD83D"]': "surrogate",
    '"\\x41"': "escape", '"\\u12"': "escape", '"a': "end-of-input", '"\0"': "CTRL-CHAR", '"\n"': "CTRL-CHAR", '"\t"': "CTRL-CHAR", "'a'": "Unexpected", '"a"b': "Unrecognized",
    # the rest of the grammar
    "": "", " ": "", "\n\t ": "", "null": None, "true": None, ' {"a" : [ 1 , 2 ] } ': None, "[1,]": "Unexpected", '{"a":1,}': "Unexpected", "{a:1}": "Unexpected",
    "[1 2]": "Unexpected", '{"a" 1}': "Unexpected", '{"a":}': "Unexpected", "[": "end-of-input", "{": "end-of-input", "]": "Unexpected", "1 2": "Unexpected", "[1]]": "Unexpected",
    "nul": "Unrecognized", "True": "Unrecognized", "/**/1": "Unexpected", "1//": "Unexpected", "\ufeff1": "Unexpected", "\x0c1": "Unexpected", "\u00a01": "Unexpected", "1\0": "Unexpected",
    "\0": "Unexpected", '{1:"a"}': "Unexpected", "{null:1}": "Unexpected", "[,1]": "Unexpected", "[1,,2]": "Unexpected", "{,}": "Unexpected",
}  # fmt: skip


async def told(aws, machine, text):
    """What happens to an execution with this input: the code and message of the refusal, or its input and output as they are described."""
    status, _, answer = await aws.raw(json.dumps({"stateMachineArn": machine, "input": text}).encode(), {"x-amz-target": "AWSStepFunctions.StartExecution"})
    if status != 200:
        return status, answer["__type"].partition("#")[2], answer["message"]
    ended = await aws.ended(answer["executionArn"])
    return status, ended["status"], ended["input"], ended.get("output")


async def answers(url):
    """What the whole corpus is answered on one store."""
    async with AsyncExitStack() as stack:
        aws = Caller(AwsEndpoint(await make_service(stack, open_store(url, clock=SystemClock()), limits=AWS), Development()))
        machine = await aws.machine("copy", COPY)
        return {text: await told(aws, machine, text) for text in CORPUS}


@pytest.fixture(scope="module")
def on_memory():
    import asyncio

    return asyncio.run(answers("memory:"))


@pytest.mark.parametrize("text", CORPUS, ids=lambda text: repr(text[:40]))
def test_each_is_taken_whole_or_refused(on_memory, text):
    """What is taken comes back as the text it was, and as an equal value; what is refused is the caller's fault and says why."""
    expected, answer = CORPUS[text], on_memory[text]
    if expected is None:
        status, ended, given, output = answer
        assert (status, ended, given) == (200, "SUCCEEDED", text)
        assert loads(output) == loads(text)
        assert type(loads(output)) is type(loads(text))
    else:
        status, code, message = answer
        assert (status, code) == (400, "InvalidExecutionInput")
        assert expected in message
        assert len(message) < 1000


async def test_sqlite_answers_the_same(on_memory, tmp_path):
    """Every text of the corpus has the same answer on SQLite as in memory."""
    assert await answers(f"sqlite:///{tmp_path / 'one.db'}") == on_memory


async def test_postgresql_answers_the_same(on_memory, postgres_urls):
    """PostgreSQL, which takes no NUL, answers the same."""
    assert await answers(postgres_urls()) == on_memory


async def test_dynamodb_answers_the_same(on_memory, dynamodb):
    """DynamoDB, whose numbers have 38 digits, answers the same."""
    assert await answers(fresh_url(dynamodb)) == on_memory


@pytest.mark.parametrize("text", [text for text, fault in CORPUS.items() if fault is None or "Duplicate" in fault], ids=lambda text: repr(text[:40]))
def test_repeated_names_are_found_without_reading_twice_or_with(text):
    """The short way and the long way agree, on text and on bytes."""
    found = repeated_name(text, loads(text))
    assert (found is not None) == (CORPUS[text] is not None)
    assert repeated_name(text.encode(), loads(text)) == found


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, "[" * 200 + "]" * 200, "NaN", '{"a":"\\ud800"}', "\0", '{"input":' + "9" * 5000 + "}", "", "[]", '"a"', "null", b"\xff\xfe", b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\x80"}'],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
async def test_an_envelope_is_a_json_object(aws, body):
    """Whatever else is sent is a SerializationException or says what is missing, never a fault of the server."""
    status, _, answer = await aws.raw(body if isinstance(body, bytes) else body.encode(), {"x-amz-target": "AWSStepFunctions.StartExecution"})
    assert status == 400
    assert answer["__type"].partition("#")[2] in ("SerializationException", "ValidationException")


@pytest.mark.parametrize(
    ("operation", "body", "member"),
    [
        ("ListStateMachines", '{"maxResults":1,"maxResults":2}', "maxResults"),
        ("StartExecution", '{"stateMachineArn":"ARN","input":"{\\"a\\":1}","input":"{\\"a\\":2}"}', "input"),
        ("StartExecution", '{"stateMachineArn":"ARN","input":"1","inp\\u0075t":"2"}', "input"),
        ("StartExecution", '{"stateMachineArn":"ARN","input":"{\\"a\\\\\\\\\\":1}","input":"2"}', "input"),
        ("TagResource", '{"resourceArn":"ARN","tags":[{"key":"a","key":"b","value":"c"}]}', "key"),
    ],
)
async def test_an_envelope_has_each_member_once(aws, operation, body, member):
    """Neither of two members wins: who looked at the request before may have judged the other."""
    machine = await aws.machine("twice", PASS)
    status, _, answer = await aws.raw(body.replace("ARN", machine).encode(), {"x-amz-target": f"AWSStepFunctions.{operation}"})
    assert (status, answer["__type"].partition("#")[2]) == (400, "SerializationException")
    assert answer["message"] == f"The request body has the member '{member}' twice."
    assert (await aws("ListExecutions", stateMachineArn=machine))["executions"] == []


async def test_json_in_the_members_of_an_envelope(aws):
    """Names in a definition or an input that look like members of the envelope are none of it."""
    machine = await aws.machine("inner", PASS)
    inner = json.dumps({"input": '{"input":"\\"}', "stateMachineArn": '":', "a\\": [{"name": 1}, {"name": 2}]})
    started = await aws("StartExecution", stateMachineArn=machine, name="inner", input=inner)
    assert (await aws.ended(started["executionArn"]))["input"] == inner


@pytest.mark.parametrize("member", ["name", "input", "traceHeader"])
@pytest.mark.parametrize("value", ["\0", "a\0b", "\x01\x02", "\ufffe", "\U0010ffff" * 20])
async def test_odd_characters_in_members(aws, member, value):
    """They are refused by name or kept; the server has no fault."""
    machine = await aws.machine("odd", PASS)
    request = {"stateMachineArn": machine, member: json.dumps(value) if member == "input" else value}
    status, _, _ = await aws.raw(json.dumps(request).encode(), {"x-amz-target": "AWSStepFunctions.StartExecution"})
    assert status in (200, 400)


def test_long_texts_are_read_in_bounded_time():
    """256 KiB of names, marks or backslashes cost milliseconds, whichever way is taken."""
    import time

    worst = ['{"a":"' + '\\":' * 80_000 + '"}', "[" + ",".join(f'{{"{n}":1}}' for n in range(20_000)) + "]", '{"a":"' + '"' + " " * 250_000]
    for text in worst:
        begun = time.thread_time()
        try:
            repeated_name(text, loads(text))
        except InvalidDocument:
            repeated_name(text, None)
        assert time.thread_time() - begun < 1
