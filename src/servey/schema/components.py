"""The schemas of one document: one for each class where what is sent and what is got agree, else two."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import Any

from servey.codec import SchemaMode
from servey.codec.schema import Names, SchemaWriter

PREFIX = "#/components/schemas/"
_SENT = "#/components/sent/"
"""What the references of the input side start with until it is known which classes have two schemas."""

_VALUES = frozenset({"const", "default", "enum", "example", "examples"})
"""What holds values of the user's own, not schemas."""


class Components:
    """Collects the schemas that a document refers to.

    A class whose two sides differ, because a default may be left out or a number stands for a string, is called by its
    name where it is got, and by its name and ``Input`` where it is sent.

    Args:
        own: The schemas of the document's own, by name; a class of such a name gets another one.
    """

    def __init__(self, own: Mapping[str, Any]) -> None:
        self._own = own
        self._names = Names()
        for name in own:
            self._names.of(("own", name), name)
        self._writers: dict[SchemaMode, SchemaWriter] = {
            "input": SchemaWriter("input", _SENT, self._names),
            "output": SchemaWriter("output", PREFIX, self._names),
        }

    def writer(self, mode: SchemaMode) -> SchemaWriter:
        """Return what writes the schemas of one side; references are final after `resolved`."""
        return self._writers[mode]

    def resolved(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return a document, written with these writers, with its schemas and with every reference in place."""
        sent, got = self._writers["input"].definitions, self._writers["output"].definitions
        apart = _apart(sent, got)
        names = {name: self._names.of(("input", name), f"{name}Input") if name in apart else name for name in sent}
        schemas = {**self._own, **got, **{names[name]: schema for name, schema in sent.items()}}
        references = {_SENT + name: PREFIX + final for name, final in names.items()}
        return _replaced({**document, "components": {"schemas": dict(sorted(schemas.items()))}}, references)


def _apart(sent: Mapping[str, Any], got: Mapping[str, Any]) -> set[str]:
    """Return the names whose two schemas differ, or refer to one whose do."""
    both = sent.keys() & got.keys()
    same = {_SENT + name: PREFIX + name for name in sent}
    apart = {name for name in both if _replaced(sent[name], same) != got[name]}
    users = {name: set(_references(got[name])) for name in both}
    while more := {name for name, used in users.items() if name not in apart and used & apart}:
        apart |= more
    return apart


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, list):
        for item in typing.cast("list[Any]", schema):
            yield from _references(item)
    elif isinstance(schema, dict):
        for key, value in typing.cast("dict[str, Any]", schema).items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(PREFIX)
            else:
                yield from _references(value)


def _replaced(value: Any, references: Mapping[str, str]) -> Any:
    """Return a copy of `value` with its references replaced. An example that looks like one stays as it is."""
    if isinstance(value, list):
        return [_replaced(item, references) for item in typing.cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, item in typing.cast("dict[str, Any]", value).items():
        if key == "$ref" and isinstance(item, str):
            found[key] = references.get(item, item)
        elif key in ("properties", "schemas"):  # by names that mean nothing here
            found[key] = {name: _replaced(part, references) for name, part in item.items()}
        else:
            found[key] = item if key in _VALUES else _replaced(item, references)
    return found
