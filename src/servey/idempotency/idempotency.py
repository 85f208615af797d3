"""The declaration of idempotency."""

from __future__ import annotations

import math
from typing import Any, cast

import msgspec

from servey.errors import DefinitionError

MOST_HOURS = 24 * 366


class Idempotency(msgspec.Struct, frozen=True, kw_only=True):
    """Answer repeated calls of an action without running it again: ``@action(idempotency=Idempotency())``.

    A call is a repeat if its caller (by issuer and subject) has made a successful call of the action with the same key.
    The key is the request's ``Idempotency-Key`` header (draft-ietf-httpapi-idempotency-key-header-07); else the values
    of `parameters`; else the id of a background call. A call without a key runs each time.

    Args:
        parameters: The names of the parameters that make a call unique, such as ``("order_id",)``. Each is required,
            and a simple value. Only calls with a verified caller, and those of the system, have this key.
        hours: How long the answer of a successful call is kept, above 0, at most a year.
        required: Whether a request without the header is refused.

    Raises:
        DefinitionError: A value is not valid.
    """

    parameters: tuple[str, ...] = ()
    hours: float = 24.0
    required: bool = False

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {getattr(self, name)!r}: {rule}"
            for name, rule, is_right in (
                ("parameters", 'list names in a tuple: ("order_id",)', _are_names(self.parameters)),
                ("hours", f"give hours above 0, at most {MOST_HOURS}", _is_positive(self.hours)),
                ("required", "give True or False", type(self.required) is bool),
            )
            if not is_right
        ]
        if not wrong and self.required and self.parameters:
            wrong = ["required has no meaning with parameters, which make the key of a request without the header"]
        if wrong:
            raise DefinitionError(
                f"an Idempotency is not valid: {'; '.join(wrong)}",
                fix='write Idempotency(hours=24), or Idempotency(parameters=("order_id",))',
            )


def _are_names(value: Any) -> bool:
    if not isinstance(value, tuple):
        return False
    names = cast("tuple[Any, ...]", value)
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 < value <= MOST_HOURS
