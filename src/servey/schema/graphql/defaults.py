"""Convert defaults to GraphQL's form, for the schema and for examples.

GraphQL cannot express every default of Python code: the keys of an object must be names, and a value must have its
declared type. Without such a default, the schema shows an optional argument.
"""

from __future__ import annotations

import math
from typing import Any, cast

from servey.problem_details import is_text
from servey.schema.graphql.model import NOTHING, EnumType, InputType, Ref, Scalar
from servey.schema.graphql.names import has_form_of_name
from servey.schema.graphql.scalars import scalar_coercion

_DEEPEST = 50
"""The maximum nesting of a default: programs that read schemas have limits, too."""


def default_of(ref: Ref, json: Any) -> Any:
    """Return a default in GraphQL's form, as JSON: enum values and members have their names in GraphQL.

    Args:
        ref: The type in GraphQL.
        json: The default as JSON in the form of REST.

    Raises:
        ValueError: A GraphQL document cannot contain it, or it does not match the type.
    """
    return _Naming(in_document=True).of(ref, json)


def variable_of(ref: Ref, json: Any) -> Any:
    """Return the value of a variable, as `default_of` does; keys of objects need not be names.

    Raises:
        ValueError: It does not match the type.
    """
    return _Naming(in_document=False).of(ref, json)


class _Naming:
    def __init__(self, *, in_document: bool) -> None:
        self._in_document = in_document

    def of(self, ref: Ref, json: Any, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if json is None:
            if not ref.nullable:
                raise ValueError("the type has no null")
            return None
        if isinstance(ref.to, Ref):
            if not isinstance(json, list):
                raise ValueError("not a list")
            return [self.of(ref.to, item, depth + 1) for item in cast("list[Any]", json)]
        if isinstance(ref.to, EnumType):
            return _name_of(ref.to, json)
        if isinstance(ref.to, InputType):
            return self._members(ref.to, json, depth)
        assert isinstance(ref.to, Scalar)
        self._check(json)
        return scalar_coercion(ref.to.name).input(json)

    def _members(self, named: InputType, json: Any, depth: int) -> dict[str, Any]:
        if named.one_of or named.positions or not isinstance(json, dict):
            raise ValueError("GraphQL cannot express it")
        members = dict(cast("dict[str, Any]", json))
        found: dict[str, Any] = {}
        for field in named.fields:
            if field.json_name in members:
                found[field.name] = self.of(field.ref, members.pop(field.json_name), depth + 1)
            elif field.default is NOTHING and not field.ref.nullable:
                raise ValueError(f"{field.name} is missing")
        if members.keys() - named.tags.keys():
            raise ValueError("has members that the type does not have")
        return found

    def _check(self, json: Any, depth: int = 0) -> None:
        """Check that a document or a variable can contain a JSON value."""
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if isinstance(json, dict):
            for key, item in cast("dict[str, Any]", json).items():
                if self._in_document and not has_form_of_name(key):
                    raise ValueError(f"{key!r} is not a name")
                self._check(key)
                self._check(item, depth + 1)
        elif isinstance(json, list):
            for item in cast("list[Any]", json):
                self._check(item, depth + 1)
        elif isinstance(json, str):
            if not is_text(json):
                raise ValueError("UTF-8 cannot encode it")
        elif isinstance(json, float):
            if not math.isfinite(json):
                raise ValueError("JSON has no such number")
        else:
            str(json)  # raises a ValueError for an int of more than 4,300 digits


def _name_of(enum: EnumType, json: Any) -> str:
    for value in enum.values:
        if value.json == json and type(value.json) is type(json):
            return value.name
    raise ValueError("not a value of the enum")
