"""JavaScript of flows and workflows: run in worker processes, with limits, without any way to the host."""
