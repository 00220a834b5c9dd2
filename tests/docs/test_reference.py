"""The reference is what the code says, and it says everything."""

import ast
import importlib.util
import re

import boto3
import pytest
import typer
from doc_blocks import PAGES, ROOT, name_of

from flowrunner import config
from flowrunner.api.aws.handlers import HANDLERS
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.cli.main import app
from flowrunner.config.variables import known_variables
from flowrunner.core.records import details_key
from flowrunner.kinds import KINDS
from flowrunner.limits import PROFILES
from flowrunner.telemetry.names import METRICS, PREFIX

REFERENCE = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "flowrunner"
SCRIPT = ROOT / "scripts" / "write_reference.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("write_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(page):
    return (REFERENCE / page).read_text()


def test_the_pages_are_what_the_script_writes_now(script):
    """Nobody changed a page by hand, or a table without its page."""
    written = script.written()
    assert {page.name for page in REFERENCE.glob("*.md") if script.WRITTEN in page.read_text()} == {name for name in written if name.endswith(".md")}
    for name, text in written.items():
        assert text_of(name) == text, f"docs/reference/{name}: run scripts/write_reference.py"


def test_check_says_when_a_page_is_stale(script, tmp_path, monkeypatch, capsys):
    """`--check` writes nothing and tells by its exit code."""
    assert script.main(["--check"]) == 0
    monkeypatch.setattr(script, "FOLDER", tmp_path)
    assert script.main(["--check"]) == 1
    assert "settings.md" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_command_and_option_is_documented():
    """Commands, options and arguments of the command line."""
    text = text_of("commands.md")
    group = typer.main.get_command(app).commands
    commands = {name: command for name, command in group.items() if not hasattr(command, "commands")}
    commands |= {f"{name} {part}": found for name, command in group.items() if name not in commands for part, found in command.commands.items()}
    assert "db export" in commands
    for name, command in commands.items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for param in command.params:
            for option in param.opts if param.param_type_name == "option" and param.name != "help" else []:
                assert f"`{option}" in section, f"{name} {option}"


def test_every_setting_is_documented():
    """Keys and variables."""
    text = text_of("settings.md")
    for row in config.SETTINGS:
        for shown in (row.file_key, *row.variables):
            assert f"`{shown}`" in text
    for key in config.FUNCTION_KEYS:
        assert f"`{key}`" in text
    sources = [path for path in SOURCE.rglob("*.py") if "testing" not in path.parts]
    variables = set(re.findall(r"[\"'](FLOWRUNNER_[A-Z_]+)[\"']", "".join(path.read_text() for path in sources)))
    assert "FLOWRUNNER_POSTGRES_HOST" in variables
    for variable in variables:
        assert f"`{variable}`" in text, variable


def test_every_route_is_documented():
    """Paths as the source declares them, found without the script."""
    text = text_of("http.md")
    declared = []
    for file in sorted((SOURCE / "api").glob("*.py")):
        names = vars(importlib.import_module(f"flowrunner.api.{file.stem}"))
        for node in ast.walk(ast.parse(file.read_text())):
            for call in node.decorator_list if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) else []:
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("get", "post", "put", "patch", "delete", "websocket"):
                    written = compile(ast.Expression(call.args[0]), str(file), "eval")
                    variants = [{"path": path} for path in names.get("TYPED") or names["PATHS"]] if "path" in written.co_names else [{}]
                    declared += [eval(written, {**names, **variant}) for variant in variants]
    assert len(declared) > 20
    for path in declared:
        shown = path.replace(":str", "").replace(":path", "")
        assert f"`{shown}`" in text, shown


def test_every_error_code_is_documented():
    """Every `code` of an error class and of a problem, found without the script."""
    text = text_of("errors.md")
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name != "AwsFault":
                for part in node.body:
                    target = part.targets[0] if isinstance(part, ast.Assign) else part.target if isinstance(part, ast.AnnAssign) else None
                    if isinstance(target, ast.Name) and target.id == "code" and isinstance(part.value, ast.Constant):
                        assert f"`{part.value.value}`" in text, f"{path}: {part.value.value}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                for word in node.keywords:
                    if word.arg == "code" and isinstance(word.value, ast.Constant):
                        assert f"`{word.value.value}`" in text, f"{path}: {word.value.value}"


def test_every_state_error_is_documented():
    """Every `FlowRunner.` name of a state's failure."""
    text = text_of("errors.md")
    for path in SOURCE.rglob("*.py"):
        for name in re.findall(r"\"(FlowRunner\.[A-Z]\w+)\"", path.read_text()):
            assert f"`{name}`" in text, name


def test_every_metric_and_limit_is_documented():
    """Names of metrics, names of limits."""
    metrics, limits = text_of("metrics.md"), text_of("limits.md")
    assert all(f"`{PREFIX}{row.name}`" in metrics for row in METRICS)
    profile = next(iter(PROFILES.values()))
    assert all(f"`{name}`" in limits for name in profile.__dataclass_fields__ if name != "name")


def test_every_operation_is_documented():
    """Implemented ones above, the others below; together they are AWS's."""
    there, _, absent = text_of("aws-operations.md").partition("## Not implemented")
    for name in OPERATIONS:
        assert f"`{name}`" in (there if name in HANDLERS else absent)
    assert set(OPERATIONS) == set(model().operation_names)


def model():
    client = boto3.client("stepfunctions", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    return client.meta.service_model


def test_every_event_type_is_documented(script):
    """Each is one of AWS's, with AWS's details; each that the machine's source spells out is there."""
    listed = script.event_types()
    details = set(model().shape_for("HistoryEvent").members)
    shown = dict(re.findall(r"^\| `(\w+)` \| (?:`(\w+)`|-) \|", text_of("history-events.md"), re.MULTILINE))
    assert list(shown) == listed
    assert {name for name in shown.values() if name} <= details
    assert not {event for event, name in shown.items() if not name and details_key(event) in details}
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(model().shape_for("HistoryEventType").enum)
    for path in (SOURCE / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("record", "advance"):
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value[:1].isupper():
                        assert argument.value in listed, f"{path}:{node.lineno}"


def test_every_error_shown_by_a_page_exists():
    """A `FlowRunner.` name that a page mentions is one that the code makes."""
    source = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    for page in PAGES:
        for name in re.findall(r"FlowRunner\.[A-Z][a-z]\w+", page.read_text()):
            assert f'"{name}"' in source, f"{name_of(page)}: {name}"


def test_every_setting_a_page_names_exists():
    """A `FLOWRUNNER_` variable that a page mentions is one that the code or its tests read or set."""
    source = "".join(path.read_text() for folder in (SOURCE, ROOT / "tests" / "reliability") for path in folder.rglob("*.py"))
    known = known_variables()
    for page in PAGES:
        for name in re.findall(r"\bFLOWRUNNER_[A-Z_]*[A-Z]\b(?!_\*)", page.read_text()):
            assert name in known or f'"{name}"' in source or f"{name}" in source, f"{name_of(page)}: {name}"


def test_every_kind_of_node_is_documented():
    """Names, aliases, parameters, actions and errors of each."""
    text = text_of("node-kinds.md")
    for info in KINDS:
        section = text.partition(f"\n## `{info.name}`\n")[2].partition("\n## ")[0]
        assert section
        shown = [*info.aliases, *info.parameters["properties"], *info.actions, *(error for error, _ in info.errors)]
        assert [name for name in shown if f"`{name}`" not in section] == [], info.name
