"""Contracts between the services and their adapters."""
