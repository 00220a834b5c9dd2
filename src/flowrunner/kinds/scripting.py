"""Kinds that run the author's JavaScript: transform, condition, script."""

from __future__ import annotations

from flowrunner.kinds.formats import FUNCTION_OF_LANGUAGE
from flowrunner.kinds.info import KindInfo, anything, boolean, choice, duration, fields, mapping, script, text, texts

SCRIPT_ERRORS = (
    ("FlowRunner.ScriptError", "the script threw, or does not compile; the cause has its message and line"),
    ("FlowRunner.ScriptTimeout", "it ran too long"),
    ("FlowRunner.ScriptMemory", "it took too much memory"),
    ("FlowRunner.ScriptBusy", "too many scripts of the account wait for a process"),
    ("FlowRunner.ScriptOutput", "what it returned is too large, or is no JSON"),
)
_NAMES = "It sees `input`, `results`, `shared`, `secrets`, `execution` and `console`."

TRANSFORM = KindInfo(
    name="transform",
    title="Transform",
    aliases=("base",),
    description="Makes a value of the input with JavaScript. Without a script it gives its input on.",
    parameters=fields({"script": script(f"The body of a function, or an expression. {_NAMES}")}),
    outputs=anything("What the script returns."),
    errors=SCRIPT_ERRORS,
    pure=True,
)
CONDITION = KindInfo(
    name="condition",
    title="Condition",
    description=(
        "Picks the edge with JavaScript. A text is the edge's name, a boolean gives `true` or `false`, an object's `branch` or `branch_decision` is the name; "
        "anything else takes `success`."
    ),
    parameters=fields({"condition_script": script(f"The body of a function, or an expression. {_NAMES}"), "script": script("The same, by its shorter name.")}, any_of=("condition_script", "script")),
    outputs=anything("What the script returns."),
    actions=(),
    errors=SCRIPT_ERRORS,
    pure=True,
)  # fmt: skip
SCRIPT = KindInfo(
    name="script",
    title="Script",
    description=(
        "Runs JavaScript in a worker process with bounds on time, memory and output. Other languages run only as functions that the operator has registered: "
        "`language: python` with `function: NAME`."
    ),
    parameters={
        **fields(
            {
                "language": choice("The language.", "javascript", "python", default="javascript"),
                "script": script(f"The body of a function, or an expression. {_NAMES}"),
                "function": text("For Python: the name of a registered function; it is called with `args` or the input."),
                "args": anything("Seen by the script as `args`."),
                "env": mapping("Seen by the script as `env`."),
                "returns": texts("In a workflow: the variables to set from the result's fields of the same names, as `output: {name: name}` would."),
                "timeout": duration("The longest it may run.", "30s", limit=True),
                "strict": boolean("Whether a script that returns nothing fails.", default=False),
            },
            any_of=("script", "function"),
        ),
        "format": FUNCTION_OF_LANGUAGE,
        "description": "A `script` in JavaScript, or the name of a registered Python `function`.",
    },
    outputs=anything("What the script returns."),
    errors=(
        *SCRIPT_ERRORS,
        ("FlowRunner.InvalidParameters", "the language is not to be had here; the cause says what is"),
        ("FlowRunner.NodeFailed", "a Python function returned too much, or failed with an error that has no name of its own"),
    ),
    pure=True,
)
KINDS = (TRANSFORM, CONDITION, SCRIPT)
