"""The settings of the API's documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from servey.settings_part import SettingsPart, Variable

_PART = r"[^\x00-\x20\x7f-\xa0\s\"'`<>\\]"
_URL = rf"https?://(?![/?#]){_PART}+|(?![a-z][a-z0-9+.-]*:){_PART}+"
"""An ``http`` or ``https`` URL, or a relative reference (RFC 3986 §4.1), that a page can contain without quoting."""


class ApiSettings(SettingsPart, frozen=True, kw_only=True):
    """How the API describes itself."""

    docs: Annotated[
        bool, Variable("SERVEY_DOCS", "Whether the server serves `/docs`, with its pages, and `/openapi.json`.")
    ] = True
    api_title: Annotated[str, Variable("SERVEY_API_TITLE", "The title of the OpenAPI document.")] = "API"
    api_version: Annotated[str, Variable("SERVEY_API_VERSION", "The version of the API in the OpenAPI document.")] = (
        "0.1.0"
    )
    api_description: Annotated[
        str, Variable("SERVEY_API_DESCRIPTION", "The description in the OpenAPI document, in Markdown.")
    ] = ""
    api_servers: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_API_SERVERS",
            "The URLs of the service in the OpenAPI document: `http`, `https`, or relative. Unset: the URL of the "
            "server that serves the document.",
        ),
    ] = ()
    problem_types: Annotated[
        str,
        Variable(
            "SERVEY_PROBLEM_TYPES",
            "The first part of the `type` of a problem, before the code: the URL of your errors catalogue. Unset: "
            "the catalogue at `/docs/errors`.",
        ),
    ] = ""

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield texts that are not URLs."""
        types = (self.problem_types,) if self.problem_types else ()
        for name, urls in (("SERVEY_API_SERVERS", self.api_servers), ("SERVEY_PROBLEM_TYPES", types)):
            for url in urls:
                if not re.fullmatch(_URL, url, re.IGNORECASE):
                    yield (
                        f"{name} has {url!r}, which is not a URL: write https://example.com/path, or a path, without "
                        "spaces, quotes and angle brackets"
                    )

    def problem_types_at(self, root_path: str = "") -> str:
        """Return the first part of the ``type`` of a problem (RFC 9457), before the code; empty for ``about:blank``.

        The service's own errors page has its full path, as RFC 9457 §3.1.1 recommends for a relative reference.

        Args:
            root_path: The path at which the service is mounted.
        """
        if self.problem_types or not self.docs:
            return self.problem_types
        return f"{root_path}/docs/errors#"
