"""The ``{{ }}`` language of step workflows (systems.md 2.4, row 34): compiled once, evaluated in one pass."""

from flowrunner.lang.braces.condition import Condition, compile_condition
from flowrunner.lang.braces.template import BraceTemplate, compile_braces, has_braces

__all__ = ["BraceTemplate", "Condition", "compile_braces", "compile_condition", "has_braces"]
