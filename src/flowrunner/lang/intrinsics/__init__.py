"""Intrinsic functions (``States.*``) of JSONPath states: `compile_intrinsic` and the table `FUNCTIONS`."""

from flowrunner.lang.intrinsics.functions import FUNCTIONS
from flowrunner.lang.intrinsics.parser import ArgumentNotFound, Intrinsic, compile_intrinsic

__all__ = ["FUNCTIONS", "ArgumentNotFound", "Intrinsic", "compile_intrinsic"]
