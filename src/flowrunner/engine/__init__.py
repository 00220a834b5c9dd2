"""The engine: drives machines over a store."""
