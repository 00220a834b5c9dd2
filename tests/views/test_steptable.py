"""What a table of steps says of one that is entered more than once."""

import pytest

from flowrunner.views.steptable import StepTable


@pytest.fixture
def table():
    return StepTable()


def shown(table):
    [[row]] = table.pieces()
    return row["status"], row["duration"], row["entered"]


def test_a_step_that_runs_has_no_duration_of_the_time_before(table):
    """It has one when it has ended: its own."""
    table.begin("a", "A", "transform", 0)
    table.end("a", "success", 200)
    assert shown(table) == ("success", 200, 1)
    table.begin("a", "A", "transform", 300)
    assert shown(table) == ("running", None, 2)
    table.end("a", "failed", 7)
    assert shown(table) == ("failed", 7, 2)


def test_a_step_runs_while_it_is_entered_anywhere(table):
    """Of iterations at once, the last that ends tells."""
    table.begin("a", "A", "transform", 0)
    table.begin("a", "A", "transform", 0)
    table.end("a", "failed", 5)
    assert shown(table) == ("running", None, 2)
    table.end("a", "success", 9)
    assert shown(table) == ("success", 9, 2)
