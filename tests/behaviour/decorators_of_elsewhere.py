"""A decorator in a module of its own, whose annotations are texts that only this module can resolve."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from decimal import Decimal as Money
from typing import Any


def with_price(function: Callable[..., Any]) -> Any:
    """Add a parameter, ``price``, and pass its text on."""

    @functools.wraps(function)
    def inner(*arguments: Any, price: Money, **named: Any) -> Any:
        return function(*arguments, **named) + str(price)

    signature = inspect.signature(function)
    price = inspect.Parameter("price", inspect.Parameter.KEYWORD_ONLY, annotation="Money")
    inner.__signature__ = signature.replace(parameters=[*signature.parameters.values(), price])  # type: ignore[attr-defined]
    return inner
