"""Compare our JSONata with jsonata-rs, an independent implementation, on generated expressions and on our own cases.

    python scripts/jsonata_differential.py [--cases 2000] [--seed 1] [--verbose]

The two cannot be installed side by side (both are imported as ``jsonata``), so the other one gets an environment of its own in a
temporary folder (needs the package index) and answers over a pipe. Exit status 1 when fewer than --min per cent agree.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile
import venv

from flowrunner.errors import ExpressionError
from flowrunner.lang.jsonata import evaluate

OTHER = "jsonata-rs==0.1.4"
CASES = pathlib.Path(__file__).resolve().parents[1] / "tests" / "cases" / "jsonata" / "step_functions.json"
OURS_ONLY = ("$partition", "$range", "$hash", "$random", "$uuid", "$parse", "$eval", "$now", "$millis", "$$")
DOCUMENT = {
    "n": 3,
    "text": "Hello World",
    "none": None,
    "flag": True,
    "empty": [],
    "list": [3, 1, 2],
    "items": [{"id": 1, "price": 2.5, "tags": ["a", "b"]}, {"id": 2, "price": 10, "tags": ["b"]}, {"id": 3, "tags": []}],
    "deep": {"a": {"b": {"c": [1, [2, 3]]}}},
}
CHILD = """
import json, sys, jsonata
for line in sys.stdin:
    expression, document, bindings = json.loads(line)
    try:
        compiled = jsonata.Jsonata(expression)
        compiled.set_runtime_bounds(1000, 300)
        answer = {"value": compiled.evaluate(document, bindings)}
    except jsonata.JsonataError as error:
        answer = {"code": error.code}
    print(json.dumps(answer), flush=True)
"""


def generated(draw: random.Random, depth: int = 3) -> str:
    """An expression; most of them mean something."""
    if depth == 0:
        return draw.choice(
            [
                "n",
                "text",
                "none",
                "flag",
                "empty",
                "list",
                "items",
                "items.id",
                "items.price",
                "deep.a.b.c",
                "missing",
                "1",
                "2.5",
                "'x'",
                "true",
                "null",
                "$",
                "$v",
            ]
        )

    def part() -> str:
        return generated(draw, depth - 1)

    shape = draw.choice(
        [
            "({0})",
            "({0} + {1})",
            "({0} * {1})",
            "({0} & {1})",
            "({0} = {1})",
            "({0} < {1})",
            "({0} and {1})",
            "({0} in {1})",
            "({0} ? {1} : {2})",
            "({0}).({1})",
            "({0})[{1}]",
            "({0})[0]",
            "({0})[-1]",
            "[{0}, {1}]",
            "[{0}].({1})",
            '{{"a": {0}, "b": {1}}}',
            "($x := {0}; [$x, {1}])",
            "$map({0}, function($v, $i){{[$i, {1}]}})",
            "$filter({0}, function($v){{{1}}})",
            "$reduce({0}, function($a, $b){{$a}})",
            "$count({0})",
            "$string({0})",
            "$exists({0})",
            "$boolean({0})",
            "$append({0}, {1})",
            "$type({0})",
            "$keys({0})",
            "$merge([{{'k': {0}}}, {{'l': {1}}}])",
            "$distinct({0})",
            "$reverse({0})",
            "$zip({0}, {1})",
            "$spread({0})",
            "$lookup({0}, 'id')",
            "$sum({0})",
            "$join({0}, ',')",
            "$split({0}, ' ')",
            "$substring({0}, 1, 3)",
            "$uppercase({0})",
            "$round({0})",
            "$sort({0})",
            "items^(>id).({0})",
            "items{{$string(id): {0}}}",
            "items[id > {0}]",
            "items#$i.({0})",
            "items.tags.({0})",
            "**.({0})[0]",
            "*[{0}]",
            "({0}) ~> $count()",
        ],
    )
    return shape.format(part(), part(), part())


def ours(expression: str, document: object, bindings: dict[str, object]) -> dict[str, object]:
    """What we answer, in the shape of the other's answer."""
    try:
        return {"value": evaluate(expression, document, bindings)}
    except ExpressionError as error:
        return {"code": error.code}


def agree(left: object, right: object) -> bool:
    """Numbers by value; true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return math.isclose(left, right, rel_tol=1e-12)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(agree(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(agree, left, right))
    return left == right


def compare(count: int, seed: int, *, verbose: bool) -> tuple[int, int]:
    """How many of how many cases agree."""
    draw = random.Random(seed)
    cases = [(generated(draw), DOCUMENT, {"v": 1}) for _ in range(count)]
    cases.extend(
        (case["expression"], None, {"states": case.get("states"), **case.get("variables", {})})
        for case in json.loads(CASES.read_text())
        if not any(word in case["expression"] for word in OURS_ONLY) and "unsupported" not in case and "12345678901234567890" not in json.dumps(case)
    )
    right = 0
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = pathlib.Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", OTHER], check=True)
        with subprocess.Popen([python, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            if child.stdin is None or child.stdout is None:
                raise RuntimeError("no pipe to the other implementation")
            for case in cases:
                child.stdin.write(json.dumps(case) + "\n")
                child.stdin.flush()
                theirs, mine = json.loads(child.stdout.readline()), ours(*case)
                if agree(mine, theirs):
                    right += 1
                elif verbose:
                    print(f"{case[0]}\n   ours   {json.dumps(mine)[:160]}\n   theirs {json.dumps(theirs)[:160]}")
            child.stdin.close()
    return right, len(cases)


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--min", type=float, default=95)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    right, count = compare(options.cases, options.seed, verbose=options.verbose)
    print(f"{100 * right / count:.1f} % agree ({right}/{count})")
    return int(100 * right / count < options.min)


if __name__ == "__main__":
    sys.exit(main())
