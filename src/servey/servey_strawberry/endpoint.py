"""The ASGI endpoint of ``/graphql``: GraphQL over HTTP (working draft of 2025)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from graphql import GraphQLError, OperationType

from servey.action.context import CallContext, Origin, new_request_id
from servey.action.defect import defect, is_stop
from servey.cache_control.answer_headers import answer_headers, header_lines
from servey.cache_control.preconditions import Conditions, Outcome, is_conditional
from servey.cache_control.representation import Representation
from servey.errors import (
    CallError,
    ForbiddenError,
    InternalError,
    MethodNotAllowedError,
    OverloadedError,
)
from servey.http.answer import asked_of_cache
from servey.http.bearer import AUTHORIZATION_KEY, authenticated
from servey.http.current_representation import current_of
from servey.http.endpoint import CALL_KEY, OPERATIONS_KEY, Operations
from servey.http.request import (
    Disconnected,
    Receive,
    Scope,
    Send,
    client_of,
    read_json,
    refuse_query,
    request_id_of,
    traceparent_of,
)
from servey.idempotency.key import key_in
from servey.schema.graphql.errors import error_of
from servey.schema.graphql.model import Model
from servey.security.authorization import Authorization
from servey.servey_strawberry.documents import Document, DocumentError, Documents
from servey.servey_strawberry.errors import execution_errors, request_errors
from servey.servey_strawberry.execution import Execute, core_execution
from servey.servey_strawberry.graphql_context import GraphQLContext
from servey.servey_strawberry.query_complexity import root_actions
from servey.servey_strawberry.request import (
    GRAPHQL,
    JSON,
    GraphQLRequest,
    check_csrf,
    check_values,
    media_type,
    of_body,
    of_query,
)
from servey.servey_strawberry.schema import create_schema
from servey.servey_strawberry.settings import GraphQLSettings
from servey.service import Service

_log = logging.getLogger("servey.graphql")

_METHODS = ("GET", "HEAD", "OPTIONS", "POST")


class GraphQLEndpoint:
    """Answers the GraphQL requests of one service.

    Args:
        service: The service.
        model: The model of the service.

    Raises:
        SettingsError: The persisted documents are not valid.
    """

    def __init__(self, service: Service, model: Model) -> None:
        self._service, self._settings = service, service.settings
        production = service.settings.production
        self._limits = service.settings.part(GraphQLSettings)
        self._has_page = self._limits.serves_page(production=production)
        self._by_get = self._limits.by_get(production=production)
        self._introspection = self._limits.introspection(production=production)
        self._schema = create_schema(service, model).core
        self.documents = Documents(self._schema, self._settings)
        self.execute: Execute = core_execution(self._schema, hide_suggestions=production)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = request_id_of(headers) if b"x-request-id" in headers else new_request_id()
        context = CallContext(Origin.NETWORK, "graphql", request_id, traceparent=traceparent_of(headers))
        scope[CALL_KEY] = "graphql", context
        operations = scope[OPERATIONS_KEY] = Operations()
        accepted = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"]
        media = media_type(accepted)
        answer = _Answer(scope, send, request_id, media or GRAPHQL)
        try:
            if scope["method"] == "OPTIONS":
                await answer.send(b"", 204, [("allow", ", ".join(_METHODS))])
                return
            if scope["method"] not in _METHODS:
                raise MethodNotAllowedError(_METHODS)
            if media is None:
                raise _NotAcceptableError
            if (
                self._has_page
                and scope["method"] == "GET"
                and not scope["query_string"]
                and any("text/html" in value for value in accepted)
            ):  # a browser; the location is relative, because the full path may be unknown here
                await answer.send(b"", 307, [("location", "graphiql/")])
                return
            await self._answer(scope, receive, headers, context, answer)
        except CallError as error:
            operations.errors = 1
            await answer.fail(error)
        except Disconnected:
            return
        except BaseException as error:  # raised by a plugin's authorizer, or by a property of an object
            if is_stop(error):
                if isinstance(error, asyncio.CancelledError) and self._service.stopping:
                    await answer.fail(OverloadedError("the service is shutting down"))
                raise
            operations.errors = 1
            await answer.fail(defect(error, "the request failed", log=_log, request_id=request_id))

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], context: CallContext, answer: _Answer
    ) -> None:
        deadline = self._service.runtime.loop.time() + self._settings.calls.timeout
        context.authorization = await authenticated(scope, self._service, context, deadline)
        context.client = client_of(scope)
        reads = scope["method"] != "POST"
        request = await self._read(scope, receive, headers)
        if isinstance(request, list):
            bodies = [
                await self._body_of(item, context, scope, answer, f"{number}.") for number, item in enumerate(request)
            ]
            scope[OPERATIONS_KEY].errors = sum(len(body.get("errors", ())) for body in bodies)
            await answer.send(_encoded(bodies, context.request_id), 200, [("cache-control", "private, no-store")])
            return
        body, status, graphql = await self._execute(request, context, scope, answer, by_get=reads)
        scope[OPERATIONS_KEY].errors = len(body.get("errors", ()))
        content = _encoded(body, context.request_id)
        if reads and graphql is not None and "errors" not in body:
            await answer.send_cached(content, graphql, headers)
        else:
            private = graphql is not None and graphql.private
            await answer.send(content, status, [("cache-control", "private, no-store" if private else "no-store")])

    async def _read(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes]
    ) -> GraphQLRequest | list[GraphQLRequest]:
        query, longest = scope["query_string"], self._settings.http.max_query_size
        if scope["method"] == "POST":
            if query:
                refuse_query(query, longest)
            body = await read_json(receive, headers, self._settings.http.max_body_size)
            return of_body(body, self._limits.graphql_max_batch)
        request = of_query(query, longest)
        if self._by_get == "off":
            raise MethodNotAllowedError(("OPTIONS", "POST"))
        if self._by_get != "on" and not self.documents.knows(request.document_id):
            check_csrf(headers)
        return request

    async def _body_of(
        self, request: GraphQLRequest, context: CallContext, scope: Scope, answer: _Answer, place: str
    ) -> dict[str, Any]:
        """Return the response of one request of a batch; its error does not affect the other requests."""
        try:
            return (await self._execute(request, context, scope, answer, by_get=False, place=place))[0]
        except CallError as error:
            return {"errors": [error_of(error, context.request_id)]}

    async def _execute(
        self,
        request: GraphQLRequest,
        context: CallContext,
        scope: Scope,
        answer: _Answer,
        *,
        by_get: bool,
        place: str = "",
    ) -> tuple[dict[str, Any], int, GraphQLContext | None]:
        """Return the response of one request, its status, and its context if it was executed."""
        refused = 200 if answer.media == JSON else 400
        try:
            document = self.documents.find(request.query, request.document_id)
            operation = document.operation(request.operation_name)
            if operation is not None and operation.name is not None:
                scope[OPERATIONS_KEY].names.append(operation.name.value)
            if operation is None:
                raise DocumentError([_no_operation(document, request.operation_name)])
            if document.introspects:
                self._check_introspection(context.authorization)
        except DocumentError as error:
            return {"errors": request_errors(error.errors, context.request_id)}, refused, None
        reads = operation.operation is OperationType.QUERY
        if by_get and not reads:
            raise _MutationByGetError
        check_values(request.variables, self._limits.graphql_max_values, document.calls)
        max_age, store = asked_of_cache(scope["headers"])
        graphql = GraphQLContext(
            authorization=context.authorization,
            request_id=context.request_id,
            client=context.client,
            traceparent=context.traceparent,
            reads=reads,
            max_age=max_age,
            store=store,
            idempotency_key=key_in(scope["headers"]),
            place=place,
        )
        executed = await self.execute(document, request.operation_name, request.variables, graphql)
        if executed.refused:
            for action in root_actions(self._schema, document.ast, operation):
                await graphql.authorize(action)  # without access, the caller gets no errors about the variables
            return {"errors": request_errors(executed.refused, context.request_id)}, refused, None
        body: dict[str, Any] = {"data": executed.data}
        if executed.errors:
            body = {"errors": execution_errors(executed.errors, context.request_id), **body}
        return body, 200, graphql

    def _check_introspection(self, authorization: Authorization | None) -> None:
        """Check that the caller may use introspection.

        Raises:
            ForbiddenError: The caller may not.
        """
        allowed = self._introspection
        if allowed == "on":
            return
        if allowed == "off":
            raise ForbiddenError("introspection is off (SERVEY_GRAPHQL_INTROSPECTION)")
        if authorization is None or allowed not in authorization.scopes:
            raise ForbiddenError("introspection needs a scope", scope=allowed)


class _MutationByGetError(MethodNotAllowedError):
    """A GET has a mutation (GraphQL over HTTP §6.2)."""

    def __init__(self) -> None:
        super().__init__(("OPTIONS", "POST"), "a mutation is sent by POST")


class _NotAcceptableError(CallError):
    """The client does not accept a media type of GraphQL (RFC 9110 §15.5.7)."""

    code, status = "not_acceptable", 406

    def __init__(self) -> None:
        super().__init__(f"the answer is {GRAPHQL} or {JSON}")


class _Answer:
    """Sends the answer to one request."""

    def __init__(self, scope: Scope, send: Send, request_id: str, media: str) -> None:
        self._scope, self._send, self._request_id = scope, send, request_id
        self._by_cookie = AUTHORIZATION_KEY in scope
        self.media = media

    async def send(self, content: bytes, status: int, headers: Any = ()) -> None:
        """Send content; headers as pairs of text."""
        lines = [(b"x-request-id", self._request_id.encode("ascii")), *header_lines(list(headers))]
        if status != 204:
            lines.append((b"vary", b"Accept, Authorization, Cookie" if self._by_cookie else b"Accept, Authorization"))
        if status not in (204, 304):
            lines.append((b"content-type", f"{self.media}; charset=utf-8".encode("ascii")))
            lines.append((b"content-length", b"%d" % len(content)))
        await self._send({"type": "http.response.start", "status": status, "headers": lines})
        body = b"" if self._scope["method"] == "HEAD" else content
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, error: CallError) -> None:
        """Send an error of the whole request."""
        content = _encoded({"errors": [error_of(error, self._request_id)]}, self._request_id)
        headers = {"cache-control": "no-store"} | {name.lower(): value for name, value in error.headers.items()}
        await self.send(content, error.status, headers.items())

    async def send_cached(self, content: bytes, graphql: GraphQLContext, headers: Mapping[bytes, bytes]) -> None:
        """Send the response of a query with its caching headers; a 304 if the client already has it."""
        representation = Representation.of(content, graphql.cache, private=graphql.private)
        lines = [line for line in answer_headers(representation) if line[0] != "vary"]
        if is_conditional(headers):
            conditions = Conditions.of(self._scope["headers"], representation.made_at)
            outcome = conditions.evaluate(current_of(representation), reads=True, now=representation.made_at)
            if outcome is Outcome.NOT_MODIFIED:
                await self.send(b"", 304, lines)
                return
        await self.send(content, 200, lines)


def _no_operation(document: Document, name: str | None) -> GraphQLError:
    if name is not None:
        return GraphQLError(f"the document has no operation called {name[:100]!r}")
    if not document.operations:
        return GraphQLError("the document has no operation, only fragments")
    return GraphQLError("the document has several operations: name one in operationName")


def _plain(value: Any) -> Any:
    """Return an object of a subclass of str, which graphql-core passes on, as a plain str."""
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"JSON cannot contain a {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def _encoded(body: Any, request_id: str) -> bytes:
    try:
        return _encoder.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError):  # `data` of an error that JSON cannot contain
        _log.exception("the answer cannot be encoded (request %s)", request_id, extra={"request_id": request_id})
        raise InternalError from None
