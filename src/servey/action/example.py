"""Examples: one call and what comes of it; shown in the documentation and run as a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from servey.errors import DefinitionError
from servey.security.authorization import Authorization


class _NotGiven:
    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN: Final = _NotGiven()
"""Stands for a result that an example leaves open (None is a result)."""


class Example(msgspec.Struct, frozen=True):
    """One call of an action, and what it answers.

    Args:
        name: What the example is called; unique in its action.
        description: What it shows.
        params: The arguments by name, as Python values or as what JSON holds.
        result: What is answered, as a Python value or as JSON; left out, any result is right.
        error: The code of the error that is answered instead of a result: ``"not_found"``.
        authorization: As whom the example calls; by default as somebody whom the access control lets in.
        include_in_tests: Whether `define_test_class` and ``--servey-examples`` run it.
        include_in_schema: Whether the documentation shows it.

    Raises:
        DefinitionError: `params` is no mapping.

    Example:
        >>> Example(name="greet", params={"name": "World"}, result="Hello World!").error is None
        True
    """

    name: str
    description: str | None = None
    params: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    result: Any = NOT_GIVEN
    error: str | None = None
    authorization: Authorization | None = None
    include_in_tests: bool = True
    include_in_schema: bool = True

    def __post_init__(self) -> None:
        params: Any = self.params  # whatever its type is said to be, users pass what they pass
        if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):  # pyright: ignore[reportUnknownVariableType]
            raise DefinitionError(
                f"the params of the example {self.name!r} are {params!r}", fix="give a dict of arguments by name"
            )
