"""pydantic's errors as problems with JSON pointers."""

from __future__ import annotations

import typing
from typing import Any

from servey.codec.numbers import whole_number
from servey.codec.problems import PROBLEM_LIMIT, shown, step
from servey.codec.pydantic_schema import CoreSchema
from servey.errors import InvalidError, Problem

_MOST_ERRORS = 10_000
"""Above this number of errors, only their number is reported."""
_MOST_TRIED = 1000
"""After this many steps the first reading of a place is taken."""
_NOTHING: Any = object()


def errors_of(error: Any) -> list[Any]:
    """Return pydantic's errors for a value.

    Raises:
        InvalidError: There are too many. pydantic returns all or none, and millions of errors take gigabytes.
    """
    if (count := error.error_count()) > _MOST_ERRORS:
        raise InvalidError(errors=[Problem("", f"{count} problems, too many to list")])
    return error.errors(include_url=False, include_context=False)


def problems(errors: list[Any], value: Any, schema: CoreSchema) -> list[Problem]:
    """Return pydantic's errors for a value as problems with JSON pointers."""
    found: dict[tuple[str, str], Problem] = {}
    for item in errors[:PROBLEM_LIMIT]:
        path = ""
        for part in place(item, value, schema):
            path = step(path, part)
        kind = item["type"]
        if kind == "missing":
            message = "required"
        elif kind == "extra_forbidden":
            message = "unknown"
        elif kind == "value_error":
            message = item["msg"].removeprefix("Value error, ")
        else:
            message = f"{item['msg'][:1].lower()}{item['msg'][1:]}, got {shown(item['input'])}"
        found[path, message] = Problem(path, message)  # two members of a union may say the same
    return list(found.values())


def place(error: Any, value: Any, schema: CoreSchema) -> list[Any]:
    """Return the keys and indexes by which an error's place is reached.

    Pydantic's place also contains what pydantic tried: the tags and the names of a union's members, ``[key]``. An
    object may have a key of the same name. Then the schema shows whether the key is read, and the error shows the value
    at which the place ends.
    """
    names: tuple[Any, ...] = error["loc"]
    last = [names[-1]] if error["type"] == "missing" else []  # is in no value
    names = names[: len(names) - len(last)]
    is_unknown = error["type"] == "extra_forbidden"
    dead: set[tuple[int, int]] = set()

    def read(at: Any, nodes: list[Any], index: int) -> list[Any] | None:
        state = id(at), index
        if index == len(names):
            return [] if at == error["input"] else None
        if state in dead or len(dead) > _MOST_TRIED:
            return None
        name = names[index]
        inner = child(at, name)
        inside = schema.item(nodes, name) if isinstance(name, int) else schema.member(nodes, name)
        if inside is None and isinstance(at, dict) and not (is_unknown and index == len(names) - 1):
            inner = _NOTHING
        if inner is not _NOTHING and (rest := read(inner, inside or [], index + 1)) is not None:
            return [name, *rest]
        if (rest := read(at, nodes, index + 1)) is not None:
            return rest
        dead.add(state)
        return None

    found = read(value, schema.root, 0)
    return (_nearest(names, value) if found is None else found) + last


def _nearest(names: tuple[Any, ...], value: Any) -> list[Any]:
    """Return the names that exist in the value; the others are in the result of a function of the user."""
    found: list[Any] = []
    for name in names:
        if (inner := child(value, name)) is not _NOTHING:
            found.append(name)
            value = inner
    return found


def child(value: Any, name: Any) -> Any:
    """Return the member of an object or an array, or the attribute of a row."""
    if isinstance(value, dict):
        return typing.cast("dict[Any, Any]", value).get(name, _NOTHING)
    if isinstance(value, (list, tuple)):
        items = typing.cast("list[Any]", value)
        return items[name] if isinstance(name, int) and 0 <= name < len(items) else _NOTHING
    if isinstance(value, (str, int, float, type(None))):
        return _NOTHING
    return getattr(value, name, _NOTHING) if isinstance(name, str) else _NOTHING


def set_whole_numbers(errors: list[Any], value: Any, schema: CoreSchema) -> Any:
    """Return refused JSON values with an int for each ``5.0`` where pydantic wants an int; None if no value changes.

    The values are changed in place. `servey.codec.explain` does the same outside of pydantic's types.
    """
    box = [value]
    changed = False
    for error in errors:
        if error["type"] != "int_type":
            continue
        *names, last = [0, *place(error, value, schema)]
        at: Any = box
        for name in names:
            at = at[name]
        number = whole_number(at[last])
        if number is not None:
            at[last] = number
            changed = True
    return box[0] if changed else None
