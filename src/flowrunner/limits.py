"""Every quota: its number, unit and source. Two profiles: ``aws`` (what Step Functions allows) and ``open``.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One profile. Sizes are bytes of UTF-8; 0 means no limit."""

    name: str
    payload_bytes: int  # of an input, an output or the variables of one Assign
    variable_bytes: int  # of all variables of an execution: https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
    history_events: int
    definition_bytes: int = 1 * MIB
    request_bytes: int = 1 * MIB
    name_characters: int = 80
    transitions_per_step: int = 250  # ours: one step of pure states is cut here, so that no step holds the event loop long
    inline_map_concurrency: int = 40


AWS = Limits(name="aws", payload_bytes=256 * KIB, variable_bytes=10 * MIB, history_events=25_000)
OPEN = Limits(name="open", payload_bytes=16 * MIB, variable_bytes=64 * MIB, history_events=0, definition_bytes=8 * MIB, request_bytes=64 * MIB)
PROFILES = {profile.name: profile for profile in (AWS, OPEN)}
