"""Warnings of settings that weaken the guarantees of a broker, for the log at the start of a process."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger("servey.background")


def log_broker_warnings(settings: Any) -> None:
    """Log each guarantee that the settings do not give. A server, a worker and a beat do this once, at their start.

    Args:
        settings: The `servey.settings.Settings`.
    """
    background = settings.background
    if not background.broker:
        return
    if not settings.message_secret:
        _log.warning(
            "no key signs background calls, so `submit` on behalf of a caller is refused: set SERVEY_MESSAGE_KEY or "
            "JWT_SECRET_KEY, the same in all servers and workers"
        )
    if "://" not in background.shared_store:
        place = "process" if background.store == "memory" else "machine"
        _log.log(
            logging.WARNING if settings.production else logging.INFO,
            "each %s has its own SERVEY_STORE (%s): overlap='skip', `once` and idempotency see the calls of one %s, "
            "and with two beats the calls of schedules run twice; set SERVEY_STORE=redis://host:6379/0",
            place,
            background.store,
            place,
        )
