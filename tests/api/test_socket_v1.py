"""``/api/v1/ws`` over a real server and real sockets."""

import asyncio
import json

import pytest
from liveworld import LiveWorld, completed, event, note, run_id, started, told
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flowrunner.api.identify import NoAccounts
from flowrunner.api.openings import Openings
from flowrunner.errors import StoreUnavailable

BEGIN = event("ExecutionStarted", input="{}")
END = event("ExecutionSucceeded", output="7")


def subscribe(run=1, **more):
    return json.dumps({"type": "subscribe", "execution_id": run_id(run), **more})


async def quiet(stream):
    """Nothing was sent before the answer to this ping."""
    await stream.send('{"type": "ping"}')
    assert [message["type"] for message in await told(stream, 1)] == ["pong"]


async def test_status_at_once_then_on_change_then_complete():
    """One status at once, one per node entered and one at the end; log lines between; then the completion."""
    world = LiveWorld()
    await world.append(BEGIN)
    async with world.served(), connect(world.v1) as stream:
        await stream.send(subscribe())
        first, begun = await told(stream, 2)
        assert first["type"] == "status"
        assert first["execution_id"] == first["status"]["id"] == run_id(1)
        assert (first["status"]["status"], first["status"]["progress"], first["status"]["flow_id"]) == ("running", 0.0, "orders")
        assert (begun["type"], begun["log"]["message"]) == ("log", "Execution started")
        await world.append(started("a", 30.0), note("StepLogged", "a", level="warn", message="careful"), completed("a", '{"n": 1}'))
        status, line = await told(stream, 2)
        assert (status["status"]["progress"], status["status"]["current_node"], status["node_id"], status["seq"]) == (30.0, "a", "a", 2)
        assert line == {
            "type": "log",
            "execution_id": run_id(1),
            "timestamp": "2023-11-14T22:13:21.500Z",
            "seq": 3,
            "node_id": "a",
            "log": {"timestamp": "2023-11-14T22:13:21.500Z", "node_id": "a", "level": "warning", "message": "careful", "data": None},
        }
        await world.append(started("b", 80.0), END, status="SUCCEEDED")
        entered, line, last, complete = await told(stream, 4)
        assert (entered["status"]["progress"], entered["status"]["results"]) == (80.0, {"a": {"n": 1}})
        assert line["type"] == "log"
        assert (last["status"]["status"], last["status"]["progress"], last["status"]["current_node"]) == ("completed", 100.0, "b")
        assert complete == {
            "type": "complete",
            "execution_id": run_id(1),
            "timestamp": "2023-11-14T22:13:25.000Z",
            "message": "Execution completed with status: completed",
        }
        await quiet(stream)


async def test_a_late_subscriber_gets_the_same_messages():
    """Who comes when all is over gets every status and log line too; `past` and `after` leave them out."""
    world = LiveWorld()
    await world.append(BEGIN, started("a", 30.0), completed("a"))
    async with world.served(), connect(world.v1) as early, connect(world.v1) as late:
        await early.send(subscribe())
        await told(early, 3)
        await world.append(started("b", 60.0), END, status="SUCCEEDED")
        rest = await told(early, 4)
        await late.send(subscribe())
        everything = await told(late, 7)
        assert everything[3:] == rest
        assert [message["status"]["progress"] for message in everything if message["type"] == "status"] == [0.0, 30.0, 60.0, 100.0]
        await late.send(subscribe(past=False))
        status, complete = await told(late, 2)
        assert (status["status"]["status"], complete["type"]) == ("completed", "complete")
        await late.send(subscribe(after=3))
        assert [message.get("seq") for message in await told(late, 5)] == [3, 4, 5, 5, None]
        await quiet(late)


async def test_subscribing_again_changes_nothing_and_unsubscribing_ends_it():
    """No duplicates however often a client subscribes; after unsubscribe nothing comes any more."""
    world = LiveWorld()
    await world.append(BEGIN)
    async with world.served(), connect(world.v1) as stream:
        for _ in range(5):
            await stream.send(subscribe())
        await told(stream, 2)
        await quiet(stream)
        await world.append(started())
        assert [message["seq"] for message in await told(stream, 1)] == [2]
        await stream.send(json.dumps({"type": "unsubscribe", "execution_id": run_id(1)}))
        await quiet(stream)
        await world.append(started("b"))
        await quiet(stream)
        assert world.feed._topics == {}
        await stream.send(subscribe())
        assert [message.get("seq") for message in await told(stream, 4)] == [0, 1, 2, 3]


async def test_several_executions_on_one_socket():
    """Each message names its execution."""
    world = LiveWorld()
    for run in (1, 2, 3):
        await world.append(BEGIN, run=run)
    async with world.served(), connect(world.v1) as stream:
        for run in (1, 2, 3):
            await stream.send(subscribe(run))
        await told(stream, 6)
        for run in (3, 1, 2):
            await world.append(started(), END, run=run, status="SUCCEEDED")
        seen = await told(stream, 12)
        for run in (1, 2, 3):
            assert [message["type"] for message in seen if message["execution_id"] == run_id(run)] == ["status", "log", "status", "complete"]


def named(sent):
    """The execution that a message names, as far as it can be read."""
    try:
        execution = json.loads(sent).get("execution_id")
    except (ValueError, AttributeError):
        return ""
    return execution if isinstance(execution, str) else ""


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (subscribe(9), "Execution not found or access denied"),
        (subscribe(2), "Execution not found or access denied"),
        ('{"type": "subscribe", "execution_id": "nonsense"}', "Execution not found or access denied"),
        ('{"type": "unsubscribe", "execution_id": "nonsense"}', "Execution not found or access denied"),
        ('{"type": "subscribe"}', "subscribe needs execution_id, a text"),
        ('{"type": "subscribe", "execution_id": 7}', "subscribe needs execution_id, a text"),
        ('{"type": "dance"}', "Unknown message type; known are subscribe, unsubscribe, ping"),
        ('{"type": {}}', "Unknown message type; known are subscribe, unsubscribe, ping"),
        ("{}", "Unknown message type; known are subscribe, unsubscribe, ping"),
        ("[1]", 'Messages are JSON objects such as {"type": "subscribe", "execution_id": "..."}'),
        ("{", 'Messages are JSON objects such as {"type": "subscribe", "execution_id": "..."}'),
        ("", 'Messages are JSON objects such as {"type": "subscribe", "execution_id": "..."}'),
        (subscribe(1, after=-1), "after is a sequence number, past is true or false"),
        (subscribe(1, after=True), "after is a sequence number, past is true or false"),
        (subscribe(1, past="no"), "after is a sequence number, past is true or false"),
        ("x" * 4097, "A message has at most 4096 bytes"),
        (b"\x00\xff", "Messages are text, not binary"),
    ],
)
async def test_what_is_wrong_is_said_and_the_socket_lives(sent, says):
    """Unknown, foreign and malformed get an error message; the next message is answered as ever."""
    world = LiveWorld()
    await world.append(BEGIN)
    await world.append(BEGIN, run=2, account="000000000009")
    async with world.served(), connect(world.v1) as stream:
        await stream.send(sent)
        [error] = await told(stream, 1)
        assert (error["type"], error["message"]) == ("error", says)
        assert error["execution_id"] == named(sent)
        await quiet(stream)
        await stream.send(subscribe())
        assert (await told(stream, 1))[0]["type"] == "status"


async def test_a_store_that_is_away_is_an_error_message():
    """The socket lives through it."""
    world = LiveWorld()
    await world.append(BEGIN)
    head = world.store.executions.head

    async def away(execution):
        world.store.executions.head = head
        raise StoreUnavailable

    async with world.served(), connect(world.v1) as stream:
        world.store.executions.head = away
        await stream.send(subscribe())
        assert (await told(stream, 1))[0]["message"] == "The store does not answer; subscribe again"
        await stream.send(subscribe())
        assert (await told(stream, 1))[0]["type"] == "status"


async def test_pong_names_the_execution():
    """A ping may carry an id; the answer has it too."""
    world = LiveWorld()
    async with world.served(), connect(world.v1) as stream:
        await stream.send('{"type": "ping", "execution_id": "x"}')
        [pong] = await told(stream, 1)
        assert (pong["type"], pong["execution_id"]) == ("pong", "x")


async def test_no_more_subscriptions_than_a_socket_may_have(monkeypatch):
    """The limit is said; after unsubscribing there is room."""
    monkeypatch.setattr("flowrunner.api.socket_v1.MOST_SUBSCRIPTIONS", 1)
    world = LiveWorld()
    await world.append(BEGIN)
    await world.append(BEGIN, run=2)
    async with world.served(), connect(world.v1) as stream:
        await stream.send(subscribe(1))
        await told(stream, 2)
        await stream.send(subscribe(2))
        assert (await told(stream, 1))[0]["message"] == "This socket follows 1 executions; unsubscribe from some"


async def test_refused_before_the_upgrade():
    """No credential, a page of another origin, too many of one account: no socket."""
    world = LiveWorld(authenticator=NoAccounts())
    async with world.served():
        with pytest.raises(InvalidStatus) as refused:
            await connect(world.v1)
        assert refused.value.response.status_code == 401
    world = LiveWorld(openings=Openings(per_account=2), allowed_origins=("https://good.example",))
    async with world.served():
        with pytest.raises(InvalidStatus) as refused:
            await connect(world.v1, origin="https://evil.example")
        assert refused.value.response.status_code == 403
        assert "https://good.example" in json.loads(refused.value.response.body)["detail"]
        async with connect(world.v1, origin="https://good.example"), connect(world.v1):
            with pytest.raises(InvalidStatus) as refused:
                await connect(world.v1)
            assert refused.value.response.status_code == 429
        await world.observer.closed.get()
        await world.observer.closed.get()
        async with connect(world.v1) as stream:
            await quiet(stream)


async def test_five_sockets_come_and_go():
    """Sockets are counted while they are open and forgotten afterwards, with all they followed."""
    world = LiveWorld()
    await world.append(BEGIN)
    async with world.served():
        for _ in range(5):
            async with connect(world.v1) as stream:
                await stream.send(subscribe())
                await told(stream, 2)
            await world.observer.closed.get()
        assert (world.observer.opened, world.observer.errors, world.observer.messages) == (5, 0, 10)
        assert world.feed._topics == {}
        assert world.heartbeat.sockets == 0


async def test_a_stopping_server_says_so():
    """Sockets of a stopping server close with 1012."""
    world = LiveWorld()
    async with world.served(), connect(world.v1) as stream:
        await quiet(stream)
        world.stopping.set()
        with pytest.raises(ConnectionClosed) as closed:
            await stream.recv()
        assert closed.value.rcvd.code == 1012


async def test_three_executions_at_once_on_three_sockets():
    """Each socket sees its own execution's eight updates of the complex flow, in order."""
    world = LiveWorld()
    nodes = [("prepare_data", 10), ("parallel_processor", 30), ("analyze_results", 60), ("branch", 60), ("high_success_handler", 80), ("final_summary", 99)]
    for run in (1, 2, 3):
        await world.append(BEGIN, run=run)

    async def flow(run):
        for name, progress in nodes:
            await world.append(started(name, progress), completed(name), run=run)
            await asyncio.sleep(0)
        await world.append(END, run=run, status="SUCCEEDED")

    async def watch(run):
        async with connect(world.v1) as stream:
            await stream.send(subscribe(run))
            seen = []
            async for text in stream:
                message = json.loads(text)
                if message["type"] == "complete":
                    break
                if message["type"] == "status":
                    seen.append(message["status"]["progress"])
            return seen

    async with world.served():
        watched = asyncio.gather(*(watch(run) for run in (1, 2, 3)))
        await asyncio.gather(*(flow(run) for run in (1, 2, 3)))
        assert await watched == [[0.0, 10.0, 30.0, 60.0, 60.0, 80.0, 99.0, 100.0]] * 3


async def test_what_goes_wrong_in_the_server_closes_the_socket(monkeypatch):
    """An error of ours is not a silence: 1011, an entry in the log, and an error counted."""
    world = LiveWorld()
    await world.append(BEGIN)

    async def broken(execution):
        raise RuntimeError("broken")

    async with world.served(), connect(world.v1) as stream:
        monkeypatch.setattr(world.store.executions, "head", broken)
        await stream.send(subscribe())
        with pytest.raises(ConnectionClosed) as closed:
            await stream.recv()
        assert closed.value.rcvd.code == 1011
        await world.observer.closed.get()
        assert world.observer.errors == 1
