"""Regular expressions for readers of a schema: the dialect is ECMA-262's (JSON Schema 2020-12 §6.4), not Python's."""

from __future__ import annotations

import re

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
