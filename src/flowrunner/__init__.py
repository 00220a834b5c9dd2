"""FlowRunner: durable state machines on your own database, live, and spoken to by the AWS SDKs."""

__version__ = "0.1.0"

__all__ = ["__version__"]
