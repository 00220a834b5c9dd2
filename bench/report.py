"""The report as a table for people."""

from __future__ import annotations

import statistics
from typing import Any

LINES = (  # what, unit, number of FlowRunner, number of the others, digits
    ("W1: 5 Pass states, 50 in flight", "executions/s", "w1_per_second", "w1_per_second", 0),
    ("  CPU of the server", "ms/execution", "w1_cpu_ms", "w1_cpu_ms", 3),
    ("  answer under load, p50", "ms", "w1_p50_ms", "w1_p50_ms", 1),
    ("  answer under load, p99", "ms", "w1_p99_ms", "w1_p99_ms", 1),
    ("lone start -> answer, p50", "ms", "lone_start_p50_ms", "lone_start_p50_ms", 2),
    ("lone start -> answer, p99", "ms", "lone_start_p99_ms", "lone_start_p99_ms", 2),
    ("lone start -> end seen, p50", "ms", "lone_end_p50_ms", "lone_end_p50_ms", 2),
    ("lone start -> end seen, p99", "ms", "lone_end_p99_ms", "lone_end_p99_ms", 2),
    ("W3: 1,000 steps of one execution", "steps/s", "w3_1000_per_second", "w3_per_second", 0),
    ("W3: 3,000 steps of one execution", "steps/s", "w3_3000_per_second", "w3_per_second", 0),
    ("  3,000 steps, by its timestamps", "steps/s", "w3_3000_by_timestamps_per_second", "", 0),
    ("  CPU of the server, 3,000 steps", "us/step", "w3_3000_cpu_us", "", 0),
    ("cores the server used in W1", "cores", "w1_server_cores", "", 2),
    ("cores the whole machine used in W1", "cores", "w1_machine_cores", "", 2),
    ("resident memory: after start", "MiB", "start_rss_mib", "", 0),
    ("  after W1", "MiB", "w1_rss_mib", "", 0),
    ("  highest", "MiB", "peak_mib", "", 0),
    ("store", "bytes/execution", "w1_bytes", "", 0),
)
RATIOS = (
    ("W1, FlowRunner / ceiling", "w1_per_second", "ceiling", "w1_per_second", "at least 0.30"),
    ("W1, FlowRunner / DBOS", "w1_per_second", "dbos", "w1_per_second", "at least 25"),
    ("CPU, FlowRunner / ceiling", "w1_cpu_ms", "ceiling", "w1_cpu_ms", "at most 4"),
    ("lone p50, FlowRunner / DBOS", "lone_end_p50_ms", "dbos", "lone_end_p50_ms", "at most 0.20"),
    ("W3 (1,000), FlowRunner / DBOS", "w3_1000_per_second", "dbos", "w3_per_second", "at least 30"),
)
TITLES = {"flowrunner": "FlowRunner", "ceiling": "ceiling", "dbos": "DBOS (SQLite)"}
Runs = dict[str, list[dict[str, float]]]


def table(report: dict[str, Any]) -> str:
    """The whole report as text."""
    runs: Runs = report["runs"]
    where = report["machine"]
    titles = [title for who, title in TITLES.items() if who in runs]
    lines = [
        f"{where['at']}  Python {where['python']}  {where['cores']} cores  load: {where['load_generator']}  repetitions: {len(runs['flowrunner'])}, medians [lowest..highest]",
        "",
        f"{'':<36}{'':<17}" + "".join(f"{title:<28}" for title in titles),
    ]
    for what, unit, own, other, digits in LINES:
        cells = [spread(values(runs, who, own if who == "flowrunner" else other), digits) for who in TITLES if who in runs]
        if any(cells):
            lines.append(f"{what:<36}{unit:<17}" + "".join(f"{cell or '-':<28}" for cell in cells).rstrip())
    ratios = [(what, ratio(runs, own, peer, other), goal) for what, own, peer, other, goal in RATIOS]
    lines += ["", *(f"{what:<36}{text:<28}goal: {goal}" for what, text, goal in ratios if text)]
    if "dbos" in runs:
        lines += ["", "DBOS runs inside its client's process, without HTTP; its CPU includes its start. The ceiling validates and authenticates nothing."]
    lines += [f"SKIPPED  {reason}" for reason in report["skipped"]]
    return "\n".join(lines)


def values(runs: Runs, who: str, name: str) -> list[float]:
    """This number in every repetition that has it."""
    return [run[name] for run in runs.get(who, ()) if name in run]


def spread(numbers: list[float], digits: int) -> str:
    """Median [lowest..highest], nothing for no numbers."""
    if not numbers:
        return ""
    return f"{statistics.median(numbers):,.{digits}f} [{min(numbers):,.{digits}f}..{max(numbers):,.{digits}f}]"


def ratio(runs: Runs, own: str, peer: str, other: str) -> str:
    """The ratio within each repetition, as a spread."""
    pairs = zip(values(runs, "flowrunner", own), values(runs, peer, other), strict=False)
    return spread([one / another for one, another in pairs], 2)
