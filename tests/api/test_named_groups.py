"""Groups that only test cases name."""

from flowrunner.api.testgroups import tree_of
from flowrunner.definitions import testcases


def case(name, group, at):
    return testcases.Test(id=name, group=group, name=name, type="http", created_at=at, updated_at=at + 1)


def test_a_test_case_stands_in_the_tree_whatever_its_group():
    """A group that was never made, or that was deleted, is shown at the top with its test cases."""
    kept = testcases.Group(id="kept", name="Kept", created_at=1, updated_at=1)
    tests = [case("a", "kept", 5), case("b", "gone", 7), case("c", "gone", 6)]
    shown = [(node.group_id, node.name, node.tests) for node in tree_of([kept], tests)]
    assert shown == [("kept", "Kept", ["a"]), ("gone", "gone", ["b", "c"])]
