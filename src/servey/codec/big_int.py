"""The integer without bounds, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    BigInt = int
else:
    BigInt = NewType("BigInt", int)
    """An `int` that may be of any size: a plain number in JSON. For type checkers it is `int`.

    GraphQL's own ``Int`` has 32 bits; an action that may answer with more declares ``-> BigInt``.
    """
