"""The test kit: a clock that stands still, conformance suites."""
