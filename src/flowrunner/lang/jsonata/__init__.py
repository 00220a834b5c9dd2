"""JSONata: plain, as its reference has it, and as Step Functions' states use it.

The parser is jsonata-python's; the evaluation is our own (docs/decisions/2026-11-21-jsonata-library.md).
"""

from flowrunner.lang.jsonata.expression import INTERNAL, JsonataExpression, compile_expression, evaluate
from flowrunner.lang.jsonata.values import UNDEFINED, UNSUPPORTED

__all__ = ["INTERNAL", "UNDEFINED", "UNSUPPORTED", "JsonataExpression", "compile_expression", "evaluate"]
