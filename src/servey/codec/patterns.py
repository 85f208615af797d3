"""Regular expressions for readers of a schema: the dialect is ECMA-262's (JSON Schema 2020-12 §6.4), not Python's."""

from __future__ import annotations

import math
import re
from typing import Any

_OFFSET = r"([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])"
TIME = rf"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,6}})?{_OFFSET}?$"
"""A time of day, with or without an offset."""

_N, _LAST = "[0-9]{1,9}", r"[0-9]{1,9}(\.[0-9]+)?"
_CLOCK = f"T(({_N}H)?({_N}M)?{_LAST}S|({_N}H)?{_LAST}M|{_LAST}H)"
DURATION = f"^[+-]?P({_LAST}D|({_N}D)?{_CLOCK})$"
"""An ISO 8601 duration of days, hours, minutes and seconds, of which the last may have a fraction."""

_SIXTH = "[A-Za-z0-9+/]"
"""A character of base64, which has six bits; four of them are three bytes."""
_FOREIGN = re.compile(
    r"""
    \(\?(?![:=!]|<[=!])                      # named groups, flags, comments, conditions
    | (?<!\\)\[\^?\]                         # ] as the first of a set
    | \{,                                    # {,3}
    | (?<!\\)[*+?}]\+                        # possessive
    | \\[^dDwWsSbBtnrvf0-9xu^$\\.*+?()\[\]{}|/-]
    """,
    re.VERBOSE,
)


def portable(pattern: str) -> bool:
    """Return whether a pattern of Python's (or of pydantic's) is one of ECMA-262's as well; when in doubt, not.

    Example:
        >>> portable("^[a-z]+$"), portable(r"(?i)yes"), portable(r"\\Ano")
        (True, False, False)
    """
    return pattern.isprintable() and _FOREIGN.search(pattern) is None


def base64_keywords(least: int | None, most: int | None) -> dict[str, Any]:
    """Return the JSON-schema keywords of so many bytes that are written in base64: lengths of the text.

    Example:
        >>> base64_keywords(2, None)["minLength"], base64_keywords(None, 4)["maxLength"]
        (4, 8)
    """
    found: dict[str, Any] = {}
    if least:
        found["minLength"] = 4 * math.ceil(least / 3)
    if most is not None:
        found["maxLength"] = 4 * math.ceil(most / 3)
    ways: list[str] = []
    for rest, end in ((0, ""), (1, f"{_SIXTH}{{2}}=="), (2, f"{_SIXTH}{{3}}=")):
        fewest = max(0, math.ceil(((least or 0) - rest) / 3))
        last = "" if most is None else (most - rest) // 3
        if last == "" or last >= fewest:
            ways.append(f"({_SIXTH}{{4}}){{{fewest},{last}}}{end}")
    return {**found, "pattern": f"^({'|'.join(ways)})$"}
