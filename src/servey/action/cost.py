"""What the limit on the cost of a request counts (``SERVEY_MAX_COST``), in GraphQL and in ``?include=``."""

CALL_COST = 10
"""The cost of calling an action; that of a plain member is 1."""

LIST_FACTOR = 10
"""The factor for everything inside of a list."""
