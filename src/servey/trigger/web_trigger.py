"""The web trigger: an action is called by an HTTP request, and as a GraphQL query or mutation."""

from __future__ import annotations

import re
from enum import Enum
from typing import Literal

import msgspec

from servey.errors import DefinitionError


class WebTriggerMethod(Enum):
    """The HTTP methods an action can be served by (RFC 9110 §9, RFC 5789)."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


_SEGMENT = r"(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]+|\{[A-Za-z_][A-Za-z0-9_]*\})"
_PATH = re.compile(f"/|(?:/{_SEGMENT})+")


class WebTrigger(msgspec.Struct, frozen=True):
    """Serve an action over HTTP.

    Args:
        method: The HTTP method. GET and DELETE read the action's parameters from the query string, the other methods
            from a JSON object in the body; path parameters are in neither.
        path: The absolute path, with parameters as whole segments in braces: ``/users/{id}``. Default: ``/actions/``
            and the action's name with dashes.
        graphql: The kind of field in GraphQL: ``"query"``, ``"mutation"`` or None (not served). Default: a query for
            GET, otherwise a mutation.

    Raises:
        DefinitionError: The path is not a valid template, or another argument is not valid.

    Example:
        >>> WebTrigger(WebTriggerMethod.GET, "/parcels/{id}").path_parameters
        ('id',)
    """

    method: WebTriggerMethod = WebTriggerMethod.POST
    path: str | None = None
    graphql: Literal["query", "mutation", "by method"] | None = "by method"

    def __post_init__(self) -> None:
        if not isinstance(self.method, WebTriggerMethod):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"{self.method!r} is not a method", fix="write WebTrigger(WebTriggerMethod.GET, '/users/{id}')"
            )
        if self.graphql not in ("query", "mutation", "by method", None):
            raise DefinitionError(
                f"graphql={self.graphql!r} is not a kind of GraphQL field", fix="use 'query', 'mutation' or None"
            )
        if self.path is not None and not _PATH.fullmatch(self.path):
            raise DefinitionError(
                f"{self.path!r} is not a path template",
                fix="begin with a slash; no segment is empty, . or ..; a parameter is a whole segment: '/users/{id}'",
            )
        names = self.path_parameters
        if len(set(names)) < len(names):
            raise DefinitionError(f"the path {self.path!r} names a parameter twice", fix="give each its own name")

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The parameters of the path template, in order."""
        return tuple(re.findall(r"\{(\w+)\}", self.path or ""))

    @property
    def takes_query(self) -> bool:
        """Whether the parameters come from the query string (otherwise from a JSON body)."""
        return self.method in (WebTriggerMethod.GET, WebTriggerMethod.DELETE)


WEB_GET = WebTrigger(WebTriggerMethod.GET)
WEB_POST = WebTrigger(WebTriggerMethod.POST)
WEB_PUT = WebTrigger(WebTriggerMethod.PUT)
WEB_PATCH = WebTrigger(WebTriggerMethod.PATCH)
WEB_DELETE = WebTrigger(WebTriggerMethod.DELETE)
