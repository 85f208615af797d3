"""Log the secrets that the settings have generated, as users need the password."""

from __future__ import annotations

import logging
from multiprocessing import parent_process

from servey.ports import Authenticator
from servey.security.authenticator import DebugAuthenticator
from servey.settings import Settings

_log = logging.getLogger("servey.server")


def warn_of_generated(settings: Settings, authenticator: Authenticator | None) -> None:
    """Log the generated password where no banner shows it, and the secrets that other processes do not share."""
    for hint in login_hints(settings, authenticator):
        _log.warning("POST /login: %s", hint)
    if settings.process.workers > 1 or parent_process() is not None:  # a worker of another server, or of its reloader
        names = settings.generated
        _log.warning(
            "%s made up by this process, and otherwise by every other one of the server, so that a token or a password "
            "of one is refused by the next: set them, and SERVEY_ENV",
            " and ".join(names) + (" were" if len(names) > 1 else " was"),
        )


def login_hints(settings: Settings, authenticator: Authenticator | None) -> list[str]:
    """Return how to log in: the name, and the password if it was generated. Empty if nobody can log in."""
    if authenticator is None:
        return []
    if not isinstance(authenticator, DebugAuthenticator):
        return ["log in for a token"]
    if settings.variables()["debug_authenticator_password"].name not in settings.generated:
        return [f"log in as {authenticator.username}, with the password in the settings"]
    return [f"log in as {authenticator.username}, with the password {settings.login.debug_authenticator_password}"]
