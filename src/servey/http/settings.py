"""The settings of HTTP: request limits, limits of nested results, and CORS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from servey.settings_part import Positive, SettingsPart, Variable

_ORIGIN = r"[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+"
"""The ``Origin`` header of a browser (RFC 6454 §6.2): the host is in lower case, and in Punycode if not ASCII."""


class HttpSettings(SettingsPart, frozen=True, kw_only=True):
    """The limits of requests and of what they select, by ``?include=`` and in a GraphQL document, and CORS."""

    max_body_size: Annotated[
        Positive, Variable("SERVEY_MAX_BODY_SIZE", "The size limit of a request body in bytes.")
    ] = 6 * 1024 * 1024
    max_query_size: Annotated[
        Positive, Variable("SERVEY_MAX_QUERY_SIZE", "The length limit of a query string in bytes.")
    ] = 64 * 1024
    unknown_query: Annotated[
        Literal["refuse", "ignore"],
        Variable(
            "SERVEY_UNKNOWN_QUERY",
            "How the server treats query parameters that the action does not have: `refuse` (422) or `ignore`.",
        ),
    ] = "refuse"
    cors_origins: Annotated[
        tuple[str, ...],
        Variable(
            "CORS_ALLOWED_ORIGINS",
            "The origins whose pages may call the service (`https://example.com,…`), or `*` for all.",
            ("SERVEY_CORS_ALLOWED_ORIGINS",),
        ),
    ] = ()
    cors_credentials: Annotated[
        bool,
        Variable(
            "CORS_ALLOW_CREDENTIALS",
            "Whether pages of `CORS_ALLOWED_ORIGINS` may send cookies and credentials; not together with `*`.",
            ("SERVEY_CORS_ALLOW_CREDENTIALS",),
        ),
    ] = False
    max_depth: Annotated[
        Positive,
        Variable("SERVEY_MAX_DEPTH", "The depth limit of nested fields in a request.", ("SERVEY_GRAPHQL_MAX_DEPTH",)),
    ] = 15
    max_fields: Annotated[
        Positive,
        Variable(
            "SERVEY_MAX_FIELDS",
            "The largest number of fields in a request; each use of a fragment counts.",
            ("SERVEY_GRAPHQL_MAX_FIELDS",),
        ),
    ] = 300
    max_cost: Annotated[
        Positive,
        Variable(
            "SERVEY_MAX_COST",
            "The cost limit of a request: a field costs 1, a field that calls an action costs 10, and each field in "
            "a list costs ten times as much.",
            ("SERVEY_GRAPHQL_MAX_COST",),
        ),
    ] = 20_000

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield origins that no browser sends, and credentials for all origins."""
        for origin in self.cors_origins:
            if origin != "*" and not re.fullmatch(_ORIGIN, origin):
                yield (
                    f"CORS_ALLOWED_ORIGINS has {origin!r}, which is not an origin: write scheme and host in lower "
                    "case, as in https://example.com, without a path and without a pattern"
                )
        if "*" in self.cors_origins and self.cors_credentials:
            yield (
                "CORS_ALLOWED_ORIGINS is * and CORS_ALLOW_CREDENTIALS is on: every web page could act for your users. "
                "List the origins, or switch credentials off."
            )
