"""Writes docs/reference/*.md from the tables of the code, so that no reference page can say anything else than the code does.

python scripts/write_reference.py           writes the pages
python scripts/write_reference.py --check   writes nothing; exit code 1 when a page is not what would be written
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import orjson
import typer

import flowrunner
from flowrunner import config
from flowrunner.api import (
    accounts,
    asyncapi,
    credentials,
    environments,
    eventstreams,
    executions,
    flows,
    health,
    messages,
    openapi,
    page,
    plugins,
    problems,
    runs,
    schedules,
    secrets,
    sessions,
    socket_v1,
    streams,
    templates,
    testcases,
    testgroups,
    users,
    webhooks,
    workflows,
)
from flowrunner.api import app as rest_app
from flowrunner.api.answer import AWS_CODES
from flowrunner.api.aws import faults as aws_faults
from flowrunner.api.aws.handlers import HANDLERS
from flowrunner.api.aws.operations import OPERATIONS, PAGE_SIZE
from flowrunner.api.aws.tagging import MOST_TAGS
from flowrunner.api.historyshapes import event_types, events_of, shape_of
from flowrunner.api.livemessages import PAYLOADS, SAID
from flowrunner.cli import output, protocol
from flowrunner.cli.heartbeat import PING_SECONDS, PONG_SECONDS
from flowrunner.cli.main import app
from flowrunner.core import enter, faults, groups
from flowrunner.core.records import details_key
from flowrunner.definitions import records
from flowrunner.definitions.hookevents import MOST_DATA_BYTES
from flowrunner.definitions.schedules import MOST_SCHEDULES
from flowrunner.definitions.service import MOST_VERSIONS
from flowrunner.definitions.webhooks import MOST as MOST_WEBHOOKS
from flowrunner.errors import FlowRunnerError
from flowrunner.flow import batches
from flowrunner.flow import fields as fields_of_flows
from flowrunner.flow.node import NOT_IN_FLOWS
from flowrunner.flow.schema import flow_schema
from flowrunner.identity.permissions import OPERATOR, Permission, Role, role_permissions
from flowrunner.jsonvalue import MAX_DEPTH
from flowrunner.kinds import KINDS, KindInfo
from flowrunner.kinds.checks import COMPARISONS
from flowrunner.limits import AWS_RATES, KIB, MAX_CAUSE_CHARACTERS, MAX_ERROR_CHARACTERS, MIB, PROFILES
from flowrunner.tasks import client, egress, invokers, secrecy, worker_pool
from flowrunner.tasks.javascript import calls, pool
from flowrunner.tasks.nodes import kind as node_kind
from flowrunner.tasks.nodes import task
from flowrunner.telemetry.names import METRICS, PREFIX
from flowrunner.vault.secret import MAX_VALUE_BYTES
from flowrunner.views.shapes import StandingStep, members
from flowrunner.views.standing import SNAPSHOT
from flowrunner.views.stream import V2_STATUS
from flowrunner.wiring import ACTIVITY_POLL_SECONDS
from flowrunner.workflow.fields import NOT_IN_WORKFLOWS
from flowrunner.workflow.schema import workflow_schema

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
WRITTEN = "<!-- Written by scripts/write_reference.py from the code's own tables. Change those, then run the script. -->"
NO = "-"


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|") or NO


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [list(heads), ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _code(text: object) -> str:
    return f"`{text}`"


def _codes(texts: Iterable[object]) -> str:
    return ", ".join(map(_code, texts))


def _first_line(thing: object) -> str:
    return (getattr(thing, "__doc__", None) or "").strip().partition("\n")[0].replace("``", "`")


def _size(number: int) -> str:
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if number >= unit and number % unit == 0:
            return f"{number // unit} {name}"
    return f"{number:,}"


# --- settings


def _default(value: object) -> str:
    match value:
        case None | ():
            return NO
        case bool():
            return _code(str(value).lower())
        case _:
            return _code(value)


def _flags() -> dict[str, list[str]]:
    """Setting to the options that set it, by the names they share."""
    names = {row.name for row in config.SETTINGS}
    found: dict[str, list[str]] = {}
    for _, command in _commands():
        for option in command.params:
            if option.name in names and option.param_type_name == "option":
                longest = max(option.opts, key=len)
                found.setdefault(option.name, [])
                if longest not in found[option.name]:
                    found[option.name].append(longest)
    return found


# The separate variables the source systems' users know; config composes the store's URL from them.
STORAGE_VARIABLES = (
    (
        "FLOWRUNNER_STORAGE_TYPE",
        "",
        "`memory`, `sqlite`, `postgres` or `dynamodb`: the store by its kind. `FLOWRUNNER_POSTGRES_HOST`, `FLOWRUNNER_POSTGRES_DATABASE` and the DynamoDB names tell it too, unless both families are set. `--store` and `FLOWRUNNER_STORE` win over all of these.",
    ),
    ("FLOWRUNNER_POSTGRES_HOST", "localhost", "The server's host."),
    ("FLOWRUNNER_POSTGRES_PORT", "5432", "Its port."),
    ("FLOWRUNNER_POSTGRES_DATABASE", "flowrunner", "The database, which exists already."),
    ("FLOWRUNNER_POSTGRES_USER", "flowrunner", "The role that owns it."),
    ("FLOWRUNNER_POSTGRES_PASSWORD", "", "Its password; never shown. Alone, it completes a PostgreSQL URL with a role and no password in `flowrunner.toml`."),
    ("FLOWRUNNER_POSTGRES_SSL_MODE", "", "libpq's `sslmode`: `disable`, `prefer`, `require`, `verify-ca`, `verify-full`."),
    ("FLOWRUNNER_DYNAMODB_REGION", "us-west-2", "The region. Credentials come from the AWS SDK's own places."),
    ("FLOWRUNNER_DYNAMODB_ENDPOINT", "", "Another address than AWS's, such as `http://127.0.0.1:8000`."),
    ("FLOWRUNNER_DYNAMODB_TABLE_PREFIX", "flowrunner_", "What the table's name begins with."),
)


def settings() -> str:
    """Every setting."""
    flags = _flags()
    rows = [
        (
            _code(row.file_key),
            _codes([*row.variables, *(f"{variable}_FILE" for variable in row.variables if row.secret and row.name != "master_key")]),
            _codes(flags.get(row.name, [])),
            _default(row.default),
            f"{row.help}{f' In {row.unit}.' if row.unit else ''}",
        )
        for row in config.SETTINGS
    ]
    functions = [
        (_code("handler"), '`"FILE.py:FUNCTION"`, the file relative to the folder of the configuration file.'),
        (_code("url"), "An `http://` or `https://` URL; the event is sent to it with POST."),
        (_code("idempotent"), "`true` lets an attempt whose outcome is unknown run again under the same key. Default `false`."),
        (_code("timeout_seconds"), "The longest one attempt may take. Default: `function_pool.timeout_seconds`."),
        (_code("environment"), "A table of texts added to the environment of a Python function; it has little else of the server's."),
        (_code("headers"), "A table of texts sent as headers to a URL."),
    ]
    return (
        "# Settings\n\n"
        "A value comes from the first of these that has one: a command's option, the environment, `.env` in the working folder, "
        "`flowrunner.toml` (or `[tool.flowrunner]` in `pyproject.toml`), the default. `--config FILE` or `FLOWRUNNER_CONFIG` names another file. "
        "An unknown key in a file is an error, and so is a variable named after a key where the table has another: the message names the right one. A dot in a key stands for a table: `log.level` is `level` under `[log]`. "
        "Relative paths in a file are relative to that file.\n\n"
        f"{_table(('Key', 'Environment', 'Option', 'Default', 'Meaning'), rows)}\n"
        "The file also takes `server.host`, `server.port` and `database_url` for `host`, `port` and `store`.\n\n"
        "## `[functions]`\n\n"
        'Each entry is `NAME = "FILE.py:FUNCTION"`, `NAME = "URL"`, or a table:\n\n'
        f"{_table(('Key', 'Meaning'), functions)}\n"
        "## A store in parts\n\n"
        "Instead of a URL in `FLOWRUNNER_STORE`, the environment or `.env` may name the store by its kind and parts "
        "([how to](../howto/stores.md)).\n\n"
        f"{_table(('Variable', 'Default', 'Meaning'), [(_code(name), _code(default) if default else '', text) for name, default, text in STORAGE_VARIABLES])}\n"
        "## Other variables\n\n"
        + _table(
            ("Variable", "Meaning"),
            (
                ("`FLOWRUNNER_CONFIG`", "The configuration file, as `--config`."),
                ("`FLOWRUNNER_CRASH_AT`", "For crash tests on loopback: the process kills itself at a named point, `POINT:N` at the N-th time."),
                ("`FLOWRUNNER_IDEMPOTENCY_KEY`", "Set by the server in a Python function: the key of its attempt, the same when it runs again."),
                ("`FLOWRUNNER_TOKEN`, `FLOWRUNNER_TOKEN_FILE`", "The API token of client commands, or the file it is in; instead of a log-in."),
                ("`FLOWRUNNER_PROFILE`", "The log-in that client commands use, as `--profile`."),
                ("`FLOWRUNNER_USERNAME`", "The user that `flowrunner login` takes without asking."),
                ("`FLOWRUNNER_TRACEBACK`", "Set: an unexpected failure of a command shows where it happened."),
                ("`NO_COLOR`", "Set: no colours."),
                ("`SSL_CERT_FILE`, `SSL_CERT_DIR`", "The certificates that client commands trust, instead of the public authorities'."),
                ("`XDG_CONFIG_HOME`", "The folder with `flowrunner/config.toml`, where log-ins are kept; `~/.config` unless set."),
            ),
        )
    )


# --- commands


def _group() -> Any:
    return typer.main.get_command(app)


def _commands() -> Iterator[tuple[str, Any]]:
    """Every command by its full name, those of groups too."""
    for name, command in _group().commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {part}", found) for part, found in command.commands.items())
        else:
            yield name, command


def _option(option: Any) -> tuple[str, str]:
    shown, choices = option.default, _choices(option)
    takes = "" if option.is_flag else f" {option.metavar or ('WORD' if choices else 'NUMBER' if _is_number(option) else 'TEXT')}"
    name = ", ".join(_code(f"{part}{takes}") for part in [*sorted(option.opts, key=len, reverse=True), *option.secondary_opts])
    default = "" if shown in (None, False, True, "") else f" Default {_code(getattr(shown, 'value', shown))}."
    return name, f"{option.help or ''}{f' One of {choices}.' if choices else ''}{default}"


def _is_number(option: Any) -> bool:
    annotation = getattr(option.type_descriptor, "annotation", str)
    return annotation in (int, float, int | None, float | None)


def _choices(option: Any) -> str:
    annotation = option.type_descriptor
    values = getattr(annotation, "choices", None) or ()
    return _codes(getattr(value, "value", value) for value in values)


def commands() -> str:
    """Every command with its options, and the exit codes."""
    said = "`flowrunner COMMAND --help` says the same as this page; `flowrunner --version` prints the version."
    parts = [f"# Commands\n\nData goes to standard output, everything else to standard error. {said}\n"]
    for name, command in _commands():
        arguments = [param for param in command.params if param.param_type_name == "argument"]
        options = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
        shown = " ".join((param.metavar or param.name.upper()) if param.required else f"[{param.name.upper()}]" for param in arguments)
        words, _, example = (command.help or "").partition("Example: ")
        paragraphs = "\n\n".join(" ".join(part.split()) for part in words.strip().split("\n\n"))
        parts.append(f"\n## {name}\n\n`flowrunner {name} [OPTIONS]{f' {shown}' if shown else ''}`\n\n{paragraphs}\n\nExample: `{example.strip()}`\n\n")
        rows = [(_code(param.metavar or param.name.upper()), param.help or "") for param in arguments] + [_option(option) for option in options]
        parts.append(_table(("Argument or option", "Meaning"), rows))
    parts.append(f"\n## Exit codes\n\n{_table(('Code', 'Meaning'), EXIT_CODES)}")
    return "".join(parts)


EXIT_CODES = (
    (output.SUCCESS, "Success; for `run` and `watch`: the run succeeded (SUCCEEDED)."),
    (output.FAILED, "The run failed (FAILED), `db check` found something, or something unexpected happened."),
    (output.USAGE, "The command line or a setting is wrong."),
    (output.INVALID, "A definition or an input is not valid."),
    (output.NOT_FOUND, "There is no such thing."),
    (output.DENIED, "The server does not allow it."),
    (output.UNREACHABLE, "The server cannot be reached, or the store cannot be used."),
    (output.TIMED_OUT, "The run timed out (TIMED_OUT)."),
    (output.ABORTED, "The run was stopped (ABORTED)."),
    (output.CLIENT_TIMEOUT, "The time of `--timeout` has passed."),
    (output.INTERRUPTED, "Interrupted with Ctrl-C."),
)


# --- metrics


def metrics() -> str:
    """Every metric."""
    rows = [(_code(PREFIX + row.name), row.kind, row.unit, _codes(row.labels), row.meaning) for row in METRICS]
    return (
        "# Metrics\n\n`GET /metrics` shows them in Prometheus's text format, without a credential. They count this process only. "
        "No label holds anything that a user chooses.\n\n" + _table(("Name", "Kind", "Unit", "Labels", "Meaning"), rows)
    )


# --- kinds of nodes


def _type(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type", "any")
    shown = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    if schema.get("contentMediaType"):
        return "JavaScript"
    if isinstance(schema.get("items"), dict) and isinstance(schema["items"].get("type"), str):
        shown = shown.replace("array", f"array of {schema['items']['type']}")
    return shown


def _members(schema: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str, str, str]]:
    for name, part in schema.get("properties", {}).items():
        words = f" One of {_codes(part['enum'])}." if "enum" in part else ""
        required = "required" if name in schema.get("required", ()) else _default(part.get("default"))
        yield _code(above + name), _type(part), required, f"{part.get('description', '')}{words}"
        inner = part if part.get("properties") else part.get("items", {}) if isinstance(part.get("items"), dict) else {}
        mark = "[]." if inner is not part else "."
        yield from _members(inner, f"{above}{name}{mark}")


def _kind(info: KindInfo) -> str:
    names = f" Also written {_codes(info.aliases)}." if info.aliases else ""
    how = "The front ends make states of it." if info.structural else f"Resource `arn:aws:states:::flowrunner:{info.name}`."
    where = " In flows only." if info.name in NOT_IN_WORKFLOWS else " In workflows only." if info.name in NOT_IN_FLOWS else ""
    repeats = " It may be run again when nobody knows how it ended." if info.pure and not info.structural else ""
    parameters = list(_members(info.parameters))
    outputs = [(name, kind, text) for name, kind, _, text in _members(info.outputs)]
    gives = _table(("Output", "Type", "Meaning"), outputs) if outputs else f"Output: {info.outputs.get('description', 'any value')}\n"
    edges = _codes(info.actions) if info.actions else "whatever the script says"
    errors = _table(("Error", "When"), [(_code(name), when) for name, when in info.errors]) if info.errors else ""
    return (
        f"## `{info.name}`\n\n{info.description}{names} {how}{where}{repeats}\n\n"
        + (_table(("Parameter", "Type", "Default", "Meaning"), parameters) if parameters else "No parameters.\n")
        + f"\n{gives}\nActions: {edges}.\n\n{errors}".rstrip()
        + "\n\n"
    )


def node_kinds() -> str:
    """Every kind of node and step."""
    assertions = [(_code(name), f"`actual` {meaning}.") for name, meaning in COMPARISONS.items()]
    return (
        "# Kinds of nodes and steps\n\n"
        "`type` of a node in a flow and of a step in a workflow names one of these; the parameters stand in `params` of a node, in `config` of a step. "
        "In a flow a text may hold `${ JavaScript }`, in a workflow `{{ expression }}`; parameters that are JavaScript themselves are taken as they stand. "
        "A parameter that the kind does not have is refused; one that only older definitions have is warned of. "
        "A node that fails takes its edge `error`, or `timeout` when it took too long (`States.Timeout`); `retry` may try it again before. "
        "Beside the errors below every kind has `States.Timeout`, `FlowRunner.SecretNotFound`, `FlowRunner.ScriptError` for an expression (in a workflow "
        "`FlowRunner.InvalidParameters`), `States.DataLimitExceeded` for a result that is [too large](limits.md), and `FlowRunner.OutcomeUnknown` when the server died in the middle.\n\n"
        'A state machine calls a kind as a task: its `Resource`, with the parameters `{"params": {...}, "input": ...}`; the result is `{"output": ..., "action": ...}`.\n\n'
        "More kinds come as plug-ins: a package with an entry point of the group `flowrunner.nodes`, whose name is the kind's.\n\n"
        + _table(("Kind", "What it does"), [(f"[`{info.name}`](#{re.sub('[^a-z0-9_-]', '', info.name)})", info.title) for info in KINDS])
        + "\n"
        + "".join(map(_kind, KINDS))
        + f"## Comparisons of assertions\n\n{_table(('Type', 'Holds when'), assertions)}"
    )


# --- errors


def error_classes() -> list[type[FlowRunnerError]]:
    """Every public error that FlowRunner raises on purpose, in all its modules."""
    for found in pkgutil.walk_packages(flowrunner.__path__, "flowrunner."):
        if not found.name.endswith(("__main__", "function_worker")) and ".testing" not in found.name:
            importlib.import_module(found.name)

    def below(kind: type[FlowRunnerError]) -> Iterator[type[FlowRunnerError]]:
        yield kind
        for part in kind.__subclasses__():
            yield from below(part)

    return [kind for kind in below(FlowRunnerError) if kind is not aws_faults.AwsFault and not kind.__name__.startswith("_")]


def state_errors() -> list[str]:
    """The error names that FlowRunner itself gives to a failed state."""
    own = [
        value
        for module in (faults, secrecy, calls, node_kind, task, batches)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and value.startswith(("States.", "FlowRunner."))
    ]
    of_kinds = [error for info in KINDS for error, _ in info.errors if error.startswith("FlowRunner.")]
    return sorted({*own, *of_kinds, "FlowRunner.AccountDeleted", "FlowRunner.Cancelled", "FlowRunner.EgressRefused", "FlowRunner.MissingExtra"})


def errors() -> str:
    """Every error code."""
    by_code: dict[str, type[FlowRunnerError]] = {}
    for kind in error_classes():
        by_code.setdefault(kind.code, kind)
    rows = [
        (_code(code), kind.status, kind.fault, _code(AWS_CODES[code]) if code in AWS_CODES else NO, _first_line(kind)) for code, kind in sorted(by_code.items())
    ]
    plain = [(_code(code), status) for status, code in sorted(problems._CODES.items())]  # noqa: SLF001  # the table is the truth
    special = (
        ("`host_not_allowed`", 403, "A development server was called by a name that is not this machine's."),
        ("`origin_not_allowed`", 403, "A web page of an origin that is not allowed calls."),
        ("`draining`", 503, "The server is stopping (`/readyz`)."),
        ("`idempotency_key_reused`", 422, "The Idempotency-Key was used for another request."),
        ("`request_in_progress`", 409, "The first request with this Idempotency-Key is not answered yet."),
        ("`store_unavailable`", 503, "The store does not answer."),
        ("`internal_error`", 500, "Something unexpected; the server's log has the reason under the `trace_id`."),
    )
    return (
        "# Errors\n\n## Errors of FlowRunner\n\n"
        "`code` is stable. *Fault* says who must act. The AWS endpoint answers with the code of the AWS column, "
        "or `InternalFailure` where there is none; the REST API answers `application/problem+json` with the code and the HTTP status. "
        "A thing that is absent is `StateMachineDoesNotExist`, `ExecutionDoesNotExist`, `ActivityDoesNotExist` or `ResourceNotFound` on the AWS endpoint.\n\n"
        f"{_table(('Code', 'HTTP', 'Fault', 'AWS', 'Meaning'), rows)}\n"
        "An error of a JSONata expression has JSONata's own code, such as `T1006`.\n\n"
        "## Further codes of the REST API\n\n"
        f"{_table(('Code', 'HTTP', 'Meaning'), special)}\n"
        f"Plain HTTP errors have these codes: {', '.join(f'{code} ({status})' for code, status in plain)}.\n\n"
        "## Common errors of the AWS endpoint\n\nBeside the errors that each operation declares:\n\n"
        + "".join(f"- `{name}`\n" for name in sorted({*aws_faults.COMMON, "ValidationException", "ServiceUnavailable"}))
        + "\n## Errors of states\n\n`Retry` and `Catch` match these names; the `FlowRunner.` names are this product's own. "
        "`States.Runtime` is never retried or caught. `States.ALL` matches every other name but `States.DataLimitExceeded`; `States.TaskFailed` matches as `States.ALL` does, but not `States.Timeout`.\n\n"
        + "".join(f"- `{name}`\n" for name in state_errors())
    )


# --- limits

_LIMIT_MEANINGS = {
    "payload_bytes": "Input or output of an execution or a state, or the variables that one state assigns, UTF-8 bytes",
    "variable_bytes": "All variables of an execution, UTF-8 bytes",
    "history_events": "Events in the history of one execution",
    "definition_bytes": "A definition",
    "request_bytes": "A request to the AWS endpoint",
    "name_characters": "Names of state machines, executions and activities",
    "transitions_per_step": "Transitions of one step; a longer chain of states is several steps",
    "inline_map_concurrency": "Iterations of an inline Map at once",
}


def limits() -> str:
    """Both limit profiles, and what is fixed."""
    profiles = list(PROFILES.values())
    names = [part.name for part in fields(profiles[0]) if part.name != "name"]
    shown = [*profiles, *(one.of_flows() for one in profiles)]
    rows = [(_code(name), _LIMIT_MEANINGS[name], *(_size(getattr(one, name)) if getattr(one, name) else "none" for one in shown)) for name in names]
    fixed = (
        ("Items of a page of the AWS endpoint", PAGE_SIZE.most),
        ("Items of a page of `/api/v2/workflows/runs`", page.MAX_LIMIT),
        (
            "Bytes of the body of a request to the REST API, and so of a definition or an input in it; larger ones of state machines go to the AWS endpoint",
            _size(rest_app.MAX_BODY_BYTES),
        ),
        ("Bytes of a test case, a group of them, an action template or an environment", _size(records.MOST_BYTES)),
        ("Tags of a resource", MOST_TAGS),
        ("Nesting of a JSON document, whether input, body, definition or result of a task", MAX_DEPTH),
        ("Seconds of a Wait, a timeout or a heartbeat", f"{enter.LONGEST_WAIT_SECONDS:,}"),
        ("Iterations of a distributed Map at once", groups.DISTRIBUTED_CONCURRENCY),
        ("Seconds that GetActivityTask waits for a task", f"{ACTIVITY_POLL_SECONDS:g}"),
        ("Seconds of an HTTP task", f"{client.DEFAULT_SECONDS:g}"),
        ("Redirects of an HTTP request", client.MAX_REDIRECTS),
        ("Ports an HTTP task may call without an exception", ", ".join(map(str, sorted(egress.DEFAULT_PORTS)))),
        ("Bytes of a result of a registered function", _size(invokers.MAX_RESULT_BYTES)),
        ("Worker processes, unless set", worker_pool.DEFAULT_SIZE),
        ("Scripts that run at once", pool.DEFAULT_SIZE),
        ("Seconds of a script, unless its node says otherwise", calls.ScriptLimits().milliseconds // 1000),
        ("Memory of a script", _size(calls.ScriptLimits().memory_bytes)),
        ("Bytes of what a script returns", _size(calls.ScriptLimits().output_bytes)),
        ("Lines that a script logs", calls.ScriptLimits().log_lines),
        ("Bytes of a line that a script logs", _size(calls.ScriptLimits().log_line_bytes)),
        ("Characters of an error's cause", f"{MAX_CAUSE_CHARACTERS:,}"),
        ("Characters of an error's name", MAX_ERROR_CHARACTERS),
        ("Seconds a subscriber of a stream may take for one message", f"{sessions.SEND_SECONDS:g}"),
        ("Seconds between the keep-alive comments of a stream of server-sent events", f"{eventstreams.KEEP_ALIVE_SECONDS:g}"),
        ("Seconds that a long poll of a stream waits", f"{eventstreams.LONGEST_POLL_SECONDS:g}"),
        ("Bytes of a WebSocket message from a client", _size(protocol.MAX_MESSAGE_BYTES)),
        ("Fragments of a WebSocket message from a client", f"{protocol.MAX_FRAGMENTS:,}"),
        ("Bytes that wait for one WebSocket before nothing more is written to it", _size(protocol.BUFFERED_BYTES)),
        ("Bytes of a message to `/api/v1/ws`", _size(socket_v1.LARGEST_BYTES)),
        ("`data` of an event of a webhook, as JSON", _size(MOST_DATA_BYTES)),
        ("Executions that one socket at `/api/v1/ws` follows", f"{socket_v1.MOST_SUBSCRIPTIONS:,}"),
        ("Versions of a flow, a workflow or a test case", f"{MOST_VERSIONS:,}"),
        ("Test cases that one request to run a group begins", testgroups.MOST_TESTS),
        ("Schedules of an account", f"{MOST_SCHEDULES:,}"),
        ("Webhooks of an account", MOST_WEBHOOKS),
        ("Bytes of a secret's value", _size(MAX_VALUE_BYTES)),
    )
    return (
        "# Limits\n\nThe setting `limits` chooses one of two profiles. Flows and workflows are no format of AWS and have wider limits.\n\n"
        f"{_table(('Limit', 'Of what', *(_code(one.name) for one in profiles), *(f'{_code(one.name)}, flows and workflows' for one in profiles)), rows)}\n"
        f"These hold in both profiles:\n\n{_table(('Of what', 'Limit'), fixed)}"
        "\n## Requests\n\nToken buckets of an account, as AWS has them in its larger regions. They hold in the profile `aws` without `dev`, and wherever the setting "
        "`request_rates` says `aws`; an operation that is not listed has none.\n\n"
        f"{_table(('Operation', 'At once', 'More each second'), [(_code(name), rate.bucket, f'{rate.per_second:g}') for name, rate in AWS_RATES.items()])}"
    )


# --- interfaces


def aws_operations() -> str:
    """Every operation of Step Functions, implemented or not."""
    there = [operation for name, operation in OPERATIONS.items() if name in HANDLERS]
    absent = [name for name in OPERATIONS if name not in HANDLERS]
    rows = [(_code(operation.name), _code(operation.permission), _codes(operation.errors)) for operation in there]
    return (
        f"# AWS operations\n\n`POST /` with `X-Amz-Target: AWSStepFunctions.OPERATION`. {len(there)} of the {len(OPERATIONS)} operations of Step Functions are implemented.\n\n"
        f"## Implemented\n\n{_table(('Operation', 'Permission', 'Errors it declares'), rows)}\n"
        "## Not implemented\n\nThese are answered with `UnsupportedOperation`:\n\n" + "".join(f"- `{name}`\n" for name in absent)
    )


class _Nothing:
    """Stands for every service: the handlers are only looked at."""

    def __getattr__(self, name: str) -> _Nothing:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def _handlers() -> list[Any]:
    nothing = cast("Any", _Nothing())
    return [
        *health.routes(store=nothing, stopping=nothing, clock=nothing, metrics=None),
        *openapi.routes(()),
        *asyncapi.routes(),
        *flows.routes(nothing),
        *executions.routes(nothing),
        *schedules.routes(nothing),
        *webhooks.routes(nothing),
        *plugins.routes(nothing),
        *workflows.routes(nothing),
        *environments.routes(nothing),
        *templates.routes(nothing),
        *testcases.routes(nothing),
        *testgroups.routes(nothing),
        *runs.routes(executions=nothing, region="", authoring=nothing),
        *streams.routes(nothing, nothing, nothing),
        *eventstreams.routes(nothing, nothing, nothing),
        *socket_v1.routes(nothing, nothing, nothing),
        *accounts.routes(nothing, registration="closed"),
        *users.routes(nothing),
        *credentials.routes(nothing),
        *secrets.routes(nothing),
    ]


def routes() -> list[tuple[str, str, str, str]]:
    """Method, path, permission and meaning of every route."""
    found = [("POST", "/", "by operation", "The AWS endpoint: see [AWS operations](aws-operations.md).")]
    for handler in _handlers():
        for path in sorted(handler.paths):
            method = ", ".join(sorted(getattr(handler, "http_methods", None) or ["WebSocket"]))
            found.append(
                (method, path.replace(":str", "").replace(":path", ""), handler.opt["permission"], _first_line(getattr(handler.fn, "value", handler.fn)))
            )
    return found


def permissions() -> str:
    """Every permission, and the roles that have it."""
    rows = [(_code(one), *("yes" if one in role_permissions(role) else "" for role in Role), "yes" if one in OPERATOR else "") for one in Permission]
    return (
        "# Roles and permissions\n\nA user has one role in its account. An API token can be limited to some of its user's permissions (`flowrunner key create --kind token --scope`). "
        "An operator, the first user of a store, also has those of the last column; they are about all accounts. "
        "[HTTP routes](http.md) and [AWS operations](aws-operations.md) say which permission each needs.\n\n"
        + _table(("Permission", *(str(role) for role in Role), "operator"), rows)
    )


_RULES = """`/openapi.json` is the whole contract as OpenAPI 3.1, written from the same routes: bodies, parameters, answers and every status; `/docs` shows it as a page
that loads nothing from elsewhere. `/asyncapi.json` is the contract of the live sockets as AsyncAPI 3.0: see [stream messages](stream-messages.md).

- **Problems** are `application/problem+json` with a stable `code`; `errors[]` say what is wrong and where: a JSON `pointer` into the body, `line` and `column` of the body as it was sent (of a definition that was sent as a text: of that text; 0 where the body does not have what is wrong), `code`, `severity`, `detail`, and in `hint` what would mend it. See [errors](errors.md).
- **Pages**: `?limit=` (1 to 1000) with `?cursor=`, which the answer before gave (`next_cursor`, `Link: rel="next"`), or with `?offset=`.
- **`ETag`** counts the changes of a flow, workflow, schedule, webhook or secret: of a flow or workflow those of its text and of its metadata (its versions count texts
  alone), of a schedule what its author changed, not that it came about. What changes nothing is not counted. Only what would be replaced has one: an earlier version
  has none. `If-None-Match` is not looked at. With `If-Match: "3"` a write that finds another version is answered 412 (409 for secrets) and changes nothing.
- **`Idempotency-Key`** (up to 255 visible characters) on a POST that makes or begins something: sent again within 24 hours, the request is answered as the first time, with
  `Idempotency-Replayed: true`; another request with the same key is answered 422, one that comes before the first is answered 409. Keys are the account's own.
  When a server dies before it has answered a start, the request that is sent again is answered with the execution that was begun, or begins it; never a second one. Of
  other requests nobody can know what became of them: they are answered 409 for up to a minute.
- **`RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset`** and `RateLimit-Policy` (`20;w=2`: 20 requests, back within 2 seconds) are on every answer of a route whose
  requests are counted ([limit profiles](../topics/limit-profiles.md)): the tightest quota of the account on this server. `Reset` is the seconds until all of it is back; once
  nothing remains, until the next request passes, which a 429 also says in `Retry-After`.
- **Times** are RFC 3339 in UTC with milliseconds.

"""


def http() -> str:
    """Every route."""
    rows = [(method, _code(path), permission, meaning) for method, path, permission, meaning in routes()]
    return (
        "# HTTP routes\n\nA route without a permission does not exist: the server does not start with one. `public` needs no credential. "
        "Every answer has an `x-request-id`; a request's own `x-request-id` is kept.\n\n"
        + _RULES
        + _table(("Method", "Path", "Permission", "Meaning"), rows)
        + "\nStatuses of a run: "
        + ", ".join(f"`{exact}` is `{shown}`" for exact, shown in V2_STATUS.items())
        + ".\n"
    )


_CLOSE_CODES = (
    (sessions.NORMAL, "The run has ended and everything was sent, or the client went away."),
    (sessions.FAILED, "The server failed, and its log says why; or no PONG came in time."),
    (sessions.RESTARTING, "The server stops; come back with `?after=`."),
    (sessions.BAD_REQUEST, "`after` is not a sequence number."),
    (sessions.LET_OUT, "The credential has expired or was revoked."),
    (sessions.UNKNOWN_RUN, "There is no such run."),
    (sessions.TOO_SLOW, "The client reads too slowly; come back with `?after=`."),
)
BARE = re.compile(
    r"^ParallelState(?!E)|Aborted$(?<!^ExecutionAborted)(?<!IterationAborted)|^MapState(Succeeded|Failed)$|^MapRunSucceeded$|^LambdaFunctionStarted$"
)  # no details


def _members_of(shape: type[Any]) -> str:
    return _codes(members(shape))


def streams_page() -> str:
    """Every type of stream message."""
    rows = [(_code(kind), _codes(events), _members_of(shape_of(kind))) for kind, events in events_of().items()]
    notes = [(_code(kind), _members_of(shape), _first_line(shape)) for kind, shape in PAYLOADS.items()]
    said = [(_code(kind), _code(member) if member else "", meaning) for kind, (member, _, meaning) in SAID.items()]
    return (
        "# Stream messages\n\n"
        "`GET /api/v2/workflows/runs/{run}/stream`, as WebSocket (one JSON message per frame), as server-sent events, or with `?wait=25s` as one answer "
        "as soon as there is something new. "
        "`?after=SEQ` leaves out what is not after that sequence number; a returning EventSource's `Last-Event-ID` does the same.\n\n"
        "While the run goes on, `SEQ` may be ahead of it: the stream starts once it is passed. When the run has ended, a `SEQ` beyond its "
        "last sequence number is answered 400 with a problem that names the last one; a WebSocket is not opened then.\n\n"
        "| Member | Meaning |\n| --- | --- |\n"
        "| `runId` | The run. |\n| `type` | See below. |\n| `payload` | What is told, by type. |\n"
        "| `detail` | What is told beyond the payload, where there is more. |\n"
        "| `seq` | Place in the run's log, which counts from 1 without a gap. `end` has none, nor has the `status` of a node; a flow's or workflow's stream leaves out the places of history events. |\n"
        f"| `ts` | When it happened, RFC 3339 in UTC. |\n| `v` | Version of the message, {messages.VERSION}. |\n\n"
        "`/asyncapi.json` is all of this as AsyncAPI 3.0, with the JSON Schema of every message.\n\n"
        "## Of flows and workflows\n\n"
        f"{_table(('Type', 'Members of `payload`', 'Meaning'), notes)}\n"
        "Members that say nothing are left out: `iteration` outside of loops, `error` and `cause` where nothing failed. "
        "`?history=1` adds the messages of state machines, which stand below.\n\n"
        "Right before each `step_start` a `status` tells that the run has come to that step. It is made of the same record and has no `seq` of its own: "
        "who comes back with `?after=` and the last `seq` gets it again with its `step_start`, if that was not seen.\n\n"
        "## A snapshot instead of the past\n\n"
        f"`?snapshot=1` begins a stream not with the past but with one `{SNAPSHOT}`: how the run stands. Then comes what happens, without a hole and without anything twice: "
        "the `seq` of the snapshot, as server-sent event its `id`, is the last place it speaks of. What steps said, and what they were given and gave, is not in it; "
        "`GET /api/v2/workflows/runs/{run}/steps` and `/logs` have that. Its size is that of the definition and its variables, not that of the log.\n\n"
        f"A step of it: {_members_of(StandingStep)}. It runs while it is entered anywhere, and `duration` is null; otherwise `status` and `duration` are those of the time that ended last. "
        "`startTime` is when it was entered last, `entered` how often; neither of one that was skipped. The steps of a state machine are its states; it has no `progress`.\n\n"
        "With `?after=SEQ` too, it stands for what was stored behind `SEQ`: where that is nothing, the stream goes on without one. "
        "An EventSource that returns by itself (`Last-Event-ID`) gets what it lacks, and no snapshot.\n\n"
        "There is no `gap`: a stream leaves nothing out, but what a snapshot says. A client that reads too slowly is closed with 4408 and comes back "
        "with `?after=`, or with `?after=` and `?snapshot=1` to be brought up to date by one message.\n\n"
        "## Of state machines\n\n"
        "`payload` has `eventType`, `eventId`, `previousEventId`, `stateType` where there is a state, and the details of the history event. "
        "Which state a run has come to is told by `state_entered`; there is no `status` beside it.\n\n"
        f"{_table(('Type', 'History events', 'Details'), rows)}\n"
        "`snapshot` and `end` are as above.\n\n"
        "As server-sent events `id` is the sequence number, and the last message is of the event type `end`. "
        f"`?wait=` takes up to {eventstreams.LONGEST_POLL_SECONDS:g}s and answers `{{runId, messages, lastSeq, ended}}`: go on with `?after=` and that `lastSeq` until `ended` is true.\n\n"
        f"## Close codes of the WebSocket\n\n{_table(('Code', 'Meaning'), _CLOSE_CODES)}"
        "\n## Many executions on one socket: `/api/v1/ws`\n\n"
        f'A client sends `{{"type": "subscribe", "execution_id": "..."}}`, `unsubscribe` alike, and `{{"type": "ping"}}`. '
        'A subscription begins with the past: each status and log line there was. `"past": false` begins with the status as it is now, `"after": SEQ` behind that sequence number. '
        "To subscribe again changes nothing. `execution_id` `*` stands for all executions of the account: statuses without results, from now on, "
        "of those that the node moves to which the socket is connected.\n\n"
        "Messages have `type`, `execution_id`, `timestamp`, where it applies `seq` and `node_id`, and:\n\n"
        f"{_table(('Type', 'Member', 'Meaning'), said)}"
        f"\nThe server sends a PING each {PING_SECONDS:g} s and closes a socket whose client has sent no PONG for {PONG_SECONDS:g} s "
        "(`socket_ping_seconds`, `socket_pong_seconds`). Messages are not compressed.\n\n"
        "## What a socket refuses\n\n"
        "All 301 cases of Autobahn|Testsuite without compression pass but these, which are refused on purpose:\n\n"
        f"- A message above {protocol.MAX_MESSAGE_BYTES // 1024} KiB or of more than {protocol.MAX_FRAGMENTS} fragments: closed with 1009. "
        "Cases 9.1.2 to 9.1.6, 9.2.2 to 9.2.6, and all of 9.3 to 9.6, which send 256 KiB to 16 MiB; with higher limits they pass.\n"
        "- A close within a message, between its fragments: closed with 1002 instead of the client's own code, because the message will never be whole. Case 7.1.5.\n\n"
        "A text that is no UTF-8 is refused with 1007 when its last byte has come, not before.\n"
    )


def history_events() -> str:
    """Every type of history event."""
    rows = [(_code(event), NO if BARE.search(event) else _code(details_key(event)), _code(messages.type_of(event))) for event in event_types()]
    return (
        "# History events\n\nThe events of `GetExecutionHistory`, with the names and shapes of Step Functions. "
        "`id` counts from 1 without a gap; `previousEventId` names the event that led to this one. "
        "Some events have no details.\n\n" + _table(("Type", "Details", "Stream type"), rows)
    )


# --- flows


def _member_rows(members: fields_of_flows.Members) -> Iterator[tuple[str, str, str, str]]:
    for name, member in members.items():
        kind = " or ".join(map(_code, member.type)) if isinstance(member.type, tuple) else FLOW_TYPES[member.type]
        default = (
            "required"
            if member.required
            else NO
            if member.default is None
            else _code(member.default if isinstance(member.default, str) else orjson.dumps(member.default).decode())
        )
        yield _code(name), kind, default, member.meaning


FLOW_TYPES = {
    "text": "text",
    "script": "JavaScript",
    "object": "object",
    "flag": "true or false",
    "texts": "list of texts",
    "version": "text or number",
    "count": "whole number",
    "percent": "number, 0 to 100",
    "limit": "duration of more than nothing",
    "duration": "duration",
    "edges": "actions and nodes, or one node for all actions",
    "any": "any value",
}
METADATA_RULES = """
A new flow has the metadata of its text. Another text (`PUT`) changes those that it says otherwise than the text before, `custom` member by member; what it
says no more is as if it had never been said. So what was changed beside the text (`PATCH .../metadata`) stays as long as the text says the same. Another `name`
renames the flow, whose id stays.
""".strip()
RETRIED = """
Every error is tried again but `States.Runtime` and `States.DataLimitExceeded`, which would come again. So is what is no error of the node but tells of one: an
answer 500 to 599 of an `http.request`, an exit code other than 0 of a `command`. The hooks `exec` and `post` run only
for an answer that is not tried again. After the last retry the action picks the edge as without `retry`.
""".strip()
FLOW_PARTS: tuple[tuple[str, str, fields_of_flows.Members], ...] = (
    (
        "The flow",
        "Members whose names begin with `x-` are the author's own, for YAML anchors. An alias stands for a whole value: YAML 1.2 has no merge key `<<`.",
        fields_of_flows.FLOW,
    ),
    ("`metadata`", METADATA_RULES, fields_of_flows.METADATA),
    ("A node", "", fields_of_flows.NODE),
    ("`retry`", RETRIED, fields_of_flows.RETRY),
    (
        "`batch`",
        "For the batch kinds `max_parallel` and `batch_size` join those of the parameters, and the smaller counts; `items` of the parameters come before those here. Where a batch is one item (`worker_pool`, `item_script`) `batch_size` has no effect.",
        fields_of_flows.BATCH,
    ),
    ("`hooks`", "", fields_of_flows.HOOKS),
)
FLOW_RULES = """
## Where it starts and ends

A flow starts at the only node that no edge of another node points to, or at the one that `start` names. Edges may lead back.
It ends behind a node whose action has no edge, and then it is completed. A node that no execution comes to is a warning.

## Input and results

The input of a node is the input of the execution with what the nodes before it returned: the members of an object join it, a later one of the
same name replaces an earlier one, and any other value stands under the name of its node. An input that is no object is its member `input`.
`results.NODE` is what a node returned by itself (a `delay`, `wait` or `merge` that only waits: its input), `shared` is one object for the whole execution, `variables` are constants.

## Actions

The action of a node picks the edge of `next`. A condition's action is what it returns: a text is the action, `true` and `false` are `"true"` and
`"false"`, the `branch` or `branch_decision` of an object is; anything else is `success`. Other kinds say their action themselves, and that is
`success` unless the table below names others. An action without an edge takes `default`. That a node with `retry` or other edges has none for one of its actions is a
warning, and so is an edge that it never takes.

## Failures

A node that failed and is not tried again takes its edge `timeout` if it was out of time, else, or without that edge, `error`. The next node finds
`input.error`: `{error, cause, node, message}`. Without such an edge the execution fails; `default` is not for failures. A run whose failures all
had an edge is completed.

## Sizes

What goes from one node to the next, the input that accumulates with it, and what the execution gives in the end, has at most 4 MiB of JSON; what all nodes returned and
`shared` at most 16 MiB together (16 and 64 MiB with `limits = "open"`). A node that gives more fails with `States.DataLimitExceeded`: the message names node, size
and limit, and the `error` edge is taken. Of batches that run at once, so many begin as have 32 MiB together. A history has at most 1,000,000 events
(any number with `limits = "open"`), some five for each node or batch: give a flow whose edges lead back a `timeout`. [Limits](limits.md) lists all numbers.

## Durations and expressions

A duration is a number of seconds, or a text with units: `ns`, `us`, `ms`, `s`, `m`, `h`, `d`, together as in `1m30s`. Less than a millisecond is one.
`${ javascript }` in the texts of `params` is evaluated in the task, where secrets can be read; a text that is one expression becomes its value.
Scripts are JavaScript as it is: what looks like an expression in them is theirs.

## Waiting

`delay` and `wait` hold nothing but a row in the store. A `wait` for a condition looks at once and then after each `interval`; the script finds
`attempt`, from 1. It gives `{met, attempts}` and takes `timeout` after `max_attempts` looks or after its `timeout`, when it has looked once more.

## Batches

Each batch is a task of its own, with the node's `retry` and the `timeout` of its parameters. Its script finds the node's input with `items` and
`batch` (the items of this batch) and `batch_index`; where a batch is one item also `item` and `index`. A batch that fails for good is lost, not the others. The log and the stream tell each retry and each loss, with the number of the batch.
A node that ends with the action `client_error`, `server_error`, `not_found` or `error` has failed for its batch, by `FlowRunner.NodeFailed`, and its `retry` tries again.
Batches one after another may write to `shared`: each sees what the ones before it wrote. Those that run at once can only read it; writing is a `FlowRunner.ScriptError`.
The node succeeds when one batch did or there was none. It fails when all are lost: by `States.Timeout` when each was out of time, else by
`FlowRunner.BatchFailed`; with `fail_fast` as soon as one is lost, by the error of that one. Its edge finds the members below as well.

| Member | Meaning |
| --- | --- |
| `batch_results` | What the batches gave, in order: lists, and lists that are the `batch_results` of an object, as one list. |
| `failed_items` | The items of lost batches, each with `error`; an item that is no object as `{item, error}`. |
| `failed_batches` | The lost batches: `{batch_index, items, error, cause}`. |
| `success_count`, `failed_count` | Items of batches that succeeded, and of those that are lost. |
| `success_rate` | The share of items that succeeded, in percent. |
| `batch_size` | Items of one batch. |
| `left_out` | Behind a failure that would have more than there is room for: how much of each list above has been left out. The causes have 200 characters then. |
| `skipped_items` | With `fail_fast`, behind a failure: items of batches that were not begun or were given up. |
| `total_count` | Items there were. In the input of the next node one stays that no batch node has put there. |

## Progress

On entering a node the progress is what its `progress` says, else the share of nodes passed of those and the longest way that is left. It never falls.
"""


def flow_format() -> str:
    """The YAML of flows."""
    parts = "".join(
        f"\n## {title}\n\n{f'{text}{chr(10) * 2}' if text else ''}{_table(('Member', 'Type', 'Default', 'Meaning'), _member_rows(members))}"
        for title, text, members in FLOW_PARTS
    )
    usable = [kind for kind in KINDS if kind.name not in NOT_IN_FLOWS]
    kinds = _table(
        ("Kind", "What it does", "Actions"),
        [(_codes((kind.name, *kind.aliases)), kind.description, _codes(kind.actions) or "any") for kind in usable],
    )
    return (
        "# Flow format\n\nA flow is YAML 1.2 (or JSON) of at most 1 MiB: nodes by their names, each with the nodes that may follow it. "
        "Anything it does not know is refused, with line and column. Its JSON Schema is [flow.schema.json](flow.schema.json), "
        "as `flowrunner schema flow` prints it; with this first line editors complete and check by it: "
        "`# yaml-language-server: $schema=flow.schema.json`.\n"
        f"{parts}{FLOW_RULES}\n## Kinds of nodes\n\n{kinds}"
    )


PAGES: dict[str, Callable[[], str]] = {
    "flow-format.md": flow_format,
    "settings.md": settings,
    "commands.md": commands,
    "http.md": http,
    "permissions.md": permissions,
    "aws-operations.md": aws_operations,
    "stream-messages.md": streams_page,
    "history-events.md": history_events,
    "errors.md": errors,
    "node-kinds.md": node_kinds,
    "limits.md": limits,
    "metrics.md": metrics,
}


def written() -> dict[str, str]:
    """Every page's name and text, and the published schema."""
    pages = {}
    for name, make in PAGES.items():
        title, _, rest = make().partition("\n")
        pages[name] = f"{title}\n\n{WRITTEN}\n{rest}"
    pages["workflow.schema.json"] = f"{output.as_json(workflow_schema(KINDS))}\n"
    pages["flow.schema.json"] = f"{output.as_json(flow_schema(KINDS))}\n"
    return pages


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` tell which are not as they would be written."""
    stale = [name for name, text in written().items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/reference/{name} is not what the code says; run scripts/write_reference.py", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(written()[name], encoding="utf-8")
        print(f"docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
