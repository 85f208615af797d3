"""What the server adds to a service. Light: uvicorn is imported when it serves."""

from __future__ import annotations

from collections.abc import Sequence

from servey.plugin import Plugin
from servey.servey_uvicorn.settings import UvicornSettings
from servey.settings_part import SettingsPart


class UvicornPlugin(Plugin):
    """Serve the application with uvicorn."""

    def settings(self) -> Sequence[type[SettingsPart]]:
        """Return the settings of the server."""
        return (UvicornSettings,)
