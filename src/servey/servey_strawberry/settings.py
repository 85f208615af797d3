"""The settings of GraphQL; `servey.http.settings` has the limits that ``?include=`` has, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from servey.settings_part import Positive, SettingsPart, Variable


class GraphQLSettings(SettingsPart, frozen=True, kw_only=True):
    """The settings of GraphQL, and its limits."""

    graphql: Annotated[bool, Variable("SERVEY_GRAPHQL", "Whether the server serves `/graphql`.")] = True
    graphiql: Annotated[
        bool | None,
        Variable(
            "SERVEY_GRAPHIQL",
            "Whether the server serves the page `/graphiql/`, where you try queries. Unset: in development.",
        ),
    ] = None
    graphql_introspection: Annotated[
        str,
        Variable(
            "SERVEY_GRAPHQL_INTROSPECTION",
            "Which callers may read the schema by GraphQL: `on` for all, `off` for none, or the required scope. "
            "Unset: all in development, none in production.",
        ),
    ] = ""
    graphql_get: Annotated[
        Literal["", "on", "off", "guarded"],
        Variable(
            "SERVEY_GRAPHQL_GET",
            "Which queries the server accepts by GET: `on` for all, `off` for none, `guarded` for persisted documents "
            "and for requests with a header that pages of other sites cannot send without permission. Unset: all in "
            "development, guarded in production.",
        ),
    ] = ""
    graphql_documents: Annotated[
        str,
        Variable(
            "SERVEY_GRAPHQL_DOCUMENTS",
            "A JSON file of persisted documents by their hashes; callers send the hash instead of the document.",
        ),
    ] = ""
    graphql_only_documents: Annotated[
        bool, Variable("SERVEY_GRAPHQL_ONLY_DOCUMENTS", "Whether the server executes persisted documents only.")
    ] = False
    graphql_max_aliases: Annotated[
        Annotated[int, msgspec.Meta(ge=0)],
        Variable(
            "SERVEY_GRAPHQL_MAX_ALIASES",
            "The largest number of aliases in a GraphQL document; each use of a fragment counts.",
        ),
    ] = 30
    graphql_max_tokens: Annotated[
        Positive,
        Variable("SERVEY_GRAPHQL_MAX_TOKENS", "The largest number of tokens (words and signs) in a GraphQL document."),
    ] = 2000
    graphql_max_values: Annotated[
        Positive,
        Variable(
            "SERVEY_GRAPHQL_MAX_VALUES",
            "The largest number of values in the variables of a request; items of lists and members of objects count. "
            "The limit is lower for a document that calls more than ten actions.",
        ),
    ] = 20_000
    graphql_max_batch: Annotated[
        Positive,
        Variable(
            "SERVEY_GRAPHQL_MAX_BATCH", "The largest number of GraphQL requests in one HTTP request, as an array."
        ),
    ] = 1

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield required documents that are missing, and an invalid scope."""
        if self.graphql_only_documents and not self.graphql_documents:
            yield "SERVEY_GRAPHQL_ONLY_DOCUMENTS is on, and there are none: name their file in SERVEY_GRAPHQL_DOCUMENTS"
        if re.search(r"[\s\"\\]", self.graphql_introspection):
            yield (
                f"SERVEY_GRAPHQL_INTROSPECTION is {self.graphql_introspection!r}: write on, off or one scope "
                "(RFC 6749 §3.3)"
            )

    def serves_page(self, *, production: bool) -> bool:
        """Return whether the server serves ``/graphiql/``."""
        wanted = not production if self.graphiql is None else self.graphiql
        return self.graphql and wanted

    def introspection(self, *, production: bool) -> str:
        """Return the callers that may read the schema: ``on`` for all, ``off`` for none, or a scope."""
        return self.graphql_introspection or ("off" if production else "on")

    def by_get(self, *, production: bool) -> str:
        """Return which queries the server accepts by GET: ``on``, ``off`` or ``guarded``."""
        return self.graphql_get or ("guarded" if production else "on")
