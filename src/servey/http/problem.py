"""How a call error is answered over HTTP: as problem details (RFC 9457)."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from servey.action.context import RateLimitState
from servey.errors import CallError
from servey.http.request import Endpoint, Receive, Scope, Send, request_id_of
from servey.problem_details import problem_details
from servey.security.rate_limit.rate_limit_headers import rate_limit_headers
from servey.settings import Settings

_CONTENT_TYPE = (b"content-type", b"application/problem+json")


class Problems:
    """Answers with problem details, whose ``type`` leads to the errors catalogue.

    Args:
        settings: Where the catalogue is.
    """

    def __init__(self, settings: Settings) -> None:
        self._types_at = settings.api.problem_types_at

    def body(self, error: CallError, request_id: str, scope: Scope) -> bytes:
        """Return the problem as JSON."""
        types = self._types_at(quote(scope.get("root_path", ""), errors="replace"))
        try:
            return msgspec.json.encode(error.problem(request_id, types))
        except (TypeError, ValueError, OverflowError, RecursionError):  # a text or `data` of the service's
            return msgspec.json.encode(problem_details(error, request_id, types))

    @staticmethod
    def headers(error: CallError, limits: RateLimitState | None = None) -> dict[str, str]:
        """Return the headers of a problem besides those of its content, their names in lower case.

        No cache keeps a problem (RFC 9111 §5.2.2.5), unless the error says otherwise.

        Args:
            error: The error.
            limits: What is left of the rate limit of the action, when the call was counted.
        """
        headers = {"cache-control": "no-store"}
        if limits is not None:
            headers |= {name.lower(): value for name, value in rate_limit_headers(limits).items()}
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
