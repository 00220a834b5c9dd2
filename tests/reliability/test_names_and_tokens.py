"""R17 and R18 over HTTP: many callers with one name start one execution; many callers with one token end one attempt."""

import asyncio
import json
import random
from collections import Counter

import pytest
import pytest_asyncio
from seed import SEED

from flowrunner.client import ServerRefused
from flowrunner.testing.crash.flows import invoke
from flowrunner.testing.crash.fronts import ROLE
from flowrunner.testing.crash.outside import Callers

pytestmark = pytest.mark.asyncio(loop_scope="module")
WAITING = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
OFFERING = {
    "StartAt": "Offer",
    "States": {"Offer": invoke("offer", {"token.$": "$$.Task.Token"}) | {"Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "End": True}},
}
del OFFERING["States"]["Offer"]["ResultSelector"]
OFFERS_AT_ONCE = 5  # a stand-in for DynamoDB answers some hundred requests a second


async def machine(callers, name, definition):
    made = await callers.call("CreateStateMachine", name=name, definition=json.dumps(definition), roleArn=ROLE)
    return made["stateMachineArn"]


async def all_at_once(calls):
    """What came of each call: its answer, or the error's code. They set off together."""
    gate = asyncio.Event()

    async def one(call):
        await gate.wait()
        try:
            return await call()
        except ServerRefused as refused:
            return refused.code

    tasks = [asyncio.create_task(one(call)) for call in calls]
    await asyncio.sleep(0)
    gate.set()
    return await asyncio.gather(*tasks)


@pytest_asyncio.fixture(loop_scope="module")
async def callers(site):
    """Callers of a server that runs."""
    async with site() as place:
        server = place.server()
        await server.start()
        made = Callers([server])
        made.book = place.book
        yield made
        await made.close()


async def start_rounds(callers, seed, rounds, many):
    """In each round callers start executions under one name, three in four with one input; count what they were told."""
    chance = random.Random(seed)
    arn = await machine(callers, "named", WAITING)
    told = Counter()
    for number in range(rounds):
        inputs = ['{"is": 1}' if chance.random() < 0.75 else '{"is": 2}' for _ in range(many)]
        name = f"round-{number}"
        answers = await all_at_once(
            [lambda given=given, name=name: callers.once("StartExecution", stateMachineArn=arn, name=name, input=given) for given in inputs]
        )
        won = {(answer["executionArn"], answer["startDate"]) for answer in answers if isinstance(answer, dict)}
        assert len(won) == 1, f"seed {seed}, round {number}: {won}"
        [(execution, _)] = won
        first = (await callers.call("DescribeExecution", executionArn=execution))["input"]
        for given, answer in zip(inputs, answers, strict=True):
            assert isinstance(answer, dict) == (given == first), f"seed {seed}, round {number}: {given} beside {first} was told {answer}"
            assert isinstance(answer, dict) or answer == "ExecutionAlreadyExists", f"seed {seed}, round {number}: {answer}"
        told.update("started" if isinstance(answer, dict) else answer for answer in answers)
    listed = await callers.call("ListExecutions", stateMachineArn=arn, maxResults=1000)
    assert len(listed["executions"]) == rounds
    return told


@pytest.mark.timeout(90)
async def test_one_name_is_one_execution(callers):
    """R17 in the small: 5 rounds of 50 callers."""
    told = await start_rounds(callers, SEED, 5, 50)
    assert told["started"] > told["ExecutionAlreadyExists"] / 3


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_one_name_is_one_execution_fifty_times(callers, record):
    """R17: 50 rounds of 200 callers."""
    record("R17", dict(await start_rounds(callers, SEED, 50, 200)))


async def answer_tokens(callers, seed, tokens, many):
    """Each token is answered, failed and kept alive by many at once, and once more later; one of them ends its attempt."""
    chance = random.Random(seed)
    arn = await machine(callers, "offering", OFFERING)
    told = Counter()
    for first in range(0, tokens, OFFERS_AT_ONCE):
        names = [f"offer-{number}" for number in range(first, min(tokens, first + OFFERS_AT_ONCE))]
        started = await asyncio.gather(*(callers.call("StartExecution", stateMachineArn=arn, name=name, input="{}") for name in names))
        executions = {one["executionArn"] for one in started}
        async with asyncio.timeout(60):
            while len(found := {line["execution"]: line["token"] for line in callers.book.lines() if line["execution"] in executions}) < len(executions):
                await asyncio.sleep(0.02)
        told += sum(await asyncio.gather(*(one_token(callers, chance, execution, token, many) for execution, token in found.items())), Counter())
    return told


async def one_token(callers, chance, execution, token, many):
    kinds = [chance.choice(("success", "success", "failure", "heartbeat", "foreign")) for _ in range(many - 1)] + ["success"]
    chance.shuffle(kinds)

    def call(number, kind):
        match kind:
            case "success":
                return lambda: callers.once("SendTaskSuccess", taskToken=token, output=str(number))
            case "failure":
                return lambda: callers.once("SendTaskFailure", taskToken=token, error=f"E{number}")
            case "heartbeat":
                return lambda: callers.once("SendTaskHeartbeat", taskToken=token)
            case _:
                return lambda: callers.once("SendTaskSuccess", taskToken=token[:-8] + "AAAAAAAA", output='"foreign"')

    answers = await all_at_once([call(number, kind) for number, kind in enumerate(kinds)])
    ended = await callers.call("DescribeExecution", executionArn=execution)
    winners = [number for number, (kind, answer) in enumerate(zip(kinds, answers, strict=True)) if kind in ("success", "failure") and isinstance(answer, dict)]
    assert len(winners) == 1, (execution, kinds, answers)
    [winner] = winners
    expected = ("SUCCEEDED", str(winner), None) if kinds[winner] == "success" else ("FAILED", None, f"E{winner}")
    assert (ended["status"], ended.get("output"), ended.get("error")) == expected, (execution, kinds, answers)
    for number, (kind, answer) in enumerate(zip(kinds, answers, strict=True)):
        if number != winner and not (kind == "heartbeat" and isinstance(answer, dict)):
            assert answer == ("InvalidToken" if kind == "foreign" else "TaskTimedOut"), (execution, kind, answer)
    late = await all_at_once([call(many, kind) for kind in ("success", "failure", "heartbeat", "foreign")])
    assert late == ["TaskTimedOut"] * 3 + ["InvalidToken"], (execution, late)
    history = await callers.call("GetExecutionHistory", executionArn=execution, maxResults=1000)
    assert sum(event["type"] in ("TaskSucceeded", "TaskFailed") for event in history["events"]) == 1
    return Counter("answered" if isinstance(answer, dict) else answer for answer in answers)


@pytest.mark.timeout(90)
async def test_one_token_counts_once(callers):
    """R18 in the small: 20 tokens with 16 callers each."""
    told = await answer_tokens(callers, SEED, 20, 16)
    assert told["answered"] >= 20


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_five_hundred_tokens_count_once(callers, record):
    """R18: 500 tokens with 16 callers each."""
    record("R18", dict(await answer_tokens(callers, SEED, 500, 16)))
