"""Secrets: sealed in the store, opened at the last moment, never shown."""
