"""Examples: a call and its result, for the documentation and as a test."""

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
"""The value of `Example.result` for an example without a result (None is a result)."""


class Example(msgspec.Struct, frozen=True):
    """One call of an action, and its result.

    Args:
        name: The name of the example, unique in its action.
        description: What the example shows.
        params: The arguments by name, as Python values or as JSON values.
        result: The result, as a Python value or as a JSON value; if left out, any result is right.
        error: The code of the error, if the call fails: ``"not_found"``.
        authorization: The caller of the example; default: a caller that the access control allows.
        include_in_tests: Whether `define_test_class` and ``--servey-examples`` run the example.
        include_in_schema: Whether the documentation shows the example.

    Raises:
        DefinitionError: `params` is not a mapping.

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
        params: Any = self.params  # users may pass any type
        if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):  # pyright: ignore[reportUnknownVariableType]
            raise DefinitionError(
                f"the params of the example {self.name!r} are {params!r}", fix="give a dict of arguments by name"
            )
