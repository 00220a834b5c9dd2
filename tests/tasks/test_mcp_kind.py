from __future__ import annotations

import asyncio
import gzip
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from aiohttp import web
from nodes_calls import node_call

from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes import mcp as kind_module
from flowrunner.tasks.nodes.children import MARK
from flowrunner.tasks.nodes.command import Programs
from flowrunner.tasks.nodes.kind import NodeFailed

pytest.importorskip("mcp")
pytestmark = [pytest.mark.filterwarnings("default")]  # the library's own
SERVER = str(Path(__file__).with_name("mcp_test_server.py"))


def runner(**params):
    """Runs operations on a server that these parameters name."""
    kind = kind_module.McpKind(policy=EgressPolicy(["127.0.0.1", "localhost"]), programs=Programs([sys.executable]))

    async def run(**more):
        return (await kind.run(node_call(params | more))).output

    return run


@asynccontextmanager
async def served(path):
    """The server over HTTP, at the end of its URL `path`."""
    from mcp_test_server import made

    application = made().sse_app() if path == "sse" else made().streamable_http_app()
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=0, log_level="error", lifespan="on", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/{path}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture(params=["http", "sse"])
async def ask(request):
    """The same server over each kind of HTTP."""
    async with served("sse" if request.param == "sse" else "mcp") as url:
        yield runner(connectionType=request.param, url=url, headers={"X-Tenant": "t1"})


async def test_every_operation(ask):
    """Tools, resources and prompts are listed and used."""
    tools = await ask()
    assert {one["name"] for one in tools["tools"]} == {"add", "fail", "environment", "header"}
    added = await ask(operation="executeTool", toolName="add", toolParameters={"a": 2, "b": 40})
    assert (added["structuredContent"], added["content"][0]["text"]) == ({"result": 42}, "42")
    assert (await ask(operation="listResources"))["resources"][0]["uri"] == "note://today"
    assert (await ask(operation="readResource", resourceUri="note://today"))["contents"][0]["text"] == "Buy tea."
    assert (await ask(operation="listPrompts"))["count"] == 1
    greeting = await ask(operation="getPrompt", promptName="greet", promptParameters={"name": "Ada"})
    assert greeting["messages"][0]["content"]["text"] == "Say hello to Ada."


async def test_failures_of_tools(ask):
    """A tool that fails, and one that there is not, fail the node by name."""
    with pytest.raises(NodeFailed, match="no tea") as caught:
        await ask(operation="executeTool", toolName="fail", toolParameters={"why": "no tea"})
    assert caught.value.error == "FlowRunner.McpToolFailed"
    with pytest.raises(NodeFailed) as caught:
        await ask(operation="executeTool", toolName="none")
    assert caught.value.error in ("FlowRunner.McpFailed", "FlowRunner.McpToolFailed")


@pytest.mark.parametrize("connection", ["http", "sse"])
async def test_headers_reach_the_server(connection):
    """Headers go with every request, of server-sent events too."""
    async with served("sse" if connection == "sse" else "mcp") as url:
        run = runner(connectionType=connection, url=url, headers={"X-Tenant": "t1"})
        assert (await run(operation="executeTool", toolName="header"))["content"][0]["text"] == "t1"


async def test_a_program_has_no_environment_of_the_servers(monkeypatch):
    """A program gets what the definition says and a folder of its own, nothing of this process."""
    monkeypatch.setenv("FLOWRUNNER_MASTER_KEY", "secret")
    run = runner(connectionType="cmd", command=sys.executable, args=[SERVER], env={"COLOUR": "red"})
    found = (await run(operation="executeTool", toolName="environment"))["structuredContent"]
    found = found.get("result", found)
    assert found["COLOUR"] == "red"
    assert set(found) <= {"COLOUR", "HOME", "PATH", "LOGNAME", "USER", "SHELL", "TERM", "LC_CTYPE", MARK}
    assert os.environ["HOME"] != found["HOME"]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"connectionType": "cmd", "command": "/bin/sh"}, "FlowRunner.CommandNotAllowed"),
        ({"connectionType": "http", "url": "http://169.254.169.254/mcp"}, "FlowRunner.EgressRefused"),
        ({"connectionType": "sse", "url": "http://10.0.0.1/sse"}, "FlowRunner.EgressRefused"),
        ({"connectionType": "http", "url": "file:///etc/passwd"}, "FlowRunner.EgressRefused"),
        ({"connectionType": "http", "url": "http://127.0.0.1:9/mcp"}, "FlowRunner.McpFailed"),
        ({"connectionType": "cmd", "command": sys.executable, "args": ["-c", "pass"]}, "FlowRunner.McpFailed"),
        ({"connectionType": "cmd", "command": sys.executable, "args": [1]}, "FlowRunner.InvalidParameters"),
        ({"connectionType": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"A": "b\r\nC: d"}}, "FlowRunner.InvalidParameters"),
        ({"connectionType": "telnet"}, "FlowRunner.InvalidParameters"),
        ({"connectionType": "http", "url": "http://x/", "operation": "dance"}, "FlowRunner.InvalidParameters"),
        ({"connectionType": "http", "url": "http://x/", "operation": "executeTool"}, "FlowRunner.InvalidParameters"),
    ],
)
async def test_servers_that_cannot_be_asked(params, error):
    """Each has a failure of its own."""
    with pytest.raises(NodeFailed) as caught:
        await runner(**params)()
    assert caught.value.error == error


async def test_a_silent_program(tmp_path):
    """A program that does not answer costs the attempt its time limit, and is gone then."""
    script = tmp_path / "silent.py"
    script.write_text(f"import os, pathlib, sys\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\nsys.stdin.read()\n")
    with pytest.raises(TimeoutError):
        await runner(connectionType="cmd", command=sys.executable, args=[str(script)])(timeout=1500)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_what_a_program_leaves_behind(tmp_path):
    """It ended, and so the library kills nothing: a program that it had started went on for ever."""
    kept = tmp_path / "pid"
    source = f"import subprocess, pathlib; pathlib.Path({str(kept)!r}).write_text(str(subprocess.Popen(['sleep', '600'], start_new_session=True).pid))"
    with pytest.raises((NodeFailed, TimeoutError)):
        await runner(connectionType="cmd", command=sys.executable, args=["-c", source])(timeout=3000)
    process = Path("/proc") / kept.read_text()
    assert not process.exists() or (process / "cmdline").read_bytes() == b""  # nobody may have waited for it yet


async def test_without_the_extra(monkeypatch):
    """Where the library is missing, the failure names the extra."""
    monkeypatch.setitem(sys.modules, "mcp.client", None)
    with pytest.raises(NodeFailed, match=r"flowrunner\[mcp\]") as caught:
        await runner(connectionType="http", url="http://127.0.0.1:9/mcp")()
    assert caught.value.error == "FlowRunner.MissingExtra"


async def test_a_compressed_answer_is_not_unpacked(stack, server):
    """Nothing compressed is asked for, and what comes so all the same is refused unread: a few kilobytes could become gigabytes."""
    packed = gzip.compress(b" " * 1_000_000)
    server.answer = lambda request: web.Response(body=packed, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
    with pytest.raises(NodeFailed, match="compressed") as caught:
        await runner(connectionType="http", url=f"{server.url}/mcp")()
    assert caught.value.error == "FlowRunner.McpFailed"
    assert server.requests
    assert {headers["Accept-Encoding"] for _, _, headers, _ in server.requests} == {"identity"}


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "BASH_ENV",
        "BASH_FUNC_ls%%",
        "ENV",
        "PATH",
        "PYTHONSTARTUP",
        "PYTHONPATH",
        "PERL5OPT",
        "NODE_OPTIONS",
        "JAVA_TOOL_OPTIONS",
        "RUBYOPT",
        "dyld_insert_libraries",
    ],
)
async def test_variables_that_would_run_something_else(name):
    """A definition chooses what an allowed program is told, not what else is run in its place."""
    with pytest.raises(NodeFailed, match=f"cannot set '{name}'") as caught:
        await runner(connectionType="cmd", command=sys.executable, args=[SERVER], env={"COLOUR": "red", name: "/tmp/x"})()
    assert caught.value.error == "FlowRunner.InvalidParameters"


@pytest.mark.parametrize("name", ["COLOUR", "API_KEY", "LDAP", "NODENAME", "ENVIRONMENT", "PATH_PREFIX"])
async def test_other_variables_are_the_programs(name):
    """What has a similar name is none of those."""
    run = runner(connectionType="cmd", command=sys.executable, args=[SERVER], env={name: "red"})
    found = (await run(operation="executeTool", toolName="environment"))["structuredContent"]
    assert found.get("result", found)[name] == "red"
