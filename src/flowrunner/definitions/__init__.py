"""Flows and workflows: kept with all their versions, described, searched."""
