"""Functions that JSONata expressions bring along, named for what they do to values of the ``{{ }}`` language (lang/braces/values.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

FUNCTIONS: Mapping[str, str] = {
    "else": "function($v, $d) { $exists($v) ? $v : $d }",
    "whole": "function($v) { $type($v) = 'array' ? [[$v]] : [$v] }",
    "member": "function($v, $k) { $type($v) = 'object' ? $lookup($v, $k) }",
    "size": "function($v) { $type($v) = 'object' ? $v.length : $type($v) = 'array' ? $count($v) : $type($v) = 'string' ? $length($v) }",
    "item": (
        "function($v, $k, $i) { $type($v) = 'object' ? $lookup($v, $k) : $type($v) = 'array' ? ($i < $count($v) and $i >= -$count($v) "
        "? $v[$i]) : $type($v) = 'string' ? ($i < $length($v) and $i >= -$length($v) ? $substring($v, $i < 0 ? $length($v) + $i : $i, "
        "1)) }"
    ),
    "found": (
        "function($o, $f) { ($a := $f($o); $exists($a) ? $a : ($r := $member($o, 'response'); $b := $f($member($r, 'body')); "
        "$exists($b) ? $b : ($c := $f($member($o, 'body')); $exists($c) ? $c : $f($r)))) }"
    ),
    "holds": ("function($v) { $type($v) = 'array' or $type($v) = 'object' ? true : $type($v) = 'string' ? $v != '' and $v != 'false' : $boolean($v) }"),
    "num": (
        "function($v) { $type($v) = 'number' ? $v : $type($v) = 'boolean' ? ($v ? 1 : 0) : $type($v) = 'string' ? ($length($v) <= 400 "
        "and $contains($v, /^[ \\t\\n\\r\\f\\v]*[+-]?[0-9]+(\\.[0-9]*)?([eE][+-]?[0-9]+)?[ \\t\\n\\r\\f\\v]*$/) ? "
        "$number($replace($replace($replace($replace($v, /[ \\t\\n\\r\\f\\v+]/, ''), /^(-?)0+([0-9])/, '$1$2'), /\\.([eE]|$)/, '$1'), "
        "/[eE]/, 'e'))) }"
    ),
    "same": (
        "function($a, $b) { $type($a) = $type($b) or $a = null or $b = null ? $a = $b : ($type($a) = 'boolean' and $b = $string($a)) "
        "or ($type($b) = 'boolean' and $a = $string($b)) or $num($a) = $num($b) }"
    ),
    "below": (
        "function($a, $b) { ($x := $num($a); $y := $num($b); $exists($x) and $exists($y) ? $x < $y : $type($a) = 'string' and "
        "$type($b) = 'string' ? $a < $b : false) }"
    ),
    "digits": "function($v) { ($n := $num($v); $exists($n) ? $n : $error('A number is needed.')) }",
    "divisor": "function($v) { ($n := $digits($v); $n = 0 ? $error('What is divided by 0 has no result.') : $n) }",
    "text": "function($v) { $type($v) = 'string' ? $v : $string($v) }",
    "plus": "function($a, $b) { $type($a) = 'string' or $type($b) = 'string' ? $text($a) & $text($b) : $digits($a) + $digits($b) }",
    "blank": "function($v) { $type($v) = 'array' ? $count($v) = 0 : $type($v) = 'object' ? $count($keys($v)) = 0 : $v = null or $v = '' }",
    "long": (
        "function($v) { $type($v) = 'string' ? $length($v) : $type($v) = 'array' ? $count($v) : $type($v) = 'object' ? "
        "$count($keys($v)) : $error('$length needs a text, a list or an object.') }"
    ),
}
_CALLED = re.compile(r"\$(\w+)\(")


def needed_by(name: str) -> frozenset[str]:
    """A function and those that it calls."""
    return frozenset({name}).union(*(needed_by(other) for other in _CALLED.findall(FUNCTIONS[name]) if other in FUNCTIONS and other != name))


def with_functions(expression: str, names: Iterable[str]) -> str:
    """The expression with the functions of these names before it."""
    wanted = frozenset(names)
    brought = "".join(f"${name} := {source}; " for name, source in FUNCTIONS.items() if name in wanted)
    return f"({brought}{expression})" if brought else expression
