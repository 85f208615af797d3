"""Answer call errors over HTTP, as problem details (RFC 9457)."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from servey.action.context import RateLimitState
from servey.errors import CallError
from servey.http.request import Endpoint, Receive, Scope, Send, request_id_of
from servey.problem_details import problem_details
from servey.settings import Settings

_CONTENT_TYPE = (b"content-type", b"application/problem+json")


class Problems:
    """Answers with problem details, whose ``type`` is a link into the error catalogue.

    Args:
        settings: The settings, with the address of the catalogue.
    """

    def __init__(self, settings: Settings) -> None:
        self._types_at = settings.api.problem_types_at

    def body(self, error: CallError, request_id: str, scope: Scope) -> bytes:
        """Return the problem as JSON."""
        types = self._types_at(quote(scope.get("root_path", ""), errors="replace"))
        try:
            return msgspec.json.encode(error.problem(request_id, types))
        except (TypeError, ValueError, OverflowError, RecursionError):  # from a text or the `data` of the service
            return msgspec.json.encode(problem_details(error, request_id, types))

    @staticmethod
    def headers(error: CallError, limits: RateLimitState | None = None) -> dict[str, str]:
        """Return the headers of a problem except those of its content, with names in lower case.

        The default is ``Cache-Control: no-store`` (RFC 9111 §5.2.2.5); the error may override it.

        Args:
            error: The error.
            limits: The state of the action's rate limit, if the call was counted.
        """
        headers = {"cache-control": "no-store"}
        if limits is not None:
            headers |= {name.lower(): value for name, value in limits.headers.items()}
        return headers | {name.lower(): value for name, value in error.headers.items()}

    async def send(
        self, error: CallError, request_id: str, scope: Scope, send: Send, limits: RateLimitState | None = None
    ) -> None:
        """Answer with `error`; the arguments are those of `body` and `headers`."""
        body = self.body(error, request_id, scope)
        headers = [_CONTENT_TYPE, (b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode("ascii"))]
        headers += [(k.encode("latin-1"), v.encode("latin-1")) for k, v in self.headers(error, limits).items()]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def endpoint(self, error: CallError) -> Endpoint:
        """Return an endpoint that always answers with `error`."""

        async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            await self.send(error, request_id_of(dict(scope["headers"])), scope, send)

        return endpoint
