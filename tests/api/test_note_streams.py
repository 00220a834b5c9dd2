"""Streams of flows and workflows: the guide's messages, by socket, by server-sent events and by long polling."""

import asyncio
import json

import httpx
from liveworld import LiveWorld, completed, event, note, run_id, started, told
from websockets.asyncio.client import connect

from flowrunner.testing.clock import ManualClock

BEGIN = event("ExecutionStarted", input="{}")
END = event("ExecutionSucceeded", output="7")
WORKFLOW = "workflow/users"
RECORDS = [
    BEGIN,
    event("TaskStateEntered", name="step1", input="{}"),
    note("StepStarted", "step1", stepType="http", progress=0.0),
    note("StepLogged", "step1", level="info", message="Starting step: STEP1"),
    event("TaskScheduled", resource="x"),
    note("VariableChanged", "step1", name="userId", oldValue=None, newValue=1, changeType="create"),
    note("StepRetried", "step1", attempt=1, delay=500, error="E", cause="no"),
    note("StepCompleted", "step1", stepType="http", status="success", duration=12, output='{"userId":1}', action="success"),
    note("LoopStarted", "l", loopType="forEach", source="{{ids}}"),
    note("IterationStarted", "l", index=0, item="a", total=1),
    note("IterationCompleted", "l", index=0, status="success", duration=3),
    note("LoopCompleted", "l", totalIterations=1, completedIterations=1, failedIterations=0, exitReason="completed"),
    note("BranchDecided", "b", selectedBranch="big", branchIndex=0, isDefault=False, condition="{{x}} > 1"),
    END,
]


async def world_of_one_run():
    world = LiveWorld()
    await world.append(*RECORDS, machine=WORKFLOW, status="SUCCEEDED")
    return world


async def test_the_messages_of_the_guide():
    """The four kinds have the guide's payloads, member by member; what is told beyond them stands beside; `seq` is the log's."""
    world = await world_of_one_run()
    async with world.served(), connect(world.stream()) as stream:
        messages = [json.loads(text) async for text in stream]
    assert {message["runId"] for message in messages} == {run_id(1)}
    assert [(message["type"], message.get("seq")) for message in messages] == [
        ("status", 1),
        ("status", None),
        ("step_start", 3),
        ("step_log", 4),
        ("variable_change", 6),
        ("retry_scheduled", 7),
        ("step_complete", 8),
        ("loop_start", 9),
        ("iteration_start", 10),
        ("iteration_complete", 11),
        ("loop_complete", 12),
        ("branch_decision", 13),
        ("status", 14),
        ("end", None),
    ]
    last = {message["type"]: message for message in messages}
    assert messages[1] == {
        "runId": run_id(1),
        "type": "status",
        "payload": {"status": "running", "executionStatus": "RUNNING", "progress": 0.0, "node": {"id": "step1", "name": "STEP1", "type": "http"}},
        "ts": "2023-11-14T22:13:21.500Z",
        "v": 1,
    }
    assert last["step_start"] == {
        "runId": run_id(1),
        "type": "step_start",
        "payload": {"stepId": "step1", "stepName": "STEP1"},
        "detail": {"stepType": "http", "progress": 0.0},
        "seq": 3,
        "ts": "2023-11-14T22:13:21.500Z",
        "v": 1,
    }
    assert last["step_log"]["payload"] == {"stepId": "step1", "level": "info", "message": "Starting step: STEP1", "timestamp": "2023-11-14T22:13:21.500Z"}
    assert last["variable_change"]["payload"] == {"stepId": "step1", "varName": "userId", "oldValue": None, "newValue": 1, "changeType": "create"}
    assert last["step_complete"]["payload"] == {"stepId": "step1", "stepName": "STEP1", "status": "success", "duration": 12}
    assert last["step_complete"]["detail"] == {"stepType": "http", "action": "success"}
    assert last["loop_start"]["payload"] == {"stepId": "l", "stepName": "L", "loopType": "forEach", "source": "{{ids}}"}
    assert last["branch_decision"]["payload"]["selectedBranch"] == "big"
    assert last["status"]["payload"] == {"status": "success", "executionStatus": "SUCCEEDED", "progress": 100.0}


async def test_history_is_shown_on_request():
    """`?history=1` adds the events of Step Functions, each in its place: then there is a message for each record."""
    world = await world_of_one_run()
    async with world.served(), connect(world.stream(query="?history=1")) as stream:
        messages = [json.loads(text) async for text in stream]
    assert [message.get("seq") for message in messages] == [1, 2, None, *range(3, 15), None]
    assert [message["type"] for message in messages][:4] == ["execution_started", "state_entered", "status", "step_start"]


async def test_a_resumed_stream_is_the_rest_of_a_whole_one():
    """Wherever it broke off, by every transport: what was not seen comes, the status of a node with its step."""
    world = await world_of_one_run()
    async with world.served(), httpx.AsyncClient() as http:

        async def by_socket(after):
            async with connect(world.stream(query=f"?after={after}")) as stream:
                return [json.loads(text) async for text in stream]

        async def by_events(after):
            answer = await http.get(world.stream(scheme="http"), headers={"last-event-id": str(after)})
            return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]

        async def by_polling(after):
            return (await http.get(world.stream(scheme="http"), params={"wait": "1s", "after": after})).json()["messages"]

        whole = await by_socket(0)
        for after in range(len(RECORDS)):
            seen = [place for place, message in enumerate(whole) if message.get("seq", 0) > after]
            first = seen[0] - ("node" in whole[seen[0] - 1]["payload"] and seen[0] > 0)
            for read in (by_socket, by_events, by_polling):
                assert await read(after) == whole[first:]


async def test_resuming_between_what_is_shown():
    """`after` may name a place that is not shown."""
    world = await world_of_one_run()
    async with world.served():
        for after, first in ((4, 6), (5, 6), (13, 14)):
            async with connect(world.stream(query=f"?after={after}")) as stream:
                assert json.loads(await stream.recv())["seq"] == first


async def test_a_record_that_is_not_shown_wakes_nobody():
    """History events alone send nothing; who waits gets the next note."""
    world = LiveWorld()
    await world.append(BEGIN, machine=WORKFLOW)
    async with world.served(), connect(world.stream()) as stream:
        assert json.loads(await stream.recv())["seq"] == 1
        await world.append(event("TaskScheduled", resource="x"), machine=WORKFLOW)
        await world.append(started(iteration=4), machine=WORKFLOW)
        status, step = await told(stream, 2)
        assert status["payload"]["node"] == {"id": "a", "name": "A", "type": "transform", "iteration": 4}
        assert (status["payload"]["progress"], step["seq"]) == (50.0, 3)


async def test_server_sent_events():
    """The same messages, with the log's sequence numbers as ids."""
    world = await world_of_one_run()
    async with world.served(), httpx.AsyncClient() as http:
        answer = await http.get(world.stream(scheme="http"))
    blocks = answer.text.strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks[1:5] if not block.startswith("data: ")] == ["id: 1", "id: 3", "id: 4"]
    assert [json.loads(block[6:])["type"] for block in blocks if block.startswith("data: ")] == ["status"]
    assert blocks[-1].startswith("event: end\n")


async def test_long_polling_goes_from_answer_to_answer():
    """Each answer tells where to go on; the last one has the end and says that it is."""
    world = LiveWorld()
    await world.append(BEGIN, started(), machine=WORKFLOW)
    async with world.served(), httpx.AsyncClient() as http:
        url = world.stream(scheme="http")
        first = (await http.get(url, params={"wait": "25s"}, headers={"accept": "application/json"})).json()
        assert ([message.get("seq") for message in first["messages"]], first["lastSeq"], first["ended"]) == ([1, None, 2], 2, False)
        asked = asyncio.create_task(http.get(url, params={"wait": "25", "after": first["lastSeq"]}))
        while world.feed._topics == {}:
            await asyncio.sleep(0)
        await world.append(completed(), END, machine=WORKFLOW, status="SUCCEEDED")
        last = (await asked).json()
        assert [message["type"] for message in last["messages"]] == ["step_complete", "status", "end"]
        assert (last["runId"], last["lastSeq"], last["ended"]) == (run_id(1), 4, True)
        again = (await http.get(url, params={"wait": "25s", "after": 4})).json()
        assert ([message["type"] for message in again["messages"]], again["ended"]) == (["end"], True)
        for wait in ("soon", "-1", "1h", ""):
            assert (await http.get(url, params={"wait": wait})).status_code == 400
        assert (await http.get(url, params={"wait": "1s", "after": 5})).status_code == 400
    assert world.feed._topics == {}


async def test_a_poll_without_news_ends_in_time():
    """The wait is over by the clock: nothing new, and the same place to go on from."""
    clock = ManualClock()
    world = LiveWorld(clock=clock)
    await world.append(BEGIN, machine=WORKFLOW)
    async with world.served(), httpx.AsyncClient() as http:
        asked = asyncio.create_task(http.get(world.stream(scheme="http"), params={"wait": "2500ms", "after": 1}))
        while not clock._sleepers:
            await asyncio.sleep(0)
        clock.jump(2.4)
        assert not asked.done()
        clock.jump(0.1)
        answer = (await asked).json()
        assert answer == {"runId": run_id(1), "messages": [], "lastSeq": 1, "ended": False}
        asked = asyncio.create_task(http.get(world.stream(scheme="http"), params={"wait": "60s", "after": 1}))
        while world.feed._topics == {}:
            await asyncio.sleep(0)
        world.stopping.set()  # a stopping server does not let pollers wait
        assert (await asked).json()["messages"] == []
