"""The costs that ``SERVEY_MAX_COST`` limits, in GraphQL and in ``?include=``."""

CALL_COST = 10
"""The cost of a call of an action; a plain field costs 1."""
LIST_FACTOR = 10
"""The factor for fields inside of a list."""
