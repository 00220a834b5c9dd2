"""The API of AWS Step Functions, as its SDKs speak it."""

from flowrunner.api.aws.authentication import AccessKey, Authenticator, DenyAll, Development, Signed
from flowrunner.api.aws.bearer import BearerOr, KnownOr
from flowrunner.api.aws.protocol import AwsEndpoint
from flowrunner.api.aws.service import Service
from flowrunner.identity.principal import Principal

__all__ = ["AccessKey", "Authenticator", "AwsEndpoint", "BearerOr", "DenyAll", "Development", "KnownOr", "Principal", "Service", "Signed"]
