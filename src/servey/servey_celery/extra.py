"""Celery and its library for messages, which have no types. Only this module handles a missing Celery."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from servey.errors import MissingExtraError, is_missing

try:
    celery: Any = import_module("celery")
    kombu: Any = import_module("kombu")
except ModuleNotFoundError as error:
    if not (is_missing("celery", error) or is_missing("kombu", error)):
        raise
    raise MissingExtraError("celery", "celery") from error

__all__ = ["celery", "kombu"]
