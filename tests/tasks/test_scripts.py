from __future__ import annotations

import pytest
from script_calls import scope, script

from flowrunner.tasks.javascript.calls import ScriptFailed
from flowrunner.tasks.javascript.scripts import Scripts


@pytest.fixture
async def scripts(stack):
    made = Scripts(2)
    await made.start(stack)
    return made


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("return input.x * 2", 6),
        ("input.x * 2", 6),
        ("input.x > 2;", True),
        ("input.x > 2; // a remark", True),
        ("{ a: 1, ...input.items[0] }", {"a": 1, "id": 1, "value": 10}),
        ("({ items }) => items.map(({ value }) => value)", [10, 20]),
        ("function main(input) { return input.name }", "Ada"),
        ("(function () { return input.name })();", "Ada"),
        ("(() => `${input.name}!`)()", "Ada!"),
        ("async ({ x }) => { await null; return x }", 3),
        ("const one = await Promise.resolve(1); return one + await 2", 3),
        ("return Promise.all([1, Promise.resolve(2)])", [1, 2]),
        ("return (async () => { for await (const a of [1]) return a })()", 1),
        ("const { items, ...rest } = input; const [{ id }] = items; let a = id ?? 5; a ||= 1; return [a, Object.keys(rest), input?.no?.such]", [1, ["x", "name", "when"], None]),
        ("class A { #v = 2; get v() { return this.#v ** 2 } static make() { return new A() } } return A.make().v", 4),
        ("return [...'añ😀'].length + new Set([1, 1]).size + [3, 1].toSorted().at(0) + Object.entries({a: 1}).flat().length", 7),
        ("return JSON.parse(JSON.stringify({ a: [1, 2.5, null] }))", {"a": [1, 2.5, None]}),
        ("return Math.max(1, 2) + Math.trunc(2.7)", 4),
        ("return [Math.random() < 1, Date.now() > 1.7e12, new Date().getTimezoneOffset()]", [True, True, 0]),
        ("undeclared = 5; return undeclared", 5),
        ("let input = 1, results = 2, shared = 3, execution = 4, secrets = 5, console = 6; return input", 1),
        ("return [results.first.ok, execution.flow_id, variables]", [True, "f1", None]),
        ("", None),
        ("// nothing", None),
        ("return", None),
        ("const a = 1", None),
    ],
)  # fmt: skip
async def test_modern_javascript(scripts, source, value):
    """A function body, an expression, or a function: each gives its value."""
    assert (await scripts.run(script(source))).value == value


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("2", "2"),
        ("4 / 2", "2"),
        ("2.5", "2.5"),
        ("2 ** 53", "9007199254740992"),
        ("-0", "0"),
        ("1e21", "1e+21"),
        ("NaN", "None"),
        ("[Infinity, undefined, () => 1, Symbol('a')]", "[None, None, None, None]"),
        ("{ a: undefined, b: () => 1 }", "{}"),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("[new Date(0), new Date(NaN)]", "['1970-01-01T00:00:00.000Z', None]"),
        ("'\\u0000\\ud800'.length", "2"),
        ("'a\\u0000b'", "a\x00b"),
        ("new Map([[1, 2]])", "{}"),
        ("() => () => 1", "None"),
    ],
)
async def test_values_as_json_has_them(scripts, source, text):
    """Whole numbers stay whole, dates are text, and what JSON has not is what JSON.stringify makes of it."""
    assert str((await scripts.run(script(source))).value) == text


@pytest.mark.parametrize("source", ["10n", "{ a: 10n }", "const a = {}; a.a = a; return a"])
async def test_what_json_cannot_say(scripts, source):
    with pytest.raises(ScriptFailed) as caught:
        await scripts.run(script(source))
    assert (caught.value.error, caught.value.message.split(":")[0]) == ("FlowRunner.ScriptError", "TypeError")


async def test_whether_something_was_returned(scripts):
    """Null is something, undefined is not."""
    assert [(await scripts.run(script(source))).defined for source in ("return null", "return", "0")] == [True, False, True]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("secrets.API_KEY", "k-123"),
        ("secrets['API_KEY']", "k-123"),
        ("secrets.DB.password", "p-456"),
        ("const { API_KEY, DB: { user } } = secrets; return [API_KEY, user]", ["k-123", "u"]),
        ("'API_KEY' in secrets && !('NO' in secrets)", True),
        ("return secrets", ["API_KEY", "DB"]),
        ("JSON.stringify({ secrets })", '{"secrets":["API_KEY","DB"]}'),
        ("`${secrets}`", "[secrets: API_KEY, DB]"),
        ("String(secrets) + (secrets + '')", "[secrets: API_KEY, DB][secrets: API_KEY, DB]"),
        ("Object.keys(secrets)", ["API_KEY", "DB"]),
        ("{ ...secrets }.DB.user", "u"),
        ("eval('sec' + 'rets').API_KEY", "k-123"),
        ("s\\u0065crets.API_KEY", "k-123"),
        ("typeof globalThis.secrets", "undefined"),
        ("try { return secrets.NO } catch (error) { return error.message }", "There is no secret 'NO'."),
    ],
)
async def test_secrets_are_read_on_demand_and_shown_by_name(scripts, source, value):
    """Naming one reads it; printing them all shows names."""
    assert (await scripts.run(script(source))).value == value


async def test_only_secrets_that_are_named_are_asked_for(scripts):
    """Each once, and none for the names."""
    asked = []

    async def secret(name):
        asked.append(name)
        return {"a": 1}

    await scripts.run(script("console.log(secrets, Object.keys(secrets)); return [secrets.DB.a, secrets.DB.a]", secret=secret))
    assert asked == ["DB"]


async def test_without_a_list_the_names_that_were_read_are_shown(scripts):
    assert (await scripts.run(script("secrets.DB; return secrets", secret_names=None))).value == ["DB"]


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("return secrets.NO_SUCH.field", "FlowRunner.SecretNotFound", "There is no secret 'NO_SUCH'. (line 1, column 8)"),
        ("return secrets.AWAY", "FlowRunner.SecretUnavailable", "'AWAY' cannot be had now"),
        ("secrets.API_KEY = 1", "FlowRunner.ScriptError", "secrets cannot be changed"),
        ("delete secrets.API_KEY", "FlowRunner.ScriptError", "secrets cannot be changed"),
    ],
)
async def test_a_missing_secret_is_named(scripts, source, error, says):
    with pytest.raises(ScriptFailed) as caught:
        await scripts.run(script(source))
    assert caught.value.error == error
    assert says in caught.value.cause


async def test_console_lines_come_with_their_level(scripts):
    lines = []
    source = """
      console.log("a", 1, [1, {b: 2}], null, undefined, true);
      console.info(new TypeError("bad"), new Date(0), () => 1, Symbol("s"), 10n);
      console.warn(secrets); console.error({ get a() { throw 1 } }); console.debug("d"); console.trace();
    """
    await scripts.run(script(source, lines))
    assert lines == [
        ("info", 'a 1 [1,{"b":2}] null undefined true'),
        ("info", "TypeError: bad 1970-01-01T00:00:00.000Z [function] Symbol(s) 10"),
        ("warn", '["API_KEY","DB"]'),
        ("error", "[something that cannot be shown]"),
        ("debug", "d"),
        ("debug", ""),
    ]


async def test_lines_come_while_the_script_runs(scripts):
    """What was said before the end is heard before the end: the answer to a secret waits for the line."""
    lines, seen = [], []

    async def secret(name):
        seen.extend(lines)
        return "x"

    await scripts.run(script("console.log('first'); return secrets.API_KEY", lines, secret=secret))
    assert seen == [("info", "first")]


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("const a = 1;\n  throw new Error('no key')", "no key (line 2, column 13)"),
        ("const a = {};\n\nreturn a.b.c", "TypeError: cannot read property 'c' of undefined (line 3, column 8)"),
        ("input\n  .nothing()", "TypeError: not a function (line 2, column 4)"),
        ("throw 'text'", "text"),
        ("throw {code: 5}", '{"code":5}'),
        ("throw null", "null"),
        ("throw new Error()", "The script threw an error without a message. (line 1, column 11)"),
        ("throw { get stack() { throw 1 } }", "The script threw something that cannot be shown."),
        ("async () => { await null; throw new RangeError('r') }", "RangeError: r (line 1, column 37)"),
        ("return Promise.reject(new Error('later'))", "later (line 1, column 27)"),
        ("return new Promise(() => {})", "The script waits for a promise that nothing fulfils: there are no timers and no I/O in a script."),
        ("setTimeout(() => 1, 5)", "ReferenceError: setTimeout is not defined (line 1, column 1)"),
        ("foo(", "SyntaxError: the script ends too early: something is not closed (line 1, column 5)"),
        ("let a = 1;\nlet b = {c: 1,;\n", "SyntaxError: invalid property name (line 2, column 15)"),
    ],
)
async def test_failures_have_message_and_place(scripts, source, cause):
    """Line and column are the author's."""
    with pytest.raises(ScriptFailed) as caught:
        await scripts.run(script(source))
    assert (caught.value.error, caught.value.cause) == ("FlowRunner.ScriptError", cause)


async def test_every_run_has_a_new_context(scripts):
    """Nothing that a script leaves behind is seen by another, and what was given stays as it was."""
    await scripts.run(script("globalThis.left = 1; Object.prototype.left = 2; Array.prototype.map = null; input.x = 9; return 1"))
    for _ in range(3):
        assert (await scripts.run(script("[typeof left, typeof [].left, [1].map(v => v), input.x]"))).value == ["undefined", "undefined", [1], 3]


async def test_changes_of_shared_come_back(scripts):
    assert (await scripts.run(script("shared.seen++; shared.more = [1]; return 1"))).shared == {"seen": 2, "more": [1]}
    assert (await scripts.run(script("return shared.seen"))).shared is None


async def test_hooks_run_around_in_one_context(scripts):
    """The hook prep makes the input, post sees the output."""
    outcome = await scripts.run(script("input.x + 1", prep="globalThis.mark = 'm'; return { x: 10 }", post="return `${mark}:${output}`"))
    assert (outcome.value, outcome.post) == (11, "m:11")
    with pytest.raises(ScriptFailed, match=r"^bad \(line 1, column 11 in hook post\)$"):
        await scripts.run(script("1", post="throw new Error('bad')"))


async def test_a_name_must_be_a_name(scripts):
    with pytest.raises(ValueError, match="cannot be the name"):
        await scripts.run(script("1", names={"a b": 1}))


async def test_big_values_pass(scripts):
    """Numbers beyond 64 bits and long texts go in and out."""
    text = "ä" * 200_000 + "end"
    assert (await scripts.run(script("input", names={"input": {"text": text, "n": 2**70}}))).value == {"text": text, "n": 2**70 * 1.0}
    joined = (await scripts.run(script("let a = 'x'.repeat(1000); for (let i = 0; i < 8; i++) a = a + '-' + a; return { [a.slice(0, 3)]: a }"))).value
    assert len(joined["xxx"]) == 256_255


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("${input.x}", 3),
        ("${ input.items }", [{"id": 1, "value": 10}, {"id": 2, "value": 20}]),
        ("${input.none}", None),
        ("${ ({a: 1}) }", {"a": 1}),
        ("Hello ${input.name}, ${input.x + 1}!", "Hello Ada, 4!"),
        ("${input.x}${input.x}", "33"),
        ("a ${[1, 2]} ${ {b: 1} } ${null} ${true} ${new Date(0)} ${1n}", 'a [1,2] {"b":1} null true 1970-01-01T00:00:00.000Z 1'),
        ("Bearer ${secrets.API_KEY}", "Bearer k-123"),
        ({"url": "/u/${input.x}", "n": ["${input.x}", {"${input.name}": "${results.first.ok}"}]}, {"url": "/u/3", "n": [3, {"Ada": True}]}),
        ({"a": r"\${input.x}", "b": 1.5, "c": None}, {"a": "${input.x}", "b": 1.5, "c": None}),
        ("${ await Promise.resolve(input.x) }", 3),
        ("${ `x${ '${}' }` }", "x${}"),
        ("no expression", "no expression"),
    ],
)
async def test_expressions_are_filled(scripts, value, filled):
    """All of a text keeps its type, within a text it becomes text; what was put in is not looked at again."""
    assert await scripts.fill(value, scope()) == filled


async def test_scripts_among_the_values_stay(scripts):
    assert await scripts.fill({"script": "return `${input.x}`", "a": "${input.x}"}, scope(), skip={"script"}) == {"script": "return `${input.x}`", "a": 3}


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ({"a": {"b/c": ["", "${input.no.such}"]}}, "TypeError: cannot read property 'such' of undefined (line 1, column 1 in /a/b~1c/1)"),
        ({"a": "x ${input.none}"}, "TypeError: the expression is undefined; within a text write ${ ... ?? '' } or another value (in /a)"),
        ({"a": "${1 +}"}, "SyntaxError: the script ends too early: something is not closed (line 1, column 4 in /a)"),
        ({"a": "${ ok", "b": "${input.x}"}, "The expression that opens at character 1 has no closing brace. Close it with }, or write \\${ for the characters themselves. (in /a)"),
    ],
)  # fmt: skip
async def test_an_expression_that_fails_is_named(scripts, value, cause):
    """The place is a pointer into the value."""
    with pytest.raises(ScriptFailed) as caught:
        await scripts.fill(value, scope())
    assert caught.value.cause == cause


async def test_many_expressions_are_one_call(scripts):
    """They share a context, in order."""
    count = "${ globalThis.n = (globalThis.n ?? 0) + 1 }"
    assert await scripts.fill({"a": count, "b": [count, f"x{count}"], count: "${n}"}, scope()) == {"a": 2, "b": [3, "x4"], "1": 4}
