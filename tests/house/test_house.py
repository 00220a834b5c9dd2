"""The house rules a machine can check: sizes, names, the public surface, what may not stand in the source."""

import ast
import re
from pathlib import Path

import pytest

import flowrunner

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MOST_LINES = 400
CLOCK_AND_CHANCE = {"time", "random", "uuid"}
# Modules that may read a clock or draw at random: the seams themselves, and edges whose values never enter an execution.
SEAMS = {"clock.py", "entropy.py", "engine/driver.py", "lang/jsonata/values.py", "lang/jsonata/expression.py", "wiring.py"}
FORBIDDEN_CALLS = {"eval", "exec"}


def where(path):
    return path.relative_to(ROOT / "src" / "flowrunner").as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=where)
def test_a_file_is_one_idea(path):
    """No source file has more than 400 lines."""
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", SOURCES, ids=where)
def test_no_text_is_run(path):
    """No eval, no exec, no pickle: what users write is data."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{path}:{node.lineno}"
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] not in ("pickle", "marshal", "shelve") for alias in node.names), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", [path for path in SOURCES if where(path).split("/")[0] in ("core", "lang", "asl", "flow", "reading")], ids=where)
def test_the_core_reads_no_clock(path):
    """core, lang, reading, asl and flow import nothing that has the time, chance, the system or the event loop in it."""
    if where(path) in SEAMS:
        return
    assert not re.search(r"datetime\.(now|utcnow|today)|date\.today", path.read_text())
    banned = CLOCK_AND_CHANCE | {"asyncio", "os", "logging", "threading", "socket", "subprocess", "secrets"}
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & banned, f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", [path for path in SOURCES if where(path).split("/")[0] == "engine"], ids=where)
def test_the_engine_takes_time_from_its_clock(path):
    """The engine waits on the clock it was given, so a test can move it."""
    text = path.read_text()
    assert not re.search(r"\btime\.(time|monotonic|sleep)|datetime\.now|asyncio\.sleep\((?!0\))", text)


def test_crash_points_stand_only_in_the_shell():
    """Every named point is hit in the engine, once each but the commit, and nowhere else."""
    from flowrunner.engine.points import POINTS

    hits = [(where(path), name) for path in SOURCES for name in re.findall(r"_point\((\w+)\)", path.read_text())]
    assert {place.split("/")[0] for place, _ in hits} == {"engine"}
    assert len({name for _, name in hits}) == len(POINTS)


def test_no_vague_names():
    """No module is called utils, helpers, common or manager."""
    assert not [path for path in SOURCES if path.stem in ("utils", "util", "helpers", "helper", "common", "manager", "misc")]


def test_the_public_surface():
    """What `import flowrunner` offers, exactly."""
    assert sorted(flowrunner.__all__) == ["__version__"]


def test_the_root_is_clean():
    """Only files that belong there stand in the root."""
    expected = {"README.md", "LICENSE", "Makefile", "pyproject.toml", "requirements.lock", "mkdocs.yml", "CHANGELOG.md"}
    assert {path.name for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")} <= expected


def test_no_host_or_machine_in_the_text():
    """The project speaks of itself alone: no machine paths."""
    tracked = [path for folder in ("src", "tests", "docs", "examples", "scripts", "bench") for path in (ROOT / folder).rglob("*") if path.is_file()]
    needle = re.compile(r"/(?:w)ork/|/(?:r)oot/\.pyenv")
    for path in tracked:
        if path.suffix in (".py", ".md", ".json", ".toml", ".sql", ".yml", ".yaml", ".sh"):
            assert not needle.search(path.read_text()), path
