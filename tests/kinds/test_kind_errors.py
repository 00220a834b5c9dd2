"""The errors of kinds: what a handler raises stands in the table of its kind."""

import pytest

from flowrunner.kinds import BUILT_IN
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reach import tls
from flowrunner.tasks.nodes.sqlitefile import file_below


def raised(act):
    with pytest.raises(NodeFailed) as failed:
        act()
    return failed.value.error


@pytest.mark.parametrize("kind", ["database", "email.send", "email.receive"])
def test_certificates_that_cannot_be_read(kind):
    assert raised(lambda: tls("example.com", authorities="no PEM")) in dict(BUILT_IN[kind].errors)


def test_a_server_without_a_folder_for_files():
    assert raised(lambda: file_below(None, "123456789012", "a.db")) in dict(BUILT_IN["database"].errors)


@pytest.mark.parametrize("kind", ["flow", "workflow", "delay", "wait", "batch", "async_batch", "parallel_batch", "worker_pool"])
def test_kinds_that_the_machine_carries_out_list_bad_parameters(kind):
    """Their values are checked where they are used, and named when they do not fit."""
    assert "FlowRunner.InvalidParameters" in dict(BUILT_IN[kind].errors)
