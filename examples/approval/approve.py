"""Answer a run that waits for approval, with boto3.

``python approve.py EXECUTION_ARN [--by NAME] [--reject REASON]``; ``eval "$(flowrunner env)"`` before it points boto3 at the server.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import boto3


def waiting_token(client: Any, execution: str) -> str | None:
    """Return the token of the last task that was scheduled: the history has what the function was given."""
    pages = client.get_paginator("get_execution_history").paginate(executionArn=execution, reverseOrder=True)
    for event in (event for page in pages for event in page["events"]):
        if event["type"] == "TaskScheduled":
            return str(json.loads(event["taskScheduledEventDetails"]["parameters"])["Payload"]["token"])
    return None


def answer(client: Any, execution: str, *, by: str, reject: str | None = None) -> str:
    """Approve or reject; return what to tell. A token can be used once."""
    token = waiting_token(client, execution)
    if token is None:
        return "This run has not asked yet."
    try:
        if reject is None:
            client.send_task_success(taskToken=token, output=json.dumps({"by": by}))
        else:
            client.send_task_failure(taskToken=token, error="Rejected", cause=reject)
    except (client.exceptions.TaskTimedOut, client.exceptions.TaskDoesNotExist, client.exceptions.InvalidToken):
        return "This run does not wait any more."
    return "Approved." if reject is None else "Rejected."


def main() -> None:
    """Be the command."""
    parser = argparse.ArgumentParser(description="Answer a run that waits for approval.")
    parser.add_argument("execution", metavar="EXECUTION_ARN")
    parser.add_argument("--by", default="me", help="Who answers.")
    parser.add_argument("--reject", metavar="REASON", help="Reject, and why.")
    arguments = parser.parse_args()
    print(answer(boto3.client("stepfunctions"), arguments.execution, by=arguments.by, reject=arguments.reject))


if __name__ == "__main__":
    main()
