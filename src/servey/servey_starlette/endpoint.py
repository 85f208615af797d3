"""The ASGI endpoint of one web route: reads the request, calls the operation, sends what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from servey.action.context import CallContext, Origin, new_request_id
from servey.action.reply import Reply
from servey.errors import CallError, InternalError, OverloadedError
from servey.servey_starlette.request import (
    AUTHORIZATION_KEY,
    Disconnected,
    Receive,
    Scope,
    Send,
    authorization_of,
    query_pairs,
    read_json,
    refuse_query,
    request_id_of,
)
from servey.service import Service
from servey.trigger.web_route import WebRoute

_log = logging.getLogger("servey.rest")

Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_NO_PATH: Mapping[str, str] = {}
_BODILESS = frozenset({204, 205, 304})
"""The statuses whose answers have no content (RFC 9110 §15.3.5, §15.3.6, §15.4.5)."""


def action_endpoint(route: WebRoute, service: Service) -> Endpoint:
    """Return the endpoint of `route`; everything that can be decided before a request is decided here."""
    operation, settings = route.operation, service.settings
    authorizers, is_open, replies = service.authorizers, operation.is_open, operation.signature.replies
    decode_text, decode_json, run, encode = (
        operation.decode_text,
        operation.decode_json,
        operation.run,
        operation.encode_json,
    )
    default_status, network = operation.action.status, Origin.NETWORK
    takes_query, has_path = route.trigger.takes_query, bool(route.trigger.path_parameters)
    max_query, max_body = settings.max_query_size, settings.max_body_size
    ignore_unknown = settings.unknown_query == "ignore"

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        context = CallContext(
            network, "rest", request_id_of(headers) if b"x-request-id" in headers else new_request_id()
        )
        try:
            if AUTHORIZATION_KEY in scope:
                context.authorization = scope[AUTHORIZATION_KEY]
            elif b"authorization" in headers:
                context.authorization = await authorization_of(scope, authorizers)
            if not is_open:
                await operation.authorize(context)
            if takes_query:
                arguments = decode_text(
                    query_pairs(scope["query_string"], max_query),
                    scope["path_params"] if has_path else _NO_PATH,
                    ignore_unknown,
                )
            else:
                if scope["query_string"] and not ignore_unknown:
                    refuse_query(scope["query_string"], max_query)
                arguments = decode_json(
                    await read_json(receive, headers, max_body), scope["path_params"] if has_path else _NO_PATH
                )
            body = await run(arguments, context, encode)
            status, extra = default_status, ()
            if replies:
                reply: Reply[bytes] = body
                body, status = reply.value, reply.status or default_status
                extra = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in reply.headers.items()]
        except CallError as error:
            await send_problem(error, context.request_id, scope, send)
            return
        except Disconnected:
            return
        except asyncio.CancelledError:
            if service.stopping:  # the server has waited long enough, and says nothing to the caller
                await send_problem(OverloadedError("the service is shutting down"), context.request_id, scope, send)
            raise
        except Exception:  # noqa: BLE001 - a plugin's authorizer; the operation raises nothing but CallError
            _log.exception(
                "%s: the request failed (request %s)",
                operation.name,
                context.request_id,
                extra={"action": operation.name, "request_id": context.request_id},
            )
            await send_problem(InternalError(), context.request_id, scope, send)
            return
        request_id = (b"x-request-id", context.request_id.encode("ascii"))
        if status in _BODILESS:
            await send({"type": "http.response.start", "status": status, "headers": [request_id, *extra]})
            await send({"type": "http.response.body", "body": b""})
            return
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, request_id, *extra]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return endpoint


async def send_problem(error: CallError, request_id: str, scope: Scope, send: Send) -> None:
    """Send `error` as problem details (RFC 9457)."""
    body = _problem_body(error, request_id)
    headers = [_PROBLEM, (b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode("ascii"))]
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def problem_endpoint(error: CallError) -> Endpoint:
    """Return an endpoint that always answers with `error`."""

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(error, request_id_of(dict(scope["headers"])), scope, send)

    return endpoint


def options_endpoint(allow: str) -> Endpoint:
    """Return the endpoint of OPTIONS (RFC 9110 §9.3.7): no content, and what is allowed."""
    allowed = (b"allow", allow.encode("ascii"))

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = (b"x-request-id", request_id_of(dict(scope["headers"])).encode("ascii"))
        await send({"type": "http.response.start", "status": 204, "headers": [allowed, request_id]})
        await send({"type": "http.response.body", "body": b""})

    return endpoint


def _problem_body(error: CallError, request_id: str) -> bytes:
    try:
        return msgspec.json.encode(error.problem(request_id))
    except (TypeError, ValueError, RecursionError):  # `data` of the user's that JSON cannot hold
        _log.exception("the data of a %s cannot be encoded", type(error).__name__, extra={"request_id": request_id})
        return msgspec.json.encode(InternalError().problem(request_id) | {"status": error.status, "code": error.code})
