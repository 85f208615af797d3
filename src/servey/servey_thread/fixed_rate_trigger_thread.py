"""Run schedules and background calls in a thread, beside a program without an event loop."""

from __future__ import annotations

from typing import Any

from servey.action.current import set_service_of_process
from servey.action.portal import Portal
from servey.service import Service


class FixedRateTriggerThread:
    """A thread that runs the schedules and the background calls of a service, as a server does.

    While it runs, its service is that of the process, so that `servey.background` works in the program. It is a context
    manager, too.

    Args:
        service: The service.

    Example:
        >>> from servey.settings import Settings
        >>> thread = FixedRateTriggerThread(Service(settings=Settings(store="memory")))
        >>> thread.start()
        >>> thread.stop()
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._portal: Portal | None = None
        self._before: Any = None

    def start(self) -> None:
        """Start the thread, unless it is running. Return when the schedules are running.

        Raises:
            SettingsError: The file of ``SERVEY_STORE`` cannot be used.
            ResourceError: A resource of the service cannot be opened.
        """
        if self._portal is None:
            self._portal = Portal(self._service.serving).__enter__()
            self._before = set_service_of_process(self._service)

    def stop(self) -> None:
        """Begin no more calls, and wait for the running ones, for at most ``SERVEY_SHUTDOWN_TIMEOUT`` seconds."""
        portal, self._portal = self._portal, None
        if portal is not None:
            portal.__exit__(None, None, None)
            set_service_of_process(self._before)

    def __enter__(self) -> FixedRateTriggerThread:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        """Stop."""
        self.stop()
