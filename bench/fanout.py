"""How many messages a second reach the sockets that follow one run, beside ``websockets.broadcast()``, in one run of this.

The servers are ``fanout_server.py``; the followers are sockets of this process, read by epoll and counted by a mark in each message.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from load import load
from process import BenchError, Process, flowrunner, free_port, wait_for_port
from workloads import IN_FLIGHT, W1_STATES, WARM_SECONDS, chain, create

SERVER = Path(__file__).with_name("fanout_server.py")
PATHS = {"flowrunner": "/api/v2/workflows/runs/" + "0" * 31 + "1/stream", "broadcast": "/"}
SIZES = (10, 100, 1000)
DELIVERIES = 300_000  # in one measurement
LONGEST_SECONDS = 60.0
GOAL = 1.0  # of broadcast(), at GOAL_SIZES
GOAL_SIZES = (100, 1000)
STALLED_GOAL = 0.9  # of the rate without a stalled follower
STALLED_PAIRS = 3  # in each repetition
STALLED_DELIVERIES = 2_000_000  # some seconds: far more than what the system keeps for a socket
STALLED_BYTES = 64 * 1024  # that the system keeps for a follower who reads nothing
BURSTS = (1, 12)  # messages in a tick: one, and what W1 logs in a step
WATCHERS = 100
WATCHED_GOAL = 0.6  # of W1 without watchers
MARK = b"@"
READ_BYTES = 1 << 18


class Followers:
    """Open sockets, and how many messages each has got."""

    def __init__(self, port: int, path: str, count: int, *, stalled: int = 0, mark: bytes = MARK) -> None:
        self._mark = mark
        self.reading = [_opened(port, path) for _ in range(count)]
        self.stalled = [_opened(port, path, receive_bytes=STALLED_BYTES) for _ in range(stalled)]
        self.sockets = self.reading + self.stalled
        self._epoll = select.epoll()
        self._by_number = {one.fileno(): place for place, one in enumerate(self.reading)}
        for one in self.reading:
            self._epoll.register(one.fileno(), select.EPOLLIN)
        self.got = [0] * count

    def read(self) -> None:
        """Take what has come, waiting a little for something."""
        for number, _ in self._epoll.poll(0.05):
            place = self._by_number[number]
            with contextlib.suppress(BlockingIOError):
                self.got[place] += self.reading[place].recv(READ_BYTES).count(self._mark)

    def unread(self, one: socket.socket) -> int:
        """How many messages wait for a socket that nobody read."""
        found = 0
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while part := one.recv(READ_BYTES):
                found += part.count(self._mark)
        return found

    def say(self, text: bytes) -> None:
        """Send one short message on each socket."""
        for one in self.sockets:
            one.sendall(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text)  # masked with zeros

    def close(self) -> None:
        """Hang up."""
        self._epoll.close()
        for one in self.sockets:
            one.close()


def _opened(port: int, path: str, *, receive_bytes: int | None = None) -> socket.socket:
    one = socket.socket()
    if receive_bytes is not None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    one.settimeout(10)
    one.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    one.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += one.recv(1)
    if b" 101 " not in answer:
        raise BenchError(answer.decode())
    one.setblocking(False)  # noqa: FBT003  # the socket's own way to say it
    return one


@contextlib.contextmanager
def _serving(kind: str, messages: int, burst: int, log: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    with log.open("w") as errors:
        command = [sys.executable, str(SERVER), kind, str(port), str(messages), str(burst)]
        popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
    process = Process(popen)
    try:
        wait_for_port(port, process, log)
        yield popen, port
    finally:
        popen.kill()
        popen.communicate()


def measure(folder: Path, kind: str, count: int, *, burst: int = 1, stalled: int = 0, deliveries: int = DELIVERIES) -> dict[str, float]:
    """Messages/s delivered to `count` followers, and the server's CPU microseconds for each; `stalled` more read nothing."""
    messages = max(deliveries // count // burst, 20) * burst
    with _serving(kind, messages, burst, folder / f"fanout-{kind}.log") as (popen, port):
        followers = Followers(port, PATHS[kind], count, stalled=stalled)
        assert popen.stdin is not None
        process = Process(popen)
        before = process.usage()
        print("go", count, file=popen.stdin, flush=True)
        began = time.perf_counter()
        told = 0
        while told < messages:
            followers.read()
            least = min(followers.got)
            if least > told:
                told = least
                print(told, file=popen.stdin, flush=True)
            if time.perf_counter() - began > LONGEST_SECONDS:
                raise BenchError(f"{kind}: after {LONGEST_SECONDS} s the slowest of {count} followers has {told} of {messages} messages")
        seconds = time.perf_counter() - began
        used, _ = process.usage().since(before)
        if any(got != messages for got in followers.got):
            raise BenchError(f"{kind}: followers have {min(followers.got)} to {max(followers.got)} of {messages} messages")
        if any(followers.unread(one) >= messages for one in followers.stalled):
            raise BenchError(f"{kind}: the system has kept all {messages} messages for a follower that reads nothing: nobody was stalled")
        followers.close()
    return {"per_second": messages * count / seconds, "cpu_us": used / (messages * count) * 1e6}


def w1(folder: Path, watchers: int, *, seconds: float) -> dict[str, float]:
    """W1 executions/s while so many sockets follow all executions of the account, and the server's CPU milliseconds for each."""
    for part in folder.glob("watched.db*"):
        part.unlink()
    with flowrunner(f"sqlite:///{folder / 'watched.db'}?synchronous=full", folder / "watched.log") as (process, port):
        arn = create(port, "w1", chain(W1_STATES))
        body = json.dumps({"stateMachineArn": arn, "input": "{}"})
        load(port, body, connections=IN_FLIGHT, seconds=WARM_SECONDS)
        followers = Followers(port, "/api/v1/ws", watchers, mark=b'"status":"completed"')
        followers.say(b'{"type":"subscribe","execution_id":"*"}')
        over = threading.Event()
        reading = threading.Thread(target=_read_until, args=(followers, over))
        reading.start()
        before = process.usage()
        try:
            done = load(port, body, connections=IN_FLIGHT, seconds=seconds)
            used, _ = process.usage().since(before)
            time.sleep(0.5)
        finally:
            over.set()
            reading.join()
        if watchers and not done.answered <= min(followers.got) == max(followers.got) <= done.answered + 2 * IN_FLIGHT:
            raise BenchError(f"{done.answered} executions ended; watchers saw {min(followers.got)} to {max(followers.got)} of them")
        followers.close()
    return {"per_second": done.answered / done.seconds, "cpu_ms": used / done.answered * 1000}


def _read_until(followers: Followers, over: threading.Event) -> None:
    while not over.is_set():
        followers.read()


def compare(folder: Path, *, repetitions: int, seconds: float) -> dict[str, Any]:
    """Interleaved repetitions; ratios within each, then their medians."""
    runs: list[dict[str, dict[str, float]]] = []
    for _ in range(repetitions):
        run: dict[str, dict[str, float]] = {}
        for burst in BURSTS:
            for count in SIZES:
                for kind in PATHS:
                    run[f"{kind} {count} x{burst}"] = measure(folder, kind, count, burst=burst)
        for pair in range(STALLED_PAIRS):  # one after the other, for what differs by a tenth
            for stalled in (0, 1):
                run[f"flowrunner 100 x1 with {stalled} stalled, {pair + 1}"] = measure(
                    folder, "flowrunner", 100, stalled=stalled, deliveries=STALLED_DELIVERIES
                )
        for watchers in (0, WATCHERS):
            run[f"W1 with {watchers} watchers"] = w1(folder, watchers, seconds=seconds)
        runs.append(run)
    ratios = {f"{count} x{burst}": _median(runs, (f"flowrunner {count} x{burst}", f"broadcast {count} x{burst}")) for burst in BURSTS for count in SIZES}
    pairs = [(f"flowrunner 100 x1 with 1 stalled, {pair + 1}", f"flowrunner 100 x1 with 0 stalled, {pair + 1}") for pair in range(STALLED_PAIRS)]
    ratios["beside a stalled one"] = _median(runs, *pairs)
    ratios[f"W1 with {WATCHERS} watchers"] = _median(runs, (f"W1 with {WATCHERS} watchers", "W1 with 0 watchers"))
    goals = {f"{count} x{burst}": GOAL for burst in BURSTS for count in GOAL_SIZES}
    goals |= {"beside a stalled one": STALLED_GOAL, f"W1 with {WATCHERS} watchers": WATCHED_GOAL}
    missed = {name: goal for name, goal in goals.items() if ratios[name] < goal}
    return {"runs": runs, "ratios": ratios, "goals": goals, "missed": missed, "load_average": os.getloadavg()}


def _median(runs: list[dict[str, dict[str, float]]], *pairs: tuple[str, str]) -> float:
    return statistics.median(run[name]["per_second"] / run[beside]["per_second"] for run in runs for name, beside in pairs)
