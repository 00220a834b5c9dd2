"""The front end of step workflows: JSON with steps that wait for one another (systems.md 2.4). No I/O."""
