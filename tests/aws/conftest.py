"""The fixtures of this folder; what they are made of is in awscaller.py."""

from awscaller import aws, endpoint_url, served

__all__ = ["aws", "endpoint_url", "served"]
