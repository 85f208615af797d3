"""End a process if its stop takes too long, even if its event loop is blocked."""

from __future__ import annotations

import logging
import os
import threading

_log = logging.getLogger("servey.server")

CLOSING_SECONDS = 2.0
"""The time limit for closing resources, after the running calls have ended or were cancelled, in seconds."""

SAME_SECONDS = 0.5
"""Within this time, two signals are the same Ctrl-C: from the terminal and from the parent process; in seconds."""


def end_after(seconds: float, number: int) -> None:
    """End the process by force after a time; its exit code is that of a signal.

    Args:
        seconds: The time, from now.
        number: The signal.
    """
    last = threading.Timer(seconds, _end, (number,))
    last.daemon = True
    last.start()


def _end(number: int) -> None:
    message = "a call or a resource did not end in time; the process ends by force"
    # writing blocks if no process reads standard error
    writing = threading.Thread(target=_log.critical, args=(message,), daemon=True)
    writing.start()
    writing.join(1)
    os._exit(128 + number)
