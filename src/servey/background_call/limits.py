"""What does not hold with a broker and the settings of a process, for the log at its start."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger("servey.background")


def log_limits(settings: Any) -> None:
    """Log what does not hold with a broker; a server, a worker and a beat do this once, when they start.

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
            "each %s has its own SERVEY_STORE (%s), so these do not hold between them: overlap='skip', `once`, "
            "idempotency, and one run of each time of a schedule with two beats; set SERVEY_STORE=redis://host:6379/0",
            place,
            background.store,
        )
