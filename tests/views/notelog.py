"""A log as the machine writes it for flows and workflows, made by hand."""

import orjson

from flowrunner.ports.executions import Head

STARTED_AT = 1_700_000_000_000


def head(machine="flow/orders", **changes):
    values = {
        "id": "0" * 31 + "1",
        "account": "000000000000",
        "machine": machine,
        "name": "one",
        "revision": "r1",
        "status": "RUNNING",
        "input": "{}",
        "seed": b"s" * 16,
        "started_at": STARTED_AT,
    }
    return Head(**{**values, **changes})


class Log:
    """Appends records, a second apart."""

    def __init__(self):
        self.records = []
        self.events = 0

    def event(self, kind, details=None, *, previous=None):
        self.events += 1
        key = (
            "stateEnteredEventDetails"
            if kind.endswith("StateEntered")
            else "stateExitedEventDetails"
            if kind.endswith("StateExited")
            else f"{kind[0].lower()}{kind[1:]}EventDetails"
        )
        record = {"timestamp": self._now(), "type": kind, "id": self.events, "previousEventId": self.events - 1 if previous is None else previous}
        self.records.append(record if details is None else {**record, key: details})
        return self.events

    def note(self, kind, **told):
        self.records.append({"timestamp": self._now(), "type": kind, "note": told})

    def step(self, name, progress=0.0, *, given="{}", **more):
        entered = self.event("TaskStateEntered", {"name": name, "input": given})
        self.note("StepStarted", stepId=name, stepName=name.title(), stepType="transform", progress=progress, **more)
        self.note("StepLogged", stepId=name, stepName=name.title(), level="info", message=f"Starting step: {name.title()}", **more)
        return entered

    def done(self, name, output=None, status="success", **more):
        self.note(
            "StepCompleted",
            stepId=name,
            stepName=name.title(),
            stepType="transform",
            status=status,
            duration=1000,
            output=orjson.dumps(output).decode(),
            **more,
        )

    def failed(self, name, error, cause):
        self.note("StepCompleted", stepId=name, stepName=name.title(), stepType="transform", status="failed", duration=1000, error=error, cause=cause)

    def _now(self):
        return STARTED_AT / 1000 + len(self.records)


def complex_log():
    """The way of the complex flow through its high band."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    ways = [
        ("prepare_data", 10),
        ("parallel_processor", 30),
        ("analyze_results", 60),
        ("branch_on_success_rate", 60),
        ("high_success_handler", 80),
        ("final_summary", 99),
    ]
    for name, progress in ways:
        log.step(name, progress)
        log.done(name, {"by": name})
    log.event("ExecutionSucceeded", {"output": "{}"})
    return log
