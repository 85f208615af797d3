"""Read text as JSON values: query strings, paths and flags have no types, so the declared type decides.

The codec then decodes these values by the rules of JSON.
"""

from __future__ import annotations

import datetime
import math
import re
import uuid
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from servey.codec.node import Node
from servey.codec.numbers import parse
from servey.codec.problems import shown
from servey.codec.scalars import is_flag, wire_values
from servey.codec.union import ordered
from servey.problem_details import is_text

TextKind = Literal["scalar", "list", "json"]
Read = Callable[[str], Any]

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NEVER_FRACTIONS: frozenset[Any] = frozenset(
    {int, bool, type(None), datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID}
)
"""The classes without values like ``5.0``."""


class TextError(ValueError):
    """A text does not have its type. The message has the expected type and the text."""


def text_kind(node: Node) -> TextKind:
    """Return the form of a value as text: plain, repeated, or one JSON value."""
    if _scalar(node):
        return "scalar"
    listed = _listed(node)
    if listed is not None and all(_scalar(item) for item in listed.items):
        return "list"
    return "json"


def reader(node: Node, *, says_null: bool = True) -> Read:
    """Return the function that reads one text as a JSON value of the type.

    Args:
        node: The type of a scalar; of one member, for a list.
        says_null: Whether the text "null" is null, if the type allows null.
    """
    node = _bare(node)
    if not _scalar(node):
        return _json
    members = [_bare(member) for member in ordered(node)] if node.kind == "union" else [node]
    # for an optional str, "null" is a text like any other
    if len(members) > 1 and (not says_null or any(member.cls is str for member in members)):
        members = [member for member in members if member.cls is not type(None)]
    if len(members) == 1 and members[0].cls in _READERS:
        return _READERS[members[0].cls]
    return _first_of(members)


def single_reader(read: Read) -> Callable[[list[str]], Any]:
    """Return the function that reads a text that may not be repeated."""

    def read_single(texts: list[str]) -> Any:
        if len(texts) != 1:
            raise TextError("given more than once")
        return read(texts[0])

    return read_single


def list_reader(node: Node) -> Callable[[list[str]], Any]:
    """Return the function that reads a repeated text as a JSON value."""
    listed = _listed(node)
    assert listed is not None
    if listed.kind == "tuple":
        reads = [reader(item) for item in listed.items]

        def read_tuple(texts: list[str]) -> Any:
            # decoding checks the length
            return [_or_text(read, text) for read, text in zip(reads, texts, strict=False)] + texts[len(reads) :]

        return read_tuple
    read = reader(listed.items[0])
    return lambda texts: [_or_text(read, text) for text in texts]


def _or_text(read: Read, text: str) -> Any:
    """Return the value, or the text unchanged, so that decoding reports the problem at the member's place."""
    try:
        return read(text)
    except TextError:
        return text


def _bare(node: Node) -> Node:
    """Return the node that decides how a text is read: for an annotated custom type, the annotated type."""
    return node.inner if node.inner is not None else node


def _scalar(node: Node) -> bool:
    node = _bare(node)
    if node.kind == "union":
        return all(_scalar(item) for item in node.items)
    return node.kind == "leaf" or (node.custom is not None and node.custom.text)


def _listed(node: Node) -> Node | None:
    """Return the list in a type that is a list, or an optional one."""
    node = _bare(node)
    if node.kind in ("list", "tuple"):
        return node
    if node.kind == "union":
        others = node.not_null
        return _listed(others[0]) if len(others) == 1 else None
    return None


def _str(text: str) -> str:
    if not text.isascii() and not is_text(text):  # an argument of the command line that is not UTF-8
        raise TextError("expected UTF-8")
    return text


def _json(text: str) -> Any:
    try:
        return parse(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise TextError(f"expected a JSON value, got {shown(text)}") from None


def _matching(pattern: str, make: Callable[[str], Any], expected: str) -> Read:
    """Return the function that reads a text which matches a pattern, or its group."""
    compiled = re.compile(pattern)
    match, group = compiled.fullmatch, compiled.groups

    def read(text: str) -> Any:
        found = match(text)
        if found is None:
            raise TextError(f"expected {expected}, got {shown(text)}")
        return make(found[group])

    return read


_null = _matching("null", lambda _: None, "null")
_bool = _matching("(?ai)true|false", lambda text: text.lower() == "true", "true or false")
_int = _matching("-?[0-9]{1,4300}", int, "int")
_whole = _matching(r"(-?[0-9]{1,4300})(?:\.0+)?", int, "int")
"""Reads an int as JSON does, if no other member accepts ``5.0``."""


def _float(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        raise TextError(f"expected float, got {shown(text)}")
    return number


def _number(text: str) -> Any:
    """Read a number as JSON does: a number without a fraction may be for an int of the union."""
    _float(text)
    return parse(text)


_READERS: dict[Any, Read] = {str: _str, bool: _bool, int: _whole, float: _float, type(None): _null}


def _first_of(members: list[Node]) -> Read:
    """Read the first that fits: null, true or false, an int, a float, one of the values of an enum, text last."""
    rank = {type(None): 0, bool: 1, int: 2, float: 3}
    members = sorted(members, key=lambda member: rank.get(member.cls, 4))
    whole = _int if any(map(_takes_fractions, members)) else _whole
    plain: dict[Any, Read] = {type(None): _null, bool: _bool, int: whole, float: _number}
    is_alone = len(members) == 1
    takes_text = is_alone
    reads: list[Read] = []
    for member in members:
        wires = wire_values(member)
        takes_text |= any(isinstance(wire, str) for wire in wires) if wires else member.cls not in plain
        if is_flag(member.cls):
            reads.append(whole)  # any sum of its values
        elif wires:
            reads.append(_one_of(wires, whole, is_alone))
        elif member.cls in plain:
            reads.append(plain[member.cls])

    def read(text: str) -> Any:
        for part in reads:
            try:
                return part(text)
            except TextError:
                continue
        if takes_text:
            return _str(text)  # decoding checks whether a member accepts it
        raise TextError(f"expected {' or '.join(_name(m) for m in members)}, got {shown(text)}")

    return read


def _one_of(wires: list[Any], whole: Read, is_alone: bool) -> Read:
    """Return the function that reads a value of an enum or a `Literal`; other members read what it refuses."""
    kinds: set[Any] = {type(wire) for wire in wires}
    reads: list[tuple[type, Read]] = [(type(None), _null), (bool, _bool), (int, whole), (float, _float)]
    parts = [read for kind, read in reads if kind in kinds]

    def read(text: str) -> Any:
        if text in wires:
            return text
        for part in parts:
            try:
                value = part(text)
            except TextError:
                continue
            if is_alone or any(value == wire and isinstance(value, bool) is isinstance(wire, bool) for wire in wires):
                return value
        raise TextError

    return read


def _takes_fractions(member: Node) -> bool:
    """Whether a member other than int may take a number with a fraction."""
    wires = wire_values(member)
    if wires:
        return any(isinstance(wire, float) or (isinstance(wire, str) and _NUMBER.fullmatch(wire)) for wire in wires)
    return member.cls not in _NEVER_FRACTIONS


def _name(node: Node) -> str:
    name: str = getattr(node.cls, "__name__", "") or "a literal"
    return {"NoneType": "null", "bool": "true or false"}.get(name, name)
