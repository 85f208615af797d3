"""The schemas of one document: one for each class, or two if its input and output differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servey.codec import SchemaMode
from servey.codec.references import references, replaced
from servey.codec.schema import SchemaWriter
from servey.codec.schema_names import Names

PREFIX = "#/components/schemas/"
_SENT = "#/components/sent/"
"""The temporary prefix of input references, until it is known which classes have two schemas."""


class Components:
    """Collects the schemas that a document refers to.

    The input and the output of a class can differ: a default may be left out, a number may replace a string. Then the
    output schema has the name of the class, and the input schema this name with ``Input``.

    Args:
        own: The document's own schemas, by name; a class with such a name gets another name.
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
        """Return the writer for schemas of input or of output; references are final after `resolved`."""
        return self._writers[mode]

    def resolved(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return a document of these writers with its schemas and final references."""
        sent, got = self._writers["input"].definitions, self._writers["output"].definitions
        apart = _apart(sent, got)
        names = {name: self._names.of(("input", name), f"{name}Input") if name in apart else name for name in sent}
        schemas = {**self._own, **got, **{names[name]: schema for name, schema in sent.items()}}
        final = {_SENT + name: PREFIX + there for name, there in names.items()}
        return replaced({**document, "components": {"schemas": dict(sorted(schemas.items()))}}, final)


def _apart(sent: Mapping[str, Any], got: Mapping[str, Any]) -> set[str]:
    """Return the names whose two schemas differ, directly or through a reference."""
    both = sent.keys() & got.keys()
    same = {_SENT + name: PREFIX + name for name in sent}
    apart = {name for name in both if replaced(sent[name], same) != got[name]}
    users = {name: {reference.removeprefix(PREFIX) for reference in references(got[name])} for name in both}
    while more := {name for name in both - apart if users[name] & apart}:
        apart |= more
    return apart
