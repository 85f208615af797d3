"""The plugin of REST. It does not import Starlette; `app` does when an application is created."""

from __future__ import annotations

from collections.abc import Sequence

from servey.plugin import Plugin, TriggerSupport
from servey.trigger.web_trigger import WebTrigger


class StarlettePlugin(Plugin):
    """Serve web triggers. Their routes come from `Service.web_routes`."""

    def triggers(self) -> Sequence[TriggerSupport]:
        """Return the support of web triggers; the server that hosts the application calls them."""
        return (TriggerSupport(WebTrigger),)
