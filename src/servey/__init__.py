"""Declare a typed function once; serve it everywhere.

The decorator is `servey.action.action.action`, because `action` is a package here; so is `subscription`.
"""

from servey.action.batch_invoker import BatchInvoker
from servey.action.context import CallContext, Origin
from servey.action.example import Example
from servey.action.reply import Reply
from servey.action.resource import resource
from servey.background_call.background import background
from servey.background_call.retry import Retry
from servey.cache_control.cache import cache
from servey.codec.big_int import BigInt
from servey.errors import (
    CallError,
    ConflictError,
    DeadlineError,
    DefinitionError,
    ErrorMapping,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    Problem,
    ServeyError,
    TooManyRequestsError,
    UnauthorizedError,
)
from servey.idempotency.idempotency import Idempotency
from servey.security.access_control import ALLOW_ALL, ALLOW_NONE, AllOf, AnyOf, ScopeAccessControl
from servey.security.authorization import Authorization
from servey.trigger.cron_trigger import CronTrigger
from servey.trigger.fixed_rate_trigger import FixedRateTrigger
from servey.trigger.web_trigger import (
    WEB_DELETE,
    WEB_GET,
    WEB_PATCH,
    WEB_POST,
    WEB_PUT,
    WebTrigger,
    WebTriggerMethod,
)

__version__ = "6.0.0"

__all__ = [
    "ALLOW_ALL",
    "ALLOW_NONE",
    "WEB_DELETE",
    "WEB_GET",
    "WEB_PATCH",
    "WEB_POST",
    "WEB_PUT",
    "AllOf",
    "AnyOf",
    "Authorization",
    "BatchInvoker",
    "BigInt",
    "CallContext",
    "CallError",
    "ConflictError",
    "CronTrigger",
    "DeadlineError",
    "DefinitionError",
    "ErrorMapping",
    "Example",
    "FixedRateTrigger",
    "ForbiddenError",
    "GoneError",
    "Idempotency",
    "InvalidError",
    "NotFoundError",
    "Origin",
    "OverloadedError",
    "Problem",
    "Reply",
    "Retry",
    "ScopeAccessControl",
    "ServeyError",
    "TooManyRequestsError",
    "UnauthorizedError",
    "WebTrigger",
    "WebTriggerMethod",
    "background",
    "cache",
    "resource",
]
