"""Problems of a value in words, with JSON pointers (RFC 6901)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from servey.errors import Problem, ServeyError, nearest
from servey.problem_details import encodable_text

PROBLEM_LIMIT = 100
"""The largest number of problems in an error."""

_SHOWN = 60
_STEP_SHOWN = 200
_STEP = r"\.([^.\[\]]+)|\[(\d+)\]"


class ResultError(ServeyError):
    """A result does not have the declared type of its action: a defect of the service.

    The label says what the value is, as ``the result of say_hello``. The pointers of `errors` lead into the value.
    """

    def __init__(self, label: str, errors: Sequence[Problem]) -> None:
        self.errors = list(errors)
        lines = [f"{label} is not what its type declares:"]
        lines += [f"  {problem.path or '(the value)'}: {problem.message}" for problem in self.errors]
        super().__init__(encodable_text("\n".join(lines)))


class CustomTypeError(ValueError):
    """Carries the problems of a custom type through msgspec, which adds the place to a `ValueError`."""

    def __init__(self, errors: Sequence[Problem]) -> None:
        self.errors = tuple(errors)
        super().__init__(errors[0].message if errors else "not acceptable")


def step(path: str, key: object) -> str:
    """Return the JSON pointer of the member `key` under `path` (RFC 6901); long keys are cut.

    Each of a hundred problems repeats it, and a key may be as long as the body.
    """
    text = str(key)
    if len(text) > _STEP_SHOWN:
        text = f"{text[: _STEP_SHOWN - 3]}..."
    return f"{path}/{text.replace('~', '~0').replace('/', '~1')}"


def below(path: str, errors: Iterable[Problem]) -> list[Problem]:
    """Return `errors` with their paths put under `path`."""
    return [Problem(path + error.path, error.message) for error in errors]


def shown(value: Any) -> str:
    """Return a short text of `value` for a message: never a whole body, never an exception."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "an array"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = str(value).lower() if type(value) is Decimal else repr(value)
    except Exception:  # noqa: BLE001 - a user's own __repr__, or an int of 5,000 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def unknown(name: object, names: Iterable[str]) -> str:
    """Return ``unknown``, with the most similar known name, if there is one."""
    near = nearest(name, names)
    return f"unknown, did you mean `{near}`?" if near else "unknown"


def reworded(message: str, value: Any) -> str:
    """Return servey's message for a message of msgspec, with the value."""
    text = message.partition(" - at ")[0]
    if text.startswith("Expected"):
        text = text.partition(", got")[0].replace("`", "")
        return f"{text[0].lower()}{text[1:]}, got {shown(value)}"
    if text.startswith("Invalid"):
        # "Invalid UUID" and the like name the form that was expected
        return f"expected{text[7:].partition(' ' + repr(value))[0]}, got {shown(value)}".replace("`", "")
    return text.replace("`", "") or "not acceptable"


def first_line(error: BaseException) -> list[Problem]:
    """Return the problem of an exception of the user's code or of a library."""
    return [Problem("", str(error) or type(error).__name__)]


def first_problem(error: BaseException) -> list[Problem]:
    """Return the problems of one error of msgspec: its ``$.a[1]`` path as a JSON pointer.

    A path through a dict's values (``[...]``) ends there, because msgspec does not name the key.
    """
    if isinstance(error, CustomTypeError):
        return list(error.errors[:PROBLEM_LIMIT])
    text, _, place = str(error).rpartition(" - at `")
    if not text:
        text, place = str(error), ""
    place = place.rstrip("`")
    path = ""
    position = 1
    while found := re.compile(_STEP).match(place, position):
        path = step(path, found[1] or found[2])
        position = found.end()
    if isinstance(error.__cause__, CustomTypeError) and error.__cause__.errors:
        return below(path, error.__cause__.errors[:PROBLEM_LIMIT])
    if missing := re.fullmatch(r"Object missing required field `(.+)`", text):
        return [Problem(step(path, missing[1]), "required")]
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", text):
        return [Problem(step(path, unknown[1]), "unknown")]
    return [Problem(path, text[:1].lower() + text[1:].replace("`", ""))]
