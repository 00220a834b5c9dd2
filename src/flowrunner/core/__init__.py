"""The deterministic machine: facts in, records and commands out."""
