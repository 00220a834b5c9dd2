from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from pathlib import Path

import pytest
from task_calls import ACCOUNT, INVOKE, REGION, call, function_arn

from flowrunner.errors import ConfigurationError
from flowrunner.jsonvalue import MAX_DEPTH, MAX_DIGITS
from flowrunner.limits import OPEN
from flowrunner.ports.tasks import Failed, Succeeded
from flowrunner.tasks.function_files import file_faults
from flowrunner.tasks.functions import FunctionName, parse_function_name, read_functions

SOURCE = """
import asyncio, decimal, os, sys, json
count = 0

class CustomException(Exception):
    pass

def echo(event, context):
    return event

async def slowly(event, context):
    await asyncio.sleep(0)
    return {"got": event}

def fail(event, context):
    raise Exception("Some exception was raised.")

def fail_custom(event, context):
    raise CustomException()

def about(event, context):
    return {
        "name": context.function_name, "version": context.function_version, "arn": context.invoked_function_arn,
        "request": context.aws_request_id, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
        "left": context.get_remaining_time_in_millis(), "key": context.idempotency_key,
        "environment_key": os.environ["FLOWRUNNER_IDEMPOTENCY_KEY"], "secret": os.environ.get("A_SECRET_OF_THE_SERVER"),
        "own": os.environ.get("OWN"), "state": context.state_name,
    }

def noisy(event, context):
    print("printed by the handler")
    os.write(1, b"written by the handler\\n")
    sys.stdout.write("without an end")
    return "quiet"

def reads(event, context):
    return sys.stdin.read()

def nested(event, context):
    value = event["middle"]
    for _ in range(event["levels"]):
        value = [value]
    return value

def number(event, context):
    return {"number": 10 ** (event - 1), "text": "1" * 2000}

def unserialisable(event, context):
    return {"a": {1, 2}}

def not_a_number(event, context):
    return float("nan")

def surrogate(event, context):
    return "\\ud800"

def decimals(event, context):
    return decimal.Decimal("1.5")

def exits(event, context):
    os._exit(3)

def leaves(event, context):
    sys.exit(4)

def killed(event, context):
    os.kill(os.getpid(), 9)

def big(event, context):
    return "a" * 263168

def counted(event, context):
    global count
    count += 1
    return [os.getpid(), count]

def forever(event, context):
    open(event["started"], "w").close()
    while True:
        pass
"""


def value(outcome):
    assert isinstance(outcome, Succeeded), outcome
    return json.loads(outcome.output)


@pytest.mark.parametrize("event", [{}, {"a": [1, 2.5, None, "ü\n"]}, [], 0, True, None, "HelloWorld"])
async def test_echo(run, event):
    """A plain function's result is its JSON value as it is."""
    assert value(await run(SOURCE, {"f": "functions.py:echo"}, call(function_arn("f"), event))) == event


async def test_async_handler(run):
    """An async def handler is awaited."""
    assert value(await run(SOURCE, {"f": "functions.py:slowly"}, call(function_arn("f"), 1))) == {"got": 1}


@pytest.mark.parametrize(("payload", "result"), [({"a": 1}, {"a": 1}), ('"HelloWorld"', "HelloWorld"), ("0.0", 0.0), ("[]", []), (None, {}), ([1], [1])])
async def test_service_payload(run, payload, result):
    """A string payload is sent as it is, null as {} (recorded from AWS)."""
    answer = value(await run(SOURCE, {"f": "functions.py:echo"}, call(INVOKE, {"FunctionName": "f", "Payload": payload})))
    assert list(answer) == ["ExecutedVersion", "Payload", "SdkHttpMetadata", "SdkResponseMetadata", "StatusCode"]
    assert (answer["ExecutedVersion"], answer["Payload"], answer["StatusCode"]) == ("$LATEST", result, 200)
    headers = answer["SdkHttpMetadata"]["HttpHeaders"]
    assert headers["Content-Length"] == str(len(json.dumps(result, separators=(",", ":"))))
    assert set(headers) == set(answer["SdkHttpMetadata"]["AllHttpHeaders"])
    assert headers["x-amzn-RequestId"] == answer["SdkResponseMetadata"]["RequestId"]


async def test_payload_that_is_no_json(run):
    """A string payload that is not JSON text is refused as Lambda refuses it."""
    outcome = await run(SOURCE, {"f": "functions.py:echo"}, call(INVOKE, {"FunctionName": "f", "Payload": "HelloWorld"}))
    assert outcome.error == "Lambda.InvalidRequestContentException"
    assert "Status Code: 400; Error Code: InvalidRequestContentException" in outcome.cause


@pytest.mark.parametrize("name", ["f", "f:$LATEST", "f:live", f"{ACCOUNT}:function:f", function_arn("f"), function_arn("f") + ":3"])
async def test_function_names(run, name):
    """Names, partial and full ARNs, with and without qualifier, name the same function."""
    assert value(await run(SOURCE, {"f": "functions.py:echo"}, call(INVOKE, {"FunctionName": name, "Payload": 1})))["Payload"] == 1


def test_parse_function_name():
    """The parts of a function's name are told apart."""
    assert parse_function_name("a-b_c") == FunctionName("a-b_c")
    assert parse_function_name(f"{function_arn('f')}:live") == FunctionName("f", "live", REGION, ACCOUNT)
    assert parse_function_name("arn:aws:lambda:your-region:your-account:function:f") == FunctionName("f")
    assert parse_function_name("no good") is None


async def test_plain_error(run):
    """A plain function's cause is the text of Lambda's runtime: its key order, blanks after commas and colons, its stack lines."""
    outcome = await run(SOURCE, {"f": "functions.py:fail"}, call(function_arn("f"), {}))
    assert isinstance(outcome, Failed)
    assert (outcome.error, outcome.phase) == ("Exception", "run")
    start = (
        '{"errorMessage": "Some exception was raised.", "errorType": "Exception", "requestId": "00000000-0000-4000-8000-000000000001", "stackTrace": ["  File '
    )
    assert outcome.cause.startswith(start)
    [frame] = json.loads(outcome.cause)["stackTrace"]
    assert re.fullmatch(r'  File "[^"]+/functions.py", line \d+, in fail\n    raise Exception\("Some exception was raised."\)\n', frame)


async def test_service_error(run):
    """lambda:invoke's cause is the same object in compact form."""
    outcome = await run(SOURCE, {"f": "functions.py:fail_custom"}, call(INVOKE, {"FunctionName": "f"}))
    assert outcome.error == "CustomException"
    assert outcome.cause.startswith('{"errorMessage":"","errorType":"CustomException","requestId":"')


@pytest.mark.parametrize(
    ("handler", "error", "words"),
    [
        ("unserialisable", "Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable"),
        ("not_a_number", "Runtime.MarshalError", "Unable to marshal response"),
        ("surrogate", "Runtime.MarshalError", "Unable to marshal response"),
        ("missing", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'functions'"),
        ("count", "Runtime.HandlerNotFound", "Handler 'count' missing on module 'functions'"),
        ("exits", "Runtime.ExitError", "Error: Runtime exited with error: exit status 3"),
        ("leaves", "Runtime.ExitError", "Error: Runtime exited with error: exit status 4"),
        ("killed", "Runtime.ExitError", "Error: Runtime exited with error: signal: kill"),
    ],
)
async def test_runtime_errors(run, handler, error, words):
    """What goes wrong around a handler has Lambda's names, and the next call works."""
    functions = {"f": f"functions.py:{handler}", "g": "functions.py:echo"}
    outcome = await run(SOURCE, functions, call(function_arn("f"), {}))
    assert outcome.error == error
    assert words in json.loads(outcome.cause)["errorMessage"]
    assert value(await run(SOURCE, functions, call(function_arn("g"), 7))) == 7


@pytest.mark.parametrize(
    ("source", "error"),
    [("import nothing_of_this_name", "Runtime.ImportModuleError"), ("def f(:", "Runtime.UserCodeSyntaxError"), ("raise KeyError('x')", "KeyError")],
)
async def test_load_errors_heal(run, source, error):
    """A module that cannot be loaded says so, and a corrected one is loaded at the next call."""
    functions = {"f": "functions.py:f"}
    assert (await run(source, functions, call(function_arn("f"), {}))).error == error
    assert value(await run("def f(event, context): return 'well'\n", functions, call(function_arn("f"), {}))) == "well"


@pytest.mark.parametrize(("levels", "fits"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (900, False)])
async def test_the_depth_of_a_result(run, levels, fits):
    """As deep as an input may be; brackets in texts and beside each other do not count."""
    functions = {"f": "functions.py:nested", "g": "functions.py:echo"}
    for middle in (0, "[" * 1000):
        outcome = await run(SOURCE, functions, call(function_arn("f"), {"levels": levels, "middle": middle}))
        assert isinstance(outcome, Succeeded) is fits
        if not fits:
            assert outcome.error == "Runtime.MarshalError"
            assert json.loads(outcome.cause)["errorMessage"] == f"Unable to marshal response: nested more than {MAX_DEPTH} levels deep"
    assert value(await run(SOURCE, functions, call(function_arn("g"), [[]] * 1000))) == [[]] * 1000


@pytest.mark.parametrize(("digits", "fits"), [(MAX_DIGITS, True), (MAX_DIGITS + 1, False)])
async def test_the_digits_of_a_number(run, digits, fits):
    """As many as an input's numbers may have."""
    outcome = await run(SOURCE, {"f": "functions.py:number"}, call(function_arn("f"), digits))
    assert isinstance(outcome, Succeeded) is fits
    if not fits:
        assert outcome.error == "Runtime.MarshalError"
        assert json.loads(outcome.cause)["errorMessage"] == f"Unable to marshal response: number of more than {MAX_DIGITS} digits"


async def test_decimals(run):
    """DynamoDB's numbers pass, as in Lambda's runtime."""
    assert value(await run(SOURCE, {"f": "functions.py:decimals"}, call(function_arn("f"), {}))) == 1.5


async def test_context(run, monkeypatch):
    """The context has Lambda's attributes and the idempotency key; the server's environment stays with the server."""
    monkeypatch.setenv("A_SECRET_OF_THE_SERVER", "canary")
    table = {"f": {"handler": "functions.py:about", "environment": {"OWN": "yes"}, "timeout_seconds": 30}}
    found = value(await run(SOURCE, table, call(function_arn("f"), {})))
    assert 0 < found.pop("left") <= 30_000
    assert found == {
        "name": "f", "version": "$LATEST", "arn": function_arn("f"), "request": "00000000-0000-4000-8000-000000000001", "memory": "128",
        "group": "/aws/lambda/f", "key": "e1/1", "environment_key": "e1/1", "secret": None, "own": "yes", "state": "State",
    }  # fmt: skip


async def test_prints_go_to_the_log(run, caplog):
    """What a handler prints, by whatever way, reaches the log and never the protocol."""
    caplog.set_level(logging.INFO, logger="flowrunner.tasks.worker_pool")
    last = asyncio.Event()

    def watch(record):
        if "without an end" in record.getMessage():
            last.set()
        return True

    caplog.handler.addFilter(watch)
    functions = {"f": "functions.py:noisy", "g": "functions.py:reads"}
    assert value(await run(SOURCE, functions, call(function_arn("f"), {}))) == "quiet"
    assert value(await run(SOURCE, functions, call(function_arn("g"), {}))) == ""
    await asyncio.wait_for(last.wait(), 5)
    caplog.handler.removeFilter(watch)
    assert "functions.py: printed by the handler" in caplog.text
    assert "functions.py: written by the handler" in caplog.text


async def test_worker_is_reused_until_a_file_changes(run, tmp_path):
    """Calls share a warm worker; a change of the file or of a module beside it brings a new one."""
    functions = {"f": "functions.py:f"}
    (tmp_path / "beside.py").write_text("WORD = 'one'\n")
    source = "import beside, os\ndef f(event, context): return [os.getpid(), beside.WORD]\n"
    first, second = [value(await run(source, functions, call(function_arn("f"), {}))) for _ in range(2)]
    # The file was written again in between, so its time changed: only an unchanged file keeps the worker.
    assert first[0] != second[0]
    (tmp_path / "beside.py").write_text("WORD = 'two'\n")
    os.utime(tmp_path / "beside.py", ns=(1, 1))
    assert value(await run(source, functions, call(function_arn("f"), {})))[1] == "two"


async def test_warm_worker(registry, tmp_path):
    """Unchanged files: one process, its globals kept between calls."""
    (tmp_path / "functions.py").write_text(SOURCE)
    made = await registry(functions=read_functions({"f": "functions.py:counted"}, tmp_path))
    one = call(function_arn("f"), {})
    counts = [value(await made.resolve(one).run(one)) for _ in range(3)]
    assert [count for _, count in counts] == [1, 2, 3]
    assert len({pid for pid, _ in counts}) == 1


async def test_too_large_a_result(run):
    """A result above the profile's limit is AWS's States.DataLimitExceeded."""
    outcome = await run(SOURCE, {"f": "functions.py:big"}, call(function_arn("f"), {}))
    assert outcome.error == "States.DataLimitExceeded"
    text = f"The state/task '{function_arn('f')}' returned a result with a size exceeding the maximum number of bytes service limit."
    assert outcome.cause == text


async def test_open_profile_takes_more(run):
    """The open profile has room for it."""
    assert len(value(await run(SOURCE, {"f": "functions.py:big"}, call(function_arn("f"), {}), limits=OPEN))) == 263168


async def test_function_timeout(run, tmp_path):
    """A function's own timeout stops it with Lambda's error."""
    table = {"f": {"handler": "functions.py:forever", "timeout_seconds": 0.3}}
    outcome = await run(SOURCE, table, call(function_arn("f"), {"started": str(tmp_path / "started")}))
    assert outcome.error == "Sandbox.Timedout"
    assert json.loads(outcome.cause)["errorMessage"].endswith("Error: Task timed out after 0.30 seconds")


async def test_no_such_function(registry):
    """An unknown function gives Lambda's own words."""
    made = await registry()
    one = call(INVOKE, {"FunctionName": "no_such", "Payload": None})
    outcome = await made.resolve(one).run(one)
    assert outcome.error == "Lambda.ResourceNotFoundException"
    assert outcome.cause == (
        f"Function not found: {function_arn('no_such')}:$LATEST (Service: AWSLambda; Status Code: 404; "
        "Error Code: ResourceNotFoundException; Request ID: 00000000-0000-4000-8000-000000000001; Proxy: null)"
    )
    plain = call(function_arn("no_such"), {})
    assert (await made.resolve(plain).run(plain)).error == "Lambda.ResourceNotFoundException"


async def test_invocation_types(run, tmp_path):
    """An event answers 202 at once and runs; a dry run answers 204 and does not."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    source = "def f(event, context):\n    with open(event['pipe'], 'w') as pipe: pipe.write('ran')\n"
    asked = {"FunctionName": "f", "Payload": {"pipe": str(pipe)}}
    dry = value(await run(source, {"f": "functions.py:f"}, call(INVOKE, asked | {"InvocationType": "DryRun"})))
    assert (dry["StatusCode"], dry["SdkHttpMetadata"]["HttpStatusCode"]) == (204, 204)
    event = value(await run(source, {"f": "functions.py:f"}, call(INVOKE, asked | {"InvocationType": "Event"})))
    assert event["StatusCode"] == 202
    assert await asyncio.to_thread(Path.read_text, pipe) == "ran"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "The field 'FunctionName' is required but was missing"),
        ({"FunctionName": "f", "LogType": "Tail"}, "The field 'LogType' is not supported by Step Functions"),
        ({"FunctionName": "no good"}, "'FunctionName' is not valid"),
        ({"FunctionName": "f", "InvocationType": "Now"}, "'InvocationType'"),
        ([], "must be a JSON object"),
    ],
)
async def test_bad_parameters(run, parameters, words):
    """Parameters that Lambda cannot take fail before anything runs."""
    outcome = await run(SOURCE, {"f": "functions.py:echo"}, call(INVOKE, parameters))
    assert (outcome.error, outcome.phase) == ("States.Runtime", "start")
    assert words in outcome.cause


async def test_idempotence_is_registered(registry, tmp_path):
    """Only a function registered as idempotent may run again when its outcome is unknown."""
    (tmp_path / "functions.py").write_text(SOURCE)
    table = {"once": "functions.py:echo", "again": {"handler": "functions.py:echo", "idempotent": True}}
    made = await registry(functions=read_functions(table, tmp_path))
    for name, expected in (("once", False), ("again", True)):
        for one in (call(function_arn(name), {}), call(INVOKE, {"FunctionName": name})):
            assert made.resolve(one).idempotent(one) is expected


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"f": "functions.py"}, "functions.f"),
        ({"f": 1}, "functions.f"),
        ({"f": "functions.txt:f"}, "functions.f"),
        ({"f": "functions.py:a b"}, "functions.f"),
        ({"a:b": "functions.py:f"}, "functions.a:b"),
        ({"f": {"handler": "functions.py:f", "idempotent": "yes"}}, "functions.f.idempotent"),
        ({"f": {"handler": "functions.py:f", "timeout_seconds": 0}}, "functions.f.timeout_seconds"),
        ({"f": {"handler": "functions.py:f", "timeout": 1}}, "functions.f: unknown key 'timeout'"),
        ({"f": {"handler": "functions.py:f", "colour": 1}}, "functions.f: unknown key 'colour'"),
        ({"f": {"handler": "functions.py:f", "url": "https://x"}}, "functions.f"),
        ({"f": {"handler": "functions.py:f", "environment": {"A": 1}}}, "functions.f.environment.A"),
    ],
)
def test_bad_configuration(tmp_path, table, place):
    """A setting that cannot be used is named."""
    (tmp_path / "functions.py").touch()
    with pytest.raises(ConfigurationError) as caught:
        read_functions(table, tmp_path)
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("source", "handler", "line", "problem"),
    [
        ("def f(event, context): pass", "f", None, ""),
        ("async def f(event, context): pass", "f", None, ""),
        ("class C:\n  @staticmethod\n  def f(event, context): pass", "C.f", None, ""),
        ("if True:\n  from json import dumps as f", "f", None, ""),
        ("import f.g", "f.h", None, ""),
        ("try:\n  f = g = print\nexcept OSError: pass", "g", None, ""),
        ("from json import *", "f", None, ""),
        ("raise SystemExit  # it is not run", "f", 0, "The file defines no f at its top level."),
        ("def g():\n  def f(): pass\n  f = 1", "f", 0, "The file defines no f at its top level."),
        ("x = lambda: (f := 1)", "f", 0, "The file defines no f at its top level."),
        ("x = 1\ndef f(:\n", "f", 2, "The file has a syntax error: "),
        (None, "f", 0, "The file cannot be read: No such file or directory."),
        ("\0", "f", 0, "The file "),  # Python's releases disagree which error it is
    ],
)
def test_files_are_looked_at_without_running_them(tmp_path, source, handler, line, problem):
    """A file that is not there, does not compile or lacks the function is told with its line; the functions are registered all the same."""
    if source is not None:
        (tmp_path / "fn.py").write_text(source)
    functions = read_functions({"one": f"fn.py:{handler}", "far": "https://example.org/f"}, tmp_path)
    found = list(file_faults(functions.values()))
    if line is None:
        assert found == []
    else:
        assert [(fault.function, fault.file, fault.line) for fault in found] == [("one", str(tmp_path.resolve() / "fn.py"), line)]
        assert found[0].problem.startswith(problem)
