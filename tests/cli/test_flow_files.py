"""Commands that take flows: validate and graph."""

from pathlib import Path

from flowrunner.cli.main import run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_a_flow_is_checked_by_its_content(tmp_path, capsys):
    """YAML with nodes is a flow, YAML with states is none; every finding has its line."""
    flow = tmp_path / "f.yaml"
    flow.write_text("metadata: {name: x}\nnodes:\n  a: {type: transfrom}\n", encoding="utf-8")
    assert run(["validate", str(flow)]) == 3
    assert f"{flow}:3:7: error: There is no kind of node 'transfrom'. at /nodes/a/type [UNKNOWN_KIND]\n  Did you mean 'transform'?\n" in capsys.readouterr().out
    flow.write_text("metadata: {name: x}\nnodes:\n  a: {type: transform\n", encoding="utf-8")
    assert run(["validate", str(flow)]) == 3
    assert "Invalid YAML" in capsys.readouterr().out
    machine = tmp_path / "m.yaml"
    machine.write_text("StartAt: nodes\nStates:\n  nodes:\n    Type: Succeed\n", encoding="utf-8")
    assert run(["validate", str(machine), str(EXAMPLES / "complex_flow.yaml")]) == 0


def test_a_flow_that_is_followed_tells_each_node_once(tmp_path, capsys):
    """As its author knows it; the history of the machine below is left out."""
    flow = tmp_path / "f.yaml"
    flow.write_text("metadata: {name: x}\nnodes:\n  only: {type: transform, params: {script: return 1}}\n", encoding="utf-8")
    assert run(["run", str(flow), "--follow", "--progress", "lines"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().err.splitlines()]
    kinds = [parts[1] for parts in lines if len(parts) > 2 and parts[2] == "only"]
    assert kinds == ["step_start", "step_log", "step_complete"]


def test_a_flow_is_drawn_as_its_author_sees_it(capsys):
    """One box per node, error edges dashed, and nothing of how a batch is run."""
    assert run(["graph", str(EXAMPLES / "complex_flow.yaml")]) == 0
    drawn = capsys.readouterr().out
    assert drawn.count("[") == 11
    assert '-.->|"timeout"|' in drawn
    assert "(batch)" not in drawn
