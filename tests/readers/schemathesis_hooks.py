"""What a schema cannot say, for Schemathesis: it loads this file."""

import re
from typing import Any
from uuid import uuid4

import schemathesis

from servey.idempotency.key import LONGEST, PATTERN, SHORTEST

used: set[str] = set()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Send a valid idempotency key only once, as a client does: other content with the same one is refused."""
    key = str((case.headers or {}).get("Idempotency-Key", ""))
    if SHORTEST <= len(key) <= LONGEST and re.search(PATTERN, key):
        if key in used:
            case.headers["Idempotency-Key"] = key = str(uuid4())
        used.add(key)
