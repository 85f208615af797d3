"""Make GraphQL names from Python names."""

from __future__ import annotations

import re
import unicodedata

from servey.codec import Node
from servey.codec.schema_names import Names, class_name
from servey.schema.graphql.model import MUTATION, QUERY, SERVICE
from servey.schema.graphql.scalars import SCALAR_NAMES

_WORDS = re.compile(r"_+([a-zA-Z0-9])")
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*\Z")


def camel_case(name: str) -> str:
    """Return a name in camel case, for a field or an argument.

    Example:
        >>> camel_case("number_stats"), camel_case("_id"), camel_case("already")
        ('numberStats', '_id', 'already')
    """
    plain = ascii_name(name)
    rest = plain.lstrip("_")
    return "_" * min(1, len(plain) - len(rest)) + _WORDS.sub(lambda found: found[1].upper(), rest).rstrip("_")


def pascal_case(name: str) -> str:
    """Return a name in Pascal case, for a type.

    Example:
        >>> pascal_case("Page_Parcel"), pascal_case("state")
        ('PageParcel', 'State')
    """
    camel = camel_case(name.strip("_"))
    return camel[:1].upper() + camel[1:]


def ascii_name(name: str) -> str:
    """Replace the characters that GraphQL does not allow in names (September 2025, §2.1.9)."""
    if name.isascii() and is_name(name):
        return name
    letters = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return re.sub(r"[^_0-9A-Za-z]", "_", letters)


def is_name(name: str) -> bool:
    """Whether a schema may use a name: GraphQL reserves names that begin with two underscores."""
    return has_form_of_name(name) and not name.startswith("__")


def has_form_of_name(name: str) -> bool:
    """Whether a text can be a name in a document (September 2025, §2.1.9)."""
    return _NAME.match(name) is not None


_RESERVED = (QUERY, MUTATION, "Subscription", SERVICE, "ID", "JSON", "BigInt", *SCALAR_NAMES.values())


class TypeNames:
    """The names of a model's types. Each is unique."""

    def __init__(self) -> None:
        self._names = Names()
        for name in _RESERVED:
            self._names.of(("reserved", name), name)

    def of(self, key: object, name: str) -> str:
        """Return the name of the type with a key: `name`, or a longer name if another type has this one."""
        return self._names.of(key, name)

    def of_class(self, node: Node) -> str:
        """Return the name of the output type or the enum of a class."""
        return self.of(("type", class_key(node)), pascal_case(class_name(node)) or "Type")

    def of_input(self, key: object, name: str) -> str:
        """Return the name of an input type."""
        return self.of(key, name if name.endswith("Input") else f"{name}Input")


def class_key(node: Node) -> object:
    """Return a key that equal classes share: a generic class has a type for each of its arguments."""
    return node.identity if node.kind == "object" or node.flavor == "namedtuple" else node.type
