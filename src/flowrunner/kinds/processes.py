"""Kinds that start or speak to programs: command, mcp."""

from __future__ import annotations

from flowrunner.kinds.formats import TIME_LIMIT
from flowrunner.kinds.http import BAD_PARAMETERS, EGRESS
from flowrunner.kinds.info import KindInfo, address, anything, boolean, choice, duration, fields, integer, listed, mapping, text, texts, unused

NOT_ALLOWED = ("FlowRunner.CommandNotAllowed", "the operator has not allowed this program (`command_allow`)")

COMMAND = KindInfo(
    name="command",
    title="Command",
    description=(
        "Starts a program that the operator has allowed, with a list of arguments and without a shell: an argument reaches the program as it is, whatever is in it. "
        "The program has a new folder of its own and an environment of `PATH`, `LANG` and a mark by which its descendants are found (`CHILD_OF_FLOWRUNNER`); it and everything it started are killed when the step is cancelled or takes too long. "
        "In a workflow an exit code other than 0 fails the step; in a flow it takes the action `error`, and is tried again first where the node has `retry`."
    ),
    parameters=fields(
        {
            "command": text("The program, by the name or the absolute path under which the operator has allowed it."),
            "cmd": text("The same, by its older name."),
            "args": listed("The arguments; numbers and booleans are written as JSON."),
            "cwd": text("A folder within the folder that the operator has given to commands (`command_folder`). Default: a new, empty one."),
            "stdin": text("What the program reads."),
            "timeout": duration("The longest it may run.", "60s", limit=True),
            "parse_json": boolean("Whether `stdout` is read as JSON into `json`.", default=False),
        },
        any_of=("command", "cmd"),
    ),
    outputs=fields(
        {
            "exitCode": integer("The exit code; 128 and the signal's number for one that a signal ended."),
            "stdout": text("What it wrote, at most 1 MiB, bytes that are no UTF-8 replaced."),
            "stderr": text("Its error output, likewise."),
            "json": anything("With `parse_json`: the value of `stdout`."),
        },
        closed=False,
    ),
    actions=("success", "error"),
    retried=("error",),
    errors=(
        NOT_ALLOWED,
        BAD_PARAMETERS,
        ("FlowRunner.CommandFailed", "in a workflow: the exit code is not 0; the cause has it and the end of `stderr`"),
        ("FlowRunner.CommandOutput", "it wrote more than 1 MiB, and was killed; or, with `parse_json`, what it wrote is no JSON"),
    ),
)
MCP = KindInfo(
    name="mcp",
    title="MCP",
    description="Speaks to a server of the Model Context Protocol over a process (which the operator has allowed), HTTP or server-sent events.",
    parameters=fields(
        {
            "connectionType": choice("How the server is reached.", "cmd", "http", "sse"),
            "operation": choice(
                "What to ask.",
                "listTools", "executeTool", "listResources", "readResource", "listPrompts", "getPrompt",
                default="listTools",
            ),
            "command": text("For `cmd`: the program."),
            "args": texts("For `cmd`: its arguments."),
            "env": mapping("For `cmd`: its environment."),
            "url": address("For `http` and `sse`: the server."),
            "messagesPostEndpoint": unused("Not needed: the server says where messages are posted. Older definitions have it."),
            "headers": mapping("For `http` and `sse`: more headers."),
            "timeout": {"type": ["integer", "string"], "format": TIME_LIMIT, "description": "The longest it may take: a number of milliseconds, or a text with units.", "default": 60000},
            "toolName": text("The tool to execute."),
            "toolParameters": mapping("Its arguments."),
            "resourceUri": text("The resource to read."),
            "promptName": text("The prompt to get."),
            "promptParameters": mapping("Its arguments."),
        },
        "connectionType",
    ),
    outputs=anything("The server's answer: `{tools}`, `{content, structuredContent, isError}`, `{contents}`, `{messages}` and so on."),
    errors=(
        EGRESS,
        NOT_ALLOWED,
        BAD_PARAMETERS,
        ("FlowRunner.MissingExtra", "the protocol's library is not installed; the cause names the extra"),
        ("FlowRunner.McpFailed", "the server refused, or did not speak the protocol"),
        ("FlowRunner.McpToolFailed", "the tool reported an error"),
    ),
)  # fmt: skip
KINDS = (COMMAND, MCP)
