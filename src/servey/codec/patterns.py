"""Regular expressions for readers of a schema: the dialect is ECMA-262's (JSON Schema 2020-12 §6.4), not Python's."""

from __future__ import annotations

import re

_OFFSET = r"([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])"
TIME = rf"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,6}})?{_OFFSET}?$"
"""A time of day, with or without an offset."""

_N, _LAST = "[0-9]{1,9}", r"[0-9]{1,9}(\.[0-9]+)?"
_CLOCK = f"T(({_N}H)?({_N}M)?{_LAST}S|({_N}H)?{_LAST}M|{_LAST}H)"
DURATION = f"^[+-]?P({_LAST}D|({_N}D)?{_CLOCK})$"
"""An ISO 8601 duration of days, hours, minutes and seconds, of which the last may have a fraction."""

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
