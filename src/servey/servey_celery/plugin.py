"""The queue in a broker. Celery is imported when the queue is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from servey.plugin import Plugin
from servey.servey_celery.settings import CelerySettings
from servey.settings_part import SettingsPart

if TYPE_CHECKING:
    from servey.ports import CallQueue
    from servey.service import Service


class CeleryPlugin(Plugin):
    """Put background calls into the broker of ``CELERY_BROKER``."""

    def settings(self) -> Sequence[type[SettingsPart]]:
        """Return the part of Celery."""
        return (CelerySettings,)

    def call_queue(self, service: Service) -> CallQueue | None:
        """Return the queue in the broker; None if there is none."""
        if not service.settings.background.broker:
            return None
        from servey.servey_celery.app import CeleryEngine

        return CeleryEngine(service).queue
