"""Executions and definitions in DynamoDB: one table that several nodes share."""

from flowrunner.stores.dynamodb.store import DynamoStore

__all__ = ["DynamoStore"]
