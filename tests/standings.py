"""How a run stands by the messages of its stream: an account that shares nothing with the snapshot's own."""

import json
from collections import Counter

from flowrunner.api.messages import Renderer
from flowrunner.cli.progress import ITERATION, States
from flowrunner.views.standing import Standing


def snapshot_of(head, records, kind):
    """The payload of the snapshot after these records."""
    standing = Standing(head)
    for seq, record in enumerate(records, 1):
        standing.take(seq, record)
    return json.loads(Renderer(head.id, kind).standing(standing, standing.pieces()).text)


def messages_of(head, records, kind):
    """All messages of these records."""
    renderer = Renderer(head.id, kind)
    return [json.loads(made.text) for seq, record in enumerate(records, 1) for made in renderer.messages(seq, record)]


def stood_by_notes(messages):
    """What the messages of a flow or workflow come to."""
    told, progress, variables, steps, running = {}, 0.0, {}, {}, Counter()
    for message in messages:
        payload, detail = message["payload"], message.get("detail", {})
        match message["type"]:
            case "status":
                progress = payload.get("progress", progress)
                if "node" not in payload:
                    told = {name: value for name, value in payload.items() if name != "progress"}
            case "step_start":
                step = steps.setdefault(payload["stepId"], {"stepName": payload["stepName"], "entered": 0})
                step |= {"entered": step["entered"] + 1, "startTime": message["ts"], "status": "running", "duration": None, "stepType": detail["stepType"]}
                running[payload["stepId"]] += 1
            case "step_complete" if payload["status"] != "skipped":
                running[payload["stepId"]] -= 1
                if not running[payload["stepId"]]:
                    steps[payload["stepId"]] |= {"duration": payload["duration"], "status": payload["status"]}
            case "step_complete":
                skipped = {"stepName": payload["stepName"], "stepType": detail["stepType"], "entered": 0, "startTime": None}
                step = steps.setdefault(payload["stepId"], skipped)
                if not running[payload["stepId"]]:
                    step |= {"status": "skipped", "duration": 0}
            case "variable_change" if payload["changeType"] == "delete":
                variables.pop(payload["varName"], None)
            case "variable_change":
                variables[payload["varName"]] = payload["newValue"]
    nodes = [{"id": step, "name": steps[step]["stepName"], "type": steps[step]["stepType"]} for step in steps if running[step]]
    rows = [{"stepId": step, **more} for step, more in steps.items()]
    return {**told, "progress": progress, "nodes": nodes, "steps": rows, "variables": variables}


def running_states(messages):
    """The names of the states that a tree of them shows as running."""
    tree = States()
    for message in messages:
        tree.take(message)
    found, waiting = set(), list(tree.top)
    while waiting:
        visit = waiting.pop()
        waiting += [] if visit.failed else visit.children  # which were given up
        if visit.status == "running" and visit.kind != ITERATION:
            found.add(visit.name)
    return found
