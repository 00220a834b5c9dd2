from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from task_calls import call

from flowrunner.ports.tasks import AttemptLost, Failed, may_begin
from flowrunner.tasks.nodes import children
from flowrunner.tasks.nodes.command import Programs
from flowrunner.tasks.registry import Registry

COMMAND = "arn:aws:states:::flowrunner:command"
SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.fixture
def start(starter, tmp_path):
    """Runs a command with the interpreter and echo allowed."""
    registry = Registry(starter=starter, programs=Programs(["echo", sys.executable], tmp_path))

    async def run(params, *, language="asl"):
        one = call(COMMAND, {"params": params, "language": language})
        outcome = await registry.resolve(one).run(one)
        return outcome if isinstance(outcome, Failed) else json.loads(outcome.output)

    return run


@pytest.fixture
def python(start):
    """Runs Python source as a command."""

    async def run(source, *args, language="asl", **params):
        return await start({"command": sys.executable, "args": ["-c", textwrap.dedent(source), *args], **params}, language=language)

    return run


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["command", "cmd"])
async def test_the_guides_echo(start, name):
    """As the streaming guide has it."""
    made = await start({name: "echo", "args": ["Processing user 1"]}, language="workflow")
    assert made == {"output": {"exitCode": 0, "stdout": "Processing user 1\n", "stderr": ""}, "action": "success"}


async def test_nothing_is_allowed_unless_the_operator_says_so(starter):
    """The failure names the setting."""
    registry = Registry(starter=starter)
    one = call(COMMAND, {"params": {"command": "echo"}})
    outcome = await registry.resolve(one).run(one)
    assert outcome.error == "FlowRunner.CommandNotAllowed"
    assert 'command_allow = ["echo"]' in outcome.cause


@pytest.mark.parametrize("command", ["sh", "/bin/sh", "/bin/echo", "echo hi", "./echo", "../../bin/echo", "echo;id", "$(id)", "echo\n", "Echo"])
async def test_only_what_is_allowed_runs(start, command):
    """Exactly by the names the operator wrote; nothing is split, searched or spelled otherwise."""
    assert (await start({"command": command, "args": []})).error == "FlowRunner.CommandNotAllowed"


HOSTILE = [
    "; id",
    "$(id)",
    "`id`",
    "| cat",
    "&& id",
    "> x",
    "'",
    '"',
    "\\",
    "a b  c",
    "",
    "-n",
    "--help",
    "*",
    "~",
    "${HOME}",
    "\n",
    "\r\n",
    "\u2603",
    "\U0001f600",
    "{{x}}",
    "%s",
    "\x01",
    "\x7f",
    "#",
]


async def test_arguments_arrive_as_they_are(python):
    """Byte for byte, whatever is in them: a corpus of what shells would take up, and texts at random."""
    random_texts = random.Random(7)
    many = ["".join(chr(random_texts.choice((*range(1, 128), 0xE9, 0x2028, 0x1F600))) for _ in range(random_texts.randrange(12))) for _ in range(900)]
    given = [*HOSTILE, *many]
    made = await python(SHOW, *given)
    assert json.loads(made["output"]["stdout"]) == given


async def test_other_values_are_written_as_json(python):
    """Numbers and booleans."""
    assert json.loads((await python(SHOW, *[1, 2.5, True]))["output"]["stdout"]) == ["1", "2.5", "true"]


async def test_the_environment_is_clean(python, monkeypatch):
    """Nothing of the server's: no credential, no open file but the three."""
    monkeypatch.setenv("FLOWRUNNER_MASTER_KEY", "canary")
    source = "import json, os; print(json.dumps([dict(os.environ), sorted(os.listdir('/proc/self/fd')), os.getcwd(), os.listdir('.')]))"
    environment, files, folder, content = json.loads((await python(source))["output"]["stdout"])
    assert set(environment) <= {"PATH", "LANG", "LC_CTYPE", "CHILD_OF_FLOWRUNNER"}
    assert len(files) == 4  # the fourth lists the folder
    assert content == []
    assert folder.startswith(tempfile.gettempdir())
    assert not Path(folder).exists()  # noqa: ASYNC240 - once


async def test_the_working_folder_is_within_the_operators(python, tmp_path):
    """A folder below it, and none beside it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("/")
    made = await python("import os; print(os.getcwd())", cwd="in")
    assert made["output"]["stdout"].strip() == str((tmp_path / "in").resolve())
    for wrong in ("..", "/", "link", "in/../..", "none", "a\0b"):
        assert (await python("", cwd=wrong)).error == "FlowRunner.CommandNotAllowed", wrong


async def test_without_a_folder_none_can_be_chosen(starter):
    """The operator has to name one."""
    registry = Registry(starter=starter, programs=Programs(["echo"]))
    one = call(COMMAND, {"params": {"command": "echo", "cwd": "/tmp"}})
    assert "command_folder" in (await registry.resolve(one).run(one)).cause


async def test_input_and_json(python):
    """What it reads, and what it writes as a value."""
    made = await python("import sys, json; print(json.dumps({'read': sys.stdin.read()}))", stdin="caf\u00e9", parse_json=True)
    assert made["output"]["json"] == {"read": "caf\u00e9"}
    assert (await python("print('{')", parse_json=True)).error == "FlowRunner.CommandOutput"
    assert (await python("import sys; sys.stdout.buffer.write(b'\\xff')"))["output"]["stdout"] == "\ufffd"
    await python("", stdin="x" * 1_000_000)  # one that does not read


async def test_exit_codes(python):
    """In a flow an edge, in a workflow a failure with the error output's end."""
    source = "import sys; sys.stderr.write('broken pipe dream'); sys.exit(3)"
    made = await python(source)
    assert (made["action"], made["output"]["exitCode"], made["output"]["stderr"]) == ("error", 3, "broken pipe dream")
    outcome = await python(source, language="workflow")
    assert outcome.error == "FlowRunner.CommandFailed"
    assert "exit code 3: broken pipe dream" in outcome.cause
    assert (await python("import os; os.kill(os.getpid(), 9)"))["output"]["exitCode"] == 137


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_output_is_bounded(python, stream):
    """A gigabyte is not waited for."""
    outcome = await python(f"import sys\nfor _ in range(1024): sys.{stream}.write('x' * 1048576)")
    assert outcome.error == "FlowRunner.CommandOutput"


async def test_a_mebibyte_is_fine(python):
    """The bound itself."""
    assert len((await python("print('x' * 1048575)"))["output"]["stdout"]) == 1048576


TREES = {
    "a plain child": "import os, time; print(os.getpid(), flush=True); time.sleep(600)",
    "one that ignores signals": "import os, signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; print(os.getpid(), flush=True); time.sleep(600)",
    "a grandchild": "import os, subprocess, sys; subprocess.run([sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'])",
    "a daemon": "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    print(os.getpid(), flush=True); time.sleep(600)\n  os._exit(0)\ntime.sleep(600)",
    "a small fork bomb": "import os, time\nfor _ in range(6): os.fork()\nif not os.path.exists(F):\n  open(F + str(os.getpid()), 'w').close()\ntime.sleep(600)",
}


@pytest.fixture
def marked(monkeypatch):
    """A function: the processes of this test's commands that still run."""
    mark = f"CHILD_OF_FLOWRUNNER_{random.getrandbits(64):x}"
    monkeypatch.setattr(children, "MARK", mark)

    def find():
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    found += [entry.name] * (f"{mark}=".encode() in (entry / "environ").read_bytes())
        return found

    return find


@pytest.mark.parametrize("source", TREES.values(), ids=TREES)
@pytest.mark.parametrize("way", ["timeout", "cancel"])
async def test_all_of_it_is_gone(python, source, way, tmp_path, marked):
    """After a timeout or a cancellation nothing that the program started runs, and the node has not waited for it."""
    source = f"F = {str(tmp_path / 'f')!r}\n" + textwrap.dedent(source)
    task = asyncio.create_task(python(source, timeout="500ms" if way == "timeout" else 60))
    await until(marked)
    if way == "cancel":
        await asyncio.sleep(0.2)
        task.cancel()
    began = time.monotonic()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert time.monotonic() - began < 30  # they would run for ten minutes
    assert isinstance(outcome, asyncio.CancelledError) if way == "cancel" else outcome.error == "States.Timeout"
    assert marked() == []


async def test_what_stays_behind_is_killed(python, marked):
    """A program that ends and leaves a daemon with its pipes does not hold the node up."""
    source = "import os, time\nif os.fork() == 0:\n  os.setsid(); time.sleep(600)\nprint('done')"
    made = await python(source, timeout=20)
    assert made["output"]["stdout"] == "done\n"
    assert marked() == []


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"args": ["a\0b"]}, "NUL"), ({"args": [{}]}, "args[0]"), ({"args": [None]}, "args[0]"), ({"args": "a b"}, "args"), ({"args": ["x"] * 1001}, "1000"), ({"timeout": -1}, "timeout"),
        ({"stdin": 7}, "stdin"), ({"command": None}, "command"),
    ],
)  # fmt: skip
async def test_parameters_that_cannot_be_used(start, params, says):
    """Are named."""
    outcome = await start({"command": "echo"} | params)
    assert outcome.error == "FlowRunner.InvalidParameters"
    assert says in outcome.cause


async def test_an_argument_that_is_too_long(start):
    """The system refuses it: a typed failure."""
    assert (await start({"command": "echo", "args": ["x" * 3_000_000]})).error == "FlowRunner.CommandFailed"


async def test_a_lost_attempt_starts_nothing(start, tmp_path):
    """It asks before it starts."""

    async def no():
        return False

    token = may_begin.set(no)
    try:
        with pytest.raises(AttemptLost):
            await start({"command": sys.executable, "args": ["-c", f"open({str(tmp_path / 'made')!r}, 'w')"]})
    finally:
        may_begin.reset(token)
    assert not (tmp_path / "made").exists()


def test_settings_say_what_is_allowed(tmp_path):
    """`command_allow`; with --dev echo, unless it is set."""
    from flowrunner.config import Settings
    from flowrunner.wiring import programs_of

    def allowed(**settings):
        return sorted(programs_of(Settings(**settings)).names)

    assert allowed() == []
    assert allowed(dev=True) == ["echo"]
    assert allowed(dev=True, command_allow=("/usr/bin/jq",), origins={"command_allow": "file"}) == ["/usr/bin/jq", "jq"]
    assert allowed(dev=True, origins={"command_allow": "file"}) == []
