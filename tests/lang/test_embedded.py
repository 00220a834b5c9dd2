from __future__ import annotations

import time

import pytest

from flowrunner.errors import ExpressionSyntaxError
from flowrunner.lang.embedded import Embedded, expressions_of, extent, parts_of, without_end


def shown(text):
    """Literals as they are, expressions in angle brackets."""
    return [f"<{part.source}>" if isinstance(part, Embedded) else part for part in parts_of(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("plain $ { text }", ["plain $ { text }"]),
        ("${a}", ["<a>"]),
        ("${a}${b}", ["<a>", "<b>"]),
        ("x ${a} y ${b.c[0]} z", ["x ", "<a>", " y ", "<b.c[0]>", " z"]),
        ("Cost: $${price}", ["Cost: $", "<price>"]),
        (r"\${a} ${b}", ["${a} ", "<b>"]),
        ("${ {a: {b: 1}} }", ["< {a: {b: 1}} >"]),
        ("${ '}' + \"}\" }", ["< '}' + \"}\" >"]),
        (r"${ 'it\'s }' }", [r"< 'it\'s }' >"]),
        ("${ `a${ `}${1}` }b` }!", ["< `a${ `}${1}` }b` >", "!"]),
        ("${ a /* } */ }", ["< a /* } */ >"]),
        ("${ a // }\n }", ["< a // }\n >"]),
        ("${ /[}/]}/.test(a) }", ["< /[}/]}/.test(a) >"]),
        ("${ a / 2 } and ${ b / 3 }", ["< a / 2 >", " and ", "< b / 3 >"]),
        ("${ (a) / 2 }/${ b }", ["< (a) / 2 >", "/", "< b >"]),
        ("${ [1] / 2 + '/}' }", ["< [1] / 2 + '/}' >"]),
        ("${ typeof /}/ }", ["< typeof /}/ >"]),
        ("${ i++ / 2 + `}` }", ["< i++ / 2 + `}` >"]),
        ("${ items.map(({id}) => { return id }) }", ["< items.map(({id}) => { return id }) >"]),
        ("äöü ${ 'é}' } 😀", ["äöü ", "< 'é}' >", " 😀"]),
    ],
)
def test_expressions_end_where_javascript_says(text, parts):
    """Braces in strings, templates, comments, regular expressions and objects do not end an expression."""
    assert shown(text) == parts


def test_an_expression_knows_its_place():
    assert parts_of("ab ${cd}")[1] == Embedded("cd", 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a ${b", "character 3 has no closing brace"),
        ("${ 'a }", "no closing brace"),
        ("${ f( }", "no closing brace"),
        ("${ `a }", "no closing brace"),
        ("${ /* } ", "no closing brace"),
        ("${}", "is empty"),
        ("${  } x", "is empty"),
    ],
)
def test_an_expression_without_end_or_content_is_refused(text, says):
    """The message has the place and the remedy."""
    with pytest.raises(ExpressionSyntaxError) as caught:
        parts_of(text)
    assert says in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("source", "rest"),
    [
        ("a", "a"),
        ("a;", "a"),
        ("a ; ; ", "a"),
        ("a; // yes", "a"),
        ("a; /* ; */ ", "a"),
        ("const a = 1; a;", "const a = 1; a"),
        ("';'; ", "';'"),
        ("`;${1};` ;", "`;${1};`"),
        ("", ""),
    ],
)
def test_what_may_be_one_expression(source, rest):
    """Semicolons and comments at the end are left out."""
    assert without_end(source) == rest


def test_places_of_expressions():
    """Texts and names of members, in the order of the document."""
    value = {"a": "${x}", "${k}": ["no", "y ${z}"], "b": {"c": 1}}
    assert list(expressions_of(value)) == [(("${k}",), "${k}"), (("a",), "${x}"), (("${k}", 1), "y ${z}")]


@pytest.mark.parametrize("piece", ["/*", "/[", '"\\"', "`${", "{", "(", "/", "'", "\\", "${", "//", "a/"])
def test_broken_code_is_gone_through_once(piece):
    """A hundred thousand openings of anything take time in proportion."""
    text = piece * 100_000
    began = time.process_time()
    assert extent(text).end <= len(text)
    assert time.process_time() - began < 2
