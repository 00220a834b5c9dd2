"""Files with a test case or a test suite: checked, run on a store of their own, each assertion told."""

import json

import pytest

from flowrunner.cli.main import run

WORDS = {
    "testId": "words",
    "name": "Words are counted",
    "variables": {"text": "a test on every push"},
    "steps": [{"id": "count", "type": "transform", "config": {"script": "return {words: variables.text.split(' ').length}"}}],
    "assertions": [{"type": "json_path", "path": "words", "equals": 5, "message": "five words"}, {"type": "gte", "path": "words", "expected": 1}],
}
ECHO = {"testId": "echo", "command": {"cmd": "echo", "args": ["{{greeting}}"]}, "assertions": [{"type": "stdout_contains", "expected": "hello"}]}
SKIPPED = {"testId": "later", "disabled": True, "command": {"cmd": "echo"}}
BROKEN = {"testId": "broken", "steps": [{"id": "a", "type": "transform", "config": {"script": "throw new Error('no such thing')"}}]}


@pytest.fixture
def written(tmp_path):
    def write(document):
        file = tmp_path / "t.json"
        file.write_text(json.dumps(document, indent=1), encoding="utf-8")
        return str(file)

    return write


def test_a_test_that_passes(written, capsys):
    """Each assertion with its verdict on stdout, the sentence on stderr, exit code 0."""
    assert run(["run", written(WORDS)]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("words: passed (")
    assert lines[1:] == ["  passed  five words", "  passed  words is 5; as asserted: gte 1"]
    assert shown.err == "1 of 1 passed.\n"


def test_a_test_that_fails(written, capsys):
    """Exit code 1; which assertion, and why."""
    assert run(["run", written(WORDS), "--input", '{"text": "two words"}']) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1:] == ["  failed  five words", "  passed  words is 2; as asserted: gte 1"]
    assert "0 of 1 passed, 1 failed." in shown.err


def test_a_test_that_cannot_be_judged(written, capsys):
    """What kept it from being judged stands in place of verdicts."""
    assert run(["run", written(BROKEN)]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].startswith("broken: error (")
    assert "no such thing" in shown.out
    assert "1 ended in error" in shown.err


def test_the_result_as_data(written, capsys):
    """One object of a test case, a list of a suite."""
    assert run(["run", written(WORDS), "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["testId"], result["name"], result["status"], result["error"]) == ("words", "Words are counted", "passed", None)
    assert [one["passed"] for one in result["assertions"]] == [True, True]
    assert run(["run", written({"tests": [BROKEN]}), "--json"]) == 1
    [result] = json.loads(capsys.readouterr().out)
    assert (result["status"], result["assertions"], result["error"]["stage"]) == ("error", [], "test")


def test_a_suite(written, capsys):
    """In order; its variables stand below those of each test, those of --input above."""
    suite = {"name": "All", "variables": {"greeting": "hello", "text": "one"}, "tests": [WORDS, ECHO, SKIPPED]}
    file = written(suite)
    assert run(["validate", file]) == 0
    capsys.readouterr()
    assert run(["run", file]) == 0
    shown = capsys.readouterr()
    assert [line.partition(" (")[0] for line in shown.out.splitlines() if not line.startswith(" ")] == ["words: passed", "echo: passed", "later: skipped"]
    assert shown.err == "2 of 3 passed, 1 skipped.\n"
    assert run(["run", file, "--input", '{"greeting": "good-bye"}']) == 1
    assert "1 of 3 passed, 1 failed, 1 skipped." in capsys.readouterr().err


def test_a_run_is_followed_and_bounded(written, capsys):
    """As that of any other file."""
    assert run(["run", written(WORDS), "--follow"]) == 0
    assert "count" in capsys.readouterr().err
    slow = {"testId": "slow", "steps": [{"id": "a", "type": "delay", "config": {"duration": 1, "unit": "m"}}]}
    assert run(["run", written(slow), "--timeout", "0.2"]) == 124


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"tests": []}, "'tests' is missing"),
        ({"tests": [WORDS, WORDS]}, "at /tests/1/testId [DUPLICATE_ID]"),
        ({"tests": [{"command": {"cmd": "echo"}}]}, "'testId' is missing"),
        ({"tests": [WORDS, {**ECHO, "assertions": [{"type": "stdout"}]}]}, "at /tests/1/assertions/0/type [INVALID_VALUE]"),
        (
            {"tests": [{**BROKEN, "steps": [{"id": "a", "type": "script", "config": {"script": "return ("}}]}]},
            "at /tests/0/steps/0/config/script [INVALID_SCRIPT]",
        ),
        ({"tests": [3]}, "at /tests/0 [INVALID_VALUE]"),
        ({"tests": [WORDS], "test": []}, "Did you mean 'tests'?"),
        ({**WORDS, "http": {"url": "https://h"}}, "exclude each other"),
    ],
)
def test_what_is_wrong(document, said, written, capsys):
    """Found before anything runs, at its place in the file."""
    file = written(document)
    assert run(["validate", file]) == 3
    assert said in capsys.readouterr().out
    assert run(["run", file]) == 3


@pytest.mark.parametrize("given", ["[]", "3"])
def test_variables_are_an_object(given, written, capsys):
    """What is given as input are the variables of the test."""
    assert run(["run", written(WORDS), "--input", given]) == 3
    assert "JSON object" in capsys.readouterr().err
