"""The console of scripts: the methods that browsers and Node have, and what stands for values in a text."""

import re

import pytest
from script_calls import script

from flowrunner.tasks.javascript.calls import ScriptFailed
from flowrunner.tasks.javascript.scripts import Scripts


@pytest.fixture
async def scripts(stack):
    made = Scripts(2)
    await made.start(stack)
    return made


async def said(scripts, source):
    lines = []
    await scripts.run(script(source, lines))
    return lines


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ("'%s is %d', 'x', 5", "x is 5"),
        ("'%i %f %d', '12px', '1.5e', '7'", "12 1.5 7"),
        ("'%j %o %O', {a: 1}, [1], {b: 2}", '{"a":1} [1] {"b":2}'),
        ("'%c styled', 'color: red'", " styled"),
        ("'%s', 'a', 'b', 3", "a b 3"),
        ("'%s and %s', 'a'", "a and %s"),
        ("'100%', 'of 5%'", "100% of 5%"),
        ("'%d%%', 5", "5%"),
        ("'%s 100%%'", "%s 100%%"),
        ("5, '%s', 6", "5 %s 6"),
        ("'%d %d', 10n, {}", "10 NaN"),
        ("'%d', Symbol('x')", "[something that cannot be shown]"),
        ("'%x', 1", "%x 1"),
    ],
)
async def test_placeholders(scripts, values, line):
    """Only in the first text, and only as far as there are values."""
    assert await said(scripts, f"console.log({values})") == [("info", line)]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("console.dir({a: 1}, {depth: 0})", [("info", '{"a":1}')]),
        ("console.assert(true, 'no'); console.assert(0, '%s!', 'x'); console.assert()", [("error", "Assertion failed: x!"), ("error", "Assertion failed")]),
        (
            "console.count(); console.count(); console.count('a'); console.countReset(); console.count()",
            [("info", "default: 1"), ("info", "default: 2"), ("info", "a: 1"), ("info", "default: 1")],
        ),
        (
            "console.group('A'); console.log(1); console.group(); console.warn(2); console.groupEnd(); console.groupEnd(); console.groupEnd(); console.log(3)",
            [("info", "A"), ("info", "  1"), ("warn", "    2"), ("info", "3")],
        ),
        ("console.timeEnd('t')", [("warn", "There is no timer 't'.")]),
        ("console.table([{a: 1, b: 'x'}, {b: 2, c: null}])", [("info", "(index) | a | b | c\n0 | 1 | x | \n1 |  | 2 | null")]),
        ("console.table({x: 5, y: {a: 1}})", [("info", "(index) | a | Values\nx |  | 5\ny | 1 | ")]),
        ("console.table([{a: 1, b: 2}], ['b'])", [("info", "(index) | b\n0 | 2")]),
        ("console.table(5); console.table({get a() { throw 1 }})", [("info", "5"), ("info", "[something that cannot be shown]")]),
        ("console.clear(); console.groupCollapsed(); console.dirxml(1)", [("info", "  1")]),
    ],
)
async def test_methods(scripts, source, lines):
    """As many lines, of these levels."""
    assert await said(scripts, source) == lines


async def test_timers(scripts):
    """A timer tells its milliseconds until it is ended."""
    lines = await said(scripts, "console.time(); console.timeLog('default', 'so', 5); console.timeEnd(); console.timeEnd()")
    assert [(level, re.sub(r"\d+ ms", "N ms", line)) for level, line in lines] == [
        ("info", "default: N ms so 5"),
        ("info", "default: N ms"),
        ("warn", "There is no timer 'default'."),
    ]


async def test_lines_stay_bounded(scripts):
    """However long a table or a pattern is, and however deep groups are."""
    rows = "Array.from({length: 1e4}, (_, n) => ({n, more: 'x'.repeat(100)}))"
    lines = await said(scripts, f"for (let n = 0; n < 100; n++) console.group(); console.log('%s'.repeat(9e4), 'y'.repeat(9e5)); console.table({rows})")
    plain = await said(scripts, "console.log('y'.repeat(9e5))")
    assert [len(line) for _, line in lines] == [len(plain[0][1])] * 2


async def test_what_a_script_changes_changes_no_line(scripts):
    """The console has taken what it needs before."""
    changed = (
        "Object.keys = Date.now = Reflect.apply = String.prototype.slice = () => 'bad'; Array.prototype[Symbol.iterator] = null; globalThis.parseInt = null;"
    )
    assert await said(scripts, f"{changed} console.log('%i', '4'); console.table([1]); console.group(); console.groupEnd(); console.log(2)") == [
        ("info", "4"),
        ("info", "(index) | Values\n0 | 1"),
        ("info", "2"),
    ]


async def test_half_of_a_character(scripts):
    """A line has a question mark for it; a result with it is refused, and told why."""
    assert await said(scripts, r"console.log('a\ud800b')") == [("info", "a?b")]
    for source in (r"return {a: '\ud800'}", r"return {'\udc00x': 1}"):
        with pytest.raises(ScriptFailed, match="half of a character") as failed:
            await scripts.run(script(source))
        assert failed.value.error == "FlowRunner.ScriptOutput"


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        (r"throw new Error('a\ud800b')", "FlowRunner.ScriptError", "a\ufffdb (line 1"),
        (r"throw 'a\udc00'", "FlowRunner.ScriptError", "a\ufffd"),
        (r"throw new Error('x'.repeat(8191) + '\u{1F600}')", "FlowRunner.ScriptError", f"{'x' * 8191}\ufffd (line 1"),
        (r"return secrets['\ud800']", "FlowRunner.SecretNotFound", "There is no secret '\ufffd'."),
    ],
)
async def test_half_of_a_character_in_what_a_script_throws(scripts, source, error, said):
    """The error stays what it is, also where its message was cut in the middle of a character."""
    with pytest.raises(ScriptFailed) as failed:
        await scripts.run(script(source))
    assert failed.value.error == error
    assert failed.value.cause.startswith(said)
