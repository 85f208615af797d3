"""The ASGI endpoint of one web route: reads the request, calls the operation, sends the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from servey.action.context import CallContext, Origin, new_request_id
from servey.action.defect import defect, is_stop
from servey.action.operation import LARGE_BODY
from servey.errors import CallError, OverloadedError
from servey.http.answer import answering, privacy_of
from servey.http.bearer import AUTHORIZATION_KEY, authorization_left_in, bearer_token
from servey.http.include import answer_including
from servey.http.problem import Problems
from servey.http.request import (
    Disconnected,
    Endpoint,
    Receive,
    Scope,
    Send,
    client_of,
    query_pairs,
    read_json,
    refuse_query,
    request_id_of,
    traceparent_of,
)
from servey.include.paths import IncludePaths
from servey.include.targets import INCLUDE
from servey.service import Service
from servey.trigger.web_route import WebRoute

_log = logging.getLogger("servey.rest")

CALL_KEY = "servey.call"
"""The ASGI scope key where an action's endpoint puts the action's name and the `CallContext`, for the access log."""

OPERATIONS_KEY = "servey.operations"
"""The ASGI scope key where the GraphQL endpoint puts its `Operations`, for the access log."""


class Operations:
    """The operations of a GraphQL request, for the access log.

    Attributes:
        names: The names of the named operations.
        errors: The number of errors in the answer.
    """

    __slots__ = ("errors", "names")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.errors = 0


_JSON = (b"content-type", b"application/json")
_NO_PATH: Mapping[str, str] = {}
_BODILESS = frozenset({204, 205, 304})
"""The statuses whose answers have no content (RFC 9110 §15.3.5, §15.3.6, §15.4.5)."""


def action_endpoint(route: WebRoute, service: Service, problems: Problems, include: IncludePaths) -> Endpoint:
    """Return the endpoint of `route`; all decisions that do not depend on the request are made here."""
    operation, settings = route.operation, service.settings
    is_unguarded, is_limited = operation.is_unguarded, operation.limiter is not None
    decode_text, decode_json, run, encode = (
        operation.decode_text,
        operation.decode_json,
        operation.run,
        operation.encode_json,
    )
    default_status, network = operation.action.status, Origin.NETWORK
    takes_query, has_path = route.trigger.takes_query, bool(route.trigger.path_parameters)
    max_query, max_body = settings.http.max_query_size, settings.http.max_body_size
    ignore_unknown = settings.http.unknown_query == "ignore"
    name, send_problem = operation.name, problems.send
    answer = answering(route, service.cached, service.invalidations.get(name), service.idempotent.get(name))
    privacy, privacy_by_cookie = privacy_of(operation)
    authenticate, remembered = service.authenticate, service.authentication.remembered
    including = answer_including(route, include, service.cached, ignore_unknown=ignore_unknown)

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        context = CallContext(
            network, "rest", request_id_of(headers) if b"x-request-id" in headers else new_request_id()
        )
        if b"traceparent" in headers:
            context.traceparent = traceparent_of(headers)
        scope[CALL_KEY] = name, context
        extra = privacy
        try:
            if AUTHORIZATION_KEY in scope:
                context.authorization, extra = authorization_left_in(scope), privacy_by_cookie
            elif b"authorization" in headers:
                token = bearer_token(scope["headers"])
                context.authorization = remembered(token) or await authenticate(
                    token, context, operation.deadline(context, operation.runtime)
                )
            if not is_unguarded:
                if is_limited:
                    context.client = client_of(scope)
                await operation.authorize(context)
            arguments, included = None, None
            if takes_query:
                pairs = query_pairs(scope["query_string"], max_query)
                if including is not None and any(name == INCLUDE for name, _ in pairs):
                    included = await including(pairs, context, scope, headers)
                else:
                    arguments = decode_text(pairs, scope["path_params"] if has_path else _NO_PATH, ignore_unknown)
            else:
                if scope["query_string"] and not ignore_unknown:
                    refuse_query(scope["query_string"], max_query)
                data = await read_json(receive, headers, max_body)
                in_path = scope["path_params"] if has_path else _NO_PATH
                if len(data) <= LARGE_BODY:
                    arguments = decode_json(data, in_path)
                else:
                    arguments = await operation.decode_in_thread(data, in_path, context)
            if included is not None:
                body, status, extra = included
            elif answer is None:
                body, status = await run(arguments, context, encode), default_status
            else:
                body, status, extra = await answer(arguments, context, scope, headers)
        except CallError as error:
            await send_problem(error, context.request_id, scope, send, context.limits)
            return
        except Disconnected:
            return
        except BaseException as error:  # from a plugin's authorizer, or from a class of the arguments
            if isinstance(error, asyncio.CancelledError) and is_stop(error):
                if service.stopping:  # the server stops without an answer to the client
                    await send_problem(OverloadedError("the service is shutting down"), context.request_id, scope, send)
                raise
            failed = defect(error, "the request failed", log=_log, request_id=context.request_id, action=name)
            await send_problem(failed, context.request_id, scope, send)
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


def options_endpoint(allow: str) -> Endpoint:
    """Return the endpoint of OPTIONS (RFC 9110 §9.3.7): no content, and the allowed methods."""
    allowed = (b"allow", allow.encode("ascii"))

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = (b"x-request-id", request_id_of(dict(scope["headers"])).encode("ascii"))
        await send({"type": "http.response.start", "status": 204, "headers": [allowed, request_id]})
        await send({"type": "http.response.body", "body": b""})

    return endpoint
