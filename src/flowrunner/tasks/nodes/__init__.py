"""Nodes of flows and steps of workflows that act outside: one table of kinds, one handler."""
