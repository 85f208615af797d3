"""The names of GraphQL, made of Python's."""

from __future__ import annotations

import re
import unicodedata

_WORDS = re.compile(r"_+([a-zA-Z0-9])")
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*\Z")


def camel_case(name: str) -> str:
    """Return a name in camel case, as GraphQL's fields and arguments are called.

    Example:
        >>> camel_case("number_stats"), camel_case("_id"), camel_case("already")
        ('numberStats', '_id', 'already')
    """
    plain = ascii_name(name)
    rest = plain.lstrip("_")
    return "_" * min(1, len(plain) - len(rest)) + _WORDS.sub(lambda found: found[1].upper(), rest).rstrip("_")


def pascal_case(name: str) -> str:
    """Return a name as GraphQL's types are called.

    Example:
        >>> pascal_case("Page_Parcel"), pascal_case("state")
        ('PageParcel', 'State')
    """
    camel = camel_case(name.strip("_"))
    return camel[:1].upper() + camel[1:]


def ascii_name(name: str) -> str:
    """Return a name with the characters that names have in GraphQL (September 2025, §2.1.9), where it can be done."""
    if name.isascii() and is_name(name):
        return name
    letters = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return re.sub(r"[^_0-9A-Za-z]", "_", letters)


def is_name(name: str) -> bool:
    """Whether GraphQL takes a name of the user's: those that begin with two underscores are its own."""
    return bool(_NAME.match(name)) and not name.startswith("__")
