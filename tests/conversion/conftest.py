"""Lets the tests of this folder import their helper, and shows what differs when it compares."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("twice")
