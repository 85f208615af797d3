"""Sample values for schemas without examples.

Without samples, tools generate values from patterns, such as a price with sixty digits.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from servey.codec.patterns import DURATION, TIME
from servey.codec.references import VALUES, rebuilt

_DECIMALS = ("1.50", "0.50", "10", "0", "-1.50", "100", "1000", "0.01")
_FIXED = {TIME: "09:30:00", DURATION: "PT1H30M"}


def with_samples(value: Any) -> Any:
    """Return a copy of a document in which every decimal, time and duration has an example."""
    return rebuilt(value, _with_sample)


def _with_sample(schema: dict[str, Any]) -> dict[str, Any]:
    if not VALUES & schema.keys() and (sample := _sample(schema)):
        schema["examples"] = [sample]
    return schema


def _sample(schema: dict[str, Any]) -> str:
    pattern: Any = schema.get("pattern")
    if not isinstance(pattern, str):
        return ""
    if schema.get("format") != "decimal":
        return _FIXED.get(pattern, "")
    # the pattern has the digits of the bounds, so one of these is within the bounds, or next to one
    bounds = [Decimal(text) for text in re.findall(r"-?[0-9]+", pattern)[:20] if len(text) < 20]
    near = [f"{bound + step:f}" for bound in bounds for step in (Decimal(0), Decimal(1), Decimal("0.5"))]
    return next((text for text in (*_DECIMALS, *near) if re.fullmatch(pattern, text)), "")
