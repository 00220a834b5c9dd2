"""Scripts that want harm: each ends as a typed failure, and nobody else notices."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from script_calls import scope, script

from flowrunner.tasks.javascript.calls import ScriptFailed, ScriptLimits
from flowrunner.tasks.javascript.scripts import Scripts

SHORT = {"milliseconds": 150}


@pytest.fixture
async def scripts(stack):
    made = Scripts(2)
    await made.start(stack)
    return made


async def failure(scripts, source, lines=None, **limits):
    with pytest.raises(ScriptFailed) as caught:
        await scripts.run(script(source, lines, limits=limits))
    return caught.value


@pytest.mark.parametrize(
    "source",
    [
        "for (;;);",
        "console.log('on'); for (;;);",
        "for (;;) { try { for (;;); } finally { continue } }",
        "while (true) { try { secrets.API_KEY } catch {} }",
        "/(a+)+b/.test('a'.repeat(40))",
        "'a'.repeat(3e7).split('').map(Number).sort().length",
        "await null; for (;;) await null;",
        "async () => { for (;;) await secrets.API_KEY }",
        "return { toJSON() { for (;;); } }",
        "return { get a() { for (;;); } }",
        "return new Proxy({}, { ownKeys() { for (;;); } })",
        "return { then() { for (;;); } }",
        "throw { get stack() { for (;;); } }",
        "Object.prototype.toJSON = function () { for (;;); }; return {}",
        "Promise.resolve().then(() => { for (;;); }); await null; await null; return 1",
        "}}); for (;;); (function () { return function () {",
        "new Function('for (;;);')()",
        "[1, 2].sort(() => { for (;;); })",
    ],
)
async def test_what_does_not_end_is_ended(scripts, source):
    """Within the time allowed and a little more, whatever it is in."""
    await scripts.run(script("1"))
    began = time.monotonic()
    assert (await failure(scripts, source, **SHORT)).error in ("FlowRunner.ScriptTimeout", "FlowRunner.ScriptMemory")
    assert time.monotonic() - began < 5
    assert (await scripts.run(script("1 + 1"))).value == 2


@pytest.mark.parametrize(
    "source",
    [
        "const a = []; for (;;) a.push(new Array(10000).fill(1))",
        "const a = []; for (;;) { try { a.push(new Array(1e6).fill({})) } catch (error) { throw error } }",
        "return new Uint8Array(1e9).length",
        "return 'x'.repeat(5e8).length",
        "async () => { const a = []; for (;;) a.push({ a }) }",
        "const a = {}; for (let n = 0; ; n++) a['k' + n] = n",
        "JSON.parse('[' + '0,'.repeat(2e7) + '0]').length",
        "let a = 'ab'; for (;;) { a = a + a; a.charCodeAt(0) }",
    ],
)
async def test_memory_is_bounded(scripts, source):
    """Too much is refused, and the process does not grow with it."""
    assert (await failure(scripts, source)).error == "FlowRunner.ScriptMemory"
    assert (await scripts.run(script("1 + 1"))).value == 2


@pytest.mark.parametrize(
    "source",
    [
        "return 'x'.repeat(2e6)",
        "return Array(1e6).fill(1)",
        "return { toJSON: () => 'ä'.repeat(1e6) }",
        "let a = {}; for (let n = 0; n < 200; n++) a = { a }; return a",
        "shared.a = 'x'.repeat(2e6); return 1",
    ],
)
async def test_output_is_bounded(scripts, source):
    """In bytes and in depth, and what it leaves in `shared` counts."""
    found = await failure(scripts, source)
    assert found.error == "FlowRunner.ScriptOutput"
    assert (await scripts.run(script("1 + 1"))).value == 2


async def test_filled_texts_are_output(scripts):
    with pytest.raises(ScriptFailed) as caught:
        await scripts.fill({"a": "${'x'.repeat(6e5)}", "b": "y${'x'.repeat(6e5)}"}, scope())
    assert caught.value.error == "FlowRunner.ScriptOutput"


async def test_the_log_is_bounded(scripts):
    """Lines are cut, and after the last there is one that says so."""
    lines = []
    await scripts.run(script("for (let n = 0; n < 3000; n++) console.log(n, 'ä'.repeat(1e4)); return 1", lines))
    assert len(lines) == 1001
    assert lines[-1] == ("warn", "Further lines are left out: the limit is 1000 lines.")
    assert {len(message.encode()) <= 8192 for _, message in lines} == {True}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("function f() { return f() + 1 } return f()", "RangeError: Maximum call stack size exceeded"),
        ("let a = []; for (let n = 0; n < 1e5; n++) a = [a]; return a", "RangeError: Maximum call stack size exceeded"),
        ("const f = () => `${{ toString: f }}`; return f()", "RangeError: Maximum call stack size exceeded"),
        ("return new Proxy({}, { get() { throw new Error('trap') } })", "trap"),
        ("JSON.stringify = () => '{\"value\": 1}'; return { get a() { throw new Error('own') } }", "own"),
        ("'('.repeat(1) + ('('.repeat(1e5) && eval('('.repeat(1e5)))", "RangeError: Maximum call stack size exceeded"),
    ],
)
async def test_tricks_hurt_only_themselves(scripts, source, says):
    found = await failure(scripts, source)
    assert (found.error, found.message) == ("FlowRunner.ScriptError", says)
    assert (await scripts.run(script("1 + 1"))).value == 2


@pytest.mark.parametrize(
    "source",
    [
        "Object.prototype.failed = { message: 'x', stack: '' }; Object.prototype.values = [9]; return 7",
        "Array.prototype.push = Array.prototype.map = Array.prototype[Symbol.iterator] = () => { throw 1 }; return 7",
        "Object.defineProperty(Array.prototype, 0, { set() { throw 1 } }); return 7",
        "globalThis.JSON = globalThis.Promise = globalThis.String = globalThis.eval = null; return 7",
        "Function.prototype.call = Function.prototype.apply = Reflect.apply = () => 8; return 7",
        "String.prototype.slice = () => 'gone'; Error.prepareStackTrace = () => { throw 1 }; return 7",
        "Promise.prototype.then = () => { throw 1 }; return (async () => 7)()",
        "Object.freeze(Object.prototype); Object.freeze(globalThis); return 7",
        "Object.prototype.then = undefined; delete globalThis.Error; return 7",
    ],
)
async def test_changed_foundations_change_nothing(scripts, source):
    """The inside of a run does not stand on what a script can change."""
    assert (await scripts.run(script(source))).value == 7


@pytest.mark.parametrize(
    "name",
    [
        "process",
        "require",
        "module",
        "ask",
        "start",
        "std",
        "os",
        "fetch",
        "XMLHttpRequest",
        "WebAssembly",
        "setTimeout",
        "Deno",
        "scriptArgs",
        "print",
        "load",
        "Worker",
    ],
)
async def test_there_is_no_host(scripts, name):
    """Neither by name, nor by a constructor's constructor, nor by import."""
    source = f"return [typeof {name}, typeof globalThis.{name}, this.constructor.constructor('return typeof {name}')(), (async () => 1).constructor('return 1').name]"
    assert (await scripts.run(script(source))).value == ["undefined"] * 3 + ["anonymous"]


@pytest.mark.parametrize("name", ["os", "std", "fs", "node:fs", "/etc/passwd", "./worker.py", "https://example.com/a.js"])
async def test_nothing_can_be_imported(scripts, name):
    found = await failure(scripts, f"return await import({name!r})")
    assert (found.error, "could not load module" in found.message) == ("FlowRunner.ScriptError", True)


async def test_own_errors_cannot_pass_for_others(scripts):
    """A script that throws what the engine would throw is still told apart where it matters."""
    found = await failure(scripts, "const e = new Error('interrupted'); e.name = 'InternalError'; throw e")
    assert found.error == "FlowRunner.ScriptError"
    found = await failure(scripts, "throw Object.assign(new Error('x'), { refused: { name: 'API_KEY' } })")
    assert found.error == "FlowRunner.ScriptError"


async def test_the_process_has_nothing_to_give(scripts):
    """Its environment is empty, it can open nothing, and it holds three descriptors."""
    await scripts.run(script("1"))
    (worker,) = scripts._pool._idle
    folder = Path("/proc") / str(worker._process.pid)
    if not folder.exists():
        pytest.skip("the system has no /proc")
    assert {line.split(b"=")[0] for line in (folder / "environ").read_bytes().split(b"\0") if line} <= {b"TZ", b"LC_ALL", b"LC_CTYPE"}
    assert len(list((folder / "fd").iterdir())) == 3
    limits = {line[:26].strip(): line[26:].split()[0] for line in (folder / "limits").read_text().splitlines()[1:]}
    assert (limits["Max open files"], limits["Max processes"], limits["Max file size"]) == ("3", "0", "0")


HOSTILE = [
    "for (;;);",
    "console.log(1); for (;;);",
    "const a = []; for (;;) a.push(new Array(10000).fill(1))",
    "return 'x'.repeat(2e6)",
    "/(a+)+b/.test('a'.repeat(40))",
]


async def test_neighbours_are_unaffected(stack):
    """Scripts beside hostile ones give their own values, with none of the others' doing."""
    scripts = Scripts(4)
    await scripts.start(stack)

    async def neighbour(n):
        return (await scripts.run(script("input.n * 2", names={"input": {"n": n}}))).value

    async def hostile(source):
        return (await failure(scripts, source, **SHORT)).error

    bad = [asyncio.create_task(hostile(source)) for source in HOSTILE]
    good = await asyncio.gather(*(neighbour(n) for n in range(100)))
    assert good == [n * 2 for n in range(100)]
    allowed = {"FlowRunner.ScriptTimeout", "FlowRunner.ScriptMemory", "FlowRunner.ScriptOutput"}
    assert set(await asyncio.gather(*bad)) <= allowed


async def test_a_busy_neighbour_does_not_wait_for_an_endless_one(stack):
    """While a script runs for ever, others are answered."""
    scripts = Scripts(2)
    await scripts.start(stack)
    began = asyncio.Event()
    scope_ = scope(limits={"milliseconds": 30_000}, log=lambda level, message: began.set())
    endless = asyncio.create_task(scripts.run(script("console.log('on'); for (;;);", limits={"milliseconds": 30_000}, log=scope_.log)))
    await began.wait()
    assert [(await scripts.run(script("input.x"))).value for _ in range(20)] == [3] * 20
    assert not endless.done()
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless


def test_limits_are_checked():
    for bad in ({"milliseconds": 0}, {"milliseconds": 10**9}, {"memory_bytes": 1}, {"memory_bytes": 2**40}):
        with pytest.raises(ValueError, match="must be"):
            ScriptLimits(**bad)
