"""A service as an OpenAPI document (https://spec.openapis.org/oas/v3.1.1.html)."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from typing import Any, Literal

import msgspec

from servey.action.action import Action
from servey.action.callables import module_of
from servey.action.checked_example import CheckedExample
from servey.action.operation import Operation
from servey.codec.node import MISSING, Field, Node
from servey.codec.schema_names import Names
from servey.codec.text import TextKind
from servey.errors import InvalidError
from servey.problem_details import encodable_text
from servey.schema.components import Components
from servey.schema.examples import distinct, example_objects, filled, shown_examples
from servey.schema.headers import key_parameter, result_headers
from servey.schema.include import IncludeWriter
from servey.schema.openapi_30 import as_openapi_30
from servey.schema.problems import PROBLEM, problem_responses
from servey.schema.samples import with_samples
from servey.schema.security import SecurityWriter
from servey.service import Service
from servey.settings import Settings
from servey.trigger.web_route import WebRoute

OpenApiVersion = Literal["3.1", "3.0"]
"""The versions of OpenAPI that a document can be written in."""

_JSON = "application/json"


def openapi_document(
    service: Service,
    *,
    version: OpenApiVersion = "3.1",
    root_path: str = "",
    visible: Container[str] | None = None,
) -> dict[str, Any]:
    """Return the OpenAPI document of a service. The document is the same for the same service.

    Args:
        service: The service; an action with ``include_in_schema=False`` is left out.
        version: The version of OpenAPI to write.
        root_path: The path that the service is mounted at; it is the server's URL without ``SERVEY_API_SERVERS``.
        visible: The names of the actions to show; None for all.

    Example:
        >>> from servey.action.action import action
        >>> from servey.trigger.web_trigger import WEB_GET
        >>> @action(triggers=(WEB_GET,))
        ... def say_hello(name: str) -> str:
        ...     "Greet a user!"
        ...     return f"Hello {name}!"
        >>> openapi_document(Service([say_hello]))["paths"]["/actions/say-hello"]["get"]["summary"]
        'Greet a user!'
    """
    settings, api = service.settings, service.settings.api
    shown = service.operations if visible is None else visible
    whole = [route for route in service.web_routes if route.operation.action.include_in_schema]
    routes = [route for route in whole if route.operation.name in shown]
    components, names = Components({"Problem": PROBLEM} if routes else {}), Names()
    included = IncludeWriter(service, routes, shown)
    security = SecurityWriter(
        service,
        [*(route.operation for route in whole), *IncludeWriter(service, whole, service.operations).operations],
        visible=shown,
        names_roles=version != "3.0",
    )
    writer = _OperationWriter(components, security, included, settings, root_path)
    paths: dict[str, dict[str, Any]] = {}
    for route in whole:  # the first route of an action keeps the action's name
        names.of(route.operation.name, route.operation.name)
    named: set[str] = set()
    for route in whole:
        identity = name = route.operation.name
        if name in named:
            identity = names.of(route, f"{name}_{route.method.lower()}")
        named.add(name)
        if name in shown:
            paths.setdefault(route.path, {})[route.method.lower()] = writer.operation(route, identity)
    tags = dict.fromkeys(tag for route in routes for tag in _tags(route.operation.action, settings.process.action_path))
    document: dict[str, Any] = {
        "openapi": "3.1.1",
        "info": filled({"title": api.api_title, "version": api.api_version, "description": api.api_description}),
        "servers": [{"url": url} for url in api.api_servers or (root_path or "/",)],
        "security": [],
        "paths": paths,
    }
    if tags:
        document["tags"] = [{"name": tag} for tag in tags]
    document = _utf8(with_samples(components.resolved(document)))
    if version == "3.0":
        document = as_openapi_30(document)
    if security.schemes:
        document["components"]["securitySchemes"] = dict(security.schemes)
    return document


def _utf8(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without lone surrogates, which UTF-8 cannot encode."""
    text = json.dumps(document, ensure_ascii=False)
    return document if text.isascii() else json.loads(encodable_text(text))


class _OperationWriter:
    """Writes the operation objects: one for each method of a path.

    Args:
        components: Collects the schemas of classes.
        security: Writes the security requirements.
        included: Writes the parameter ``include`` and its members.
        settings: The settings of the service.
        root_path: The path that the service is mounted at.
    """

    def __init__(
        self,
        components: Components,
        security: SecurityWriter,
        included: IncludeWriter,
        settings: Settings,
        root_path: str,
    ) -> None:
        self._security = security
        self._included = included
        components.writer("output").more = included.members
        self._sent = components.writer("input")
        self._got = components.writer("output")
        self._types = settings.api.problem_types_at(root_path)
        self._modules = settings.process.action_path

    def operation(self, route: WebRoute, identity: str) -> dict[str, Any]:
        """Return the operation object (OpenAPI 3.1 §4.8.10)."""
        operation, action = route.operation, route.operation.action
        documentation = operation.signature.documentation
        parameters, body = self._input(route)
        return filled(
            {
                "operationId": identity,
                "summary": documentation.summary,
                "description": documentation.description,
                "tags": _tags(action, self._modules),
                "deprecated": action.deprecated,
                "parameters": parameters,
                "requestBody": body,
                "security": self._security.requirements(operation, self._included.of(route)),
                "responses": self._responses(route),
            }
        )

    def _input(self, route: WebRoute) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        operation = route.operation
        described = operation.signature.documentation.parameters
        fields = [
            msgspec.structs.replace(field, description=described.get(field.name) or field.description)
            for field in operation.arguments.root.fields
        ]
        examples = [item for item in shown_examples(operation) if item.example.error != InvalidError.code]
        in_path = route.trigger.path_parameters
        parameters = [
            self._parameter(operation, field, "path", examples)
            for name in in_path
            for field in fields
            if field.name == name
        ]
        if operation.action.idempotency is not None:
            parameters.append(key_parameter(operation, operation.action.idempotency))
        rest = [field for field in fields if field.name not in in_path]
        if route.trigger.takes_query:
            parameters += [self._parameter(operation, field, "query", examples) for field in rest]
            return [*parameters, *self._included.parameters(route)], {}
        if not rest:
            return parameters, {}
        members = {field.wire for field in rest}
        values = [(item, {name: value for name, value in item.params.items() if name in members}) for item in examples]
        content = {"schema": self._sent.object(rest), "examples": example_objects(values)}
        return parameters, {
            "required": any(field.required for field in rest),
            "content": {_JSON: filled(content)},
        }

    def _parameter(
        self, operation: Operation, field: Field, place: str, examples: Sequence[CheckedExample]
    ) -> dict[str, Any]:
        """Return a parameter object (OpenAPI 3.1 §4.8.12)."""
        kind = operation.arguments.text_kind(field.name)
        schema = self._parameter_schema(field, kind, place)
        required = field.required or place == "path"
        values = [(item, item.params[field.name]) for item in examples if item.params.get(field.name) is not None]
        found: dict[str, Any] = {"name": field.wire, "in": place, "required": required}
        if field.description:
            found["description"] = field.description
        if kind == "json":
            return {**found, "content": {_JSON: filled({"schema": schema, "examples": example_objects(values)})}}
        if required:
            return filled({**found, "schema": schema, "examples": example_objects(values)})
        # tools fill in every example of a parameter, so filters would all apply at once
        shown = distinct([value for _, value in values])
        return {**found, "schema": {**schema, "examples": shown} if shown else schema}

    def _parameter_schema(self, field: Field, kind: TextKind, place: str) -> dict[str, Any]:
        """Return the schema of the texts that a path or a query string may have for a parameter."""
        schema = self._sent.member(msgspec.structs.replace(field, description=""))
        if kind == "json":
            return schema
        says_null = kind == "scalar" and field.default is not None and not _takes_any_text(field.node)
        schema = _as_text(schema if says_null else _without_null(schema))
        if (place, schema.get("type")) == ("path", "string"):
            schema.setdefault("minLength", 1)  # an empty segment is another path
        if kind == "list" and field.required and schema.get("maxItems") != 0:
            schema["minItems"] = max(1, schema.get("minItems", 0))  # a query string cannot express an empty list
        return schema

    def _responses(self, route: WebRoute) -> dict[str, Any]:
        operation, action = route.operation, route.operation.action
        returns = operation.signature.documentation.returns
        success: dict[str, Any] = {
            "description": returns or _BODILESS.get(action.status, "The result."),
            "headers": result_headers(operation, reads=route.method == "GET"),
        }
        if action.status not in _BODILESS:
            examples = example_objects((item, item.result) for item in shown_examples(operation))
            success["content"] = {_JSON: filled({"schema": self._got.of(operation.result.root), "examples": examples})}
        success = filled(success)
        found: dict[str, Any] = {str(action.status): success}
        if operation.signature.replies and action.status == 200:  # no status is declared: the function chooses one
            found["2XX"] = success
        reads = action.cache_control is not None and route.method == "GET"
        if reads:
            found["304"] = {
                "description": "The caller has the result already (`If-None-Match`, `If-Modified-Since`).",
                "headers": result_headers(operation, reads=True, not_modified=True),
            }
        problems = problem_responses(
            operation,
            self._types,
            takes_tokens=bool(self._security.schemes),
            takes_conditions=reads or route.current is not None,
            included=self._included.of(route),
        )
        return {**found, **problems}


def _tags(action: Action, modules: str) -> list[str]:
    """Return the tags of an action: those that it declares, or else the name of its module.

    Args:
        action: The action.
        modules: ``SERVEY_ACTION_PATH``, module names with commas. The name of a submodule of one of them is relative to
            it.
    """
    module = module_of(action.fn)
    if action.tags or module in ("", "__main__"):
        return list(action.tags)
    for name in map(str.strip, modules.split(",")):
        if module == name:
            return [name.rpartition(".")[2]]
        if name and module.startswith(f"{name}."):
            return [module.removeprefix(f"{name}.")]
    return [module]


_BODILESS = {204: "Done.", 205: "Done."}
"""The statuses of success whose answers have no content (RFC 9110 §15.3.5, §15.3.6), with their descriptions."""


def _as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema for text, in which a number is also a string: a Decimal is only a string here."""
    found = dict(schema)
    parts: list[dict[str, Any]] = found.pop("anyOf", [])
    if any(part.get("format") == "decimal" for part in parts):
        parts = [part for part in parts if part.get("type") != "number"]
    if len(parts) == 1:
        return {**parts[0], **found}
    return {"anyOf": parts, **found} if parts else found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    found = dict(schema)
    if found.get("default", MISSING) is None:
        del found["default"]
    if isinstance(kinds := found.get("type"), list):
        others: list[str] = [kind for kind in kinds if kind != "null"]  # pyright: ignore[reportUnknownVariableType]
        found["type"] = others[0] if len(others) == 1 else others
    if "anyOf" in found:
        found["anyOf"] = [part for part in found["anyOf"] if part != {"type": "null"}]
    return found


def _takes_any_text(node: Node) -> bool:
    return node.cls is str or any(map(_takes_any_text, node.members))
