"""JSON pointers (RFC 6901): where a problem is."""

from __future__ import annotations

from collections.abc import Iterable

from servey.errors import Problem

_STEP_SHOWN = 200


def step(path: str, key: object) -> str:
    """Return the JSON pointer of the member `key` under `path` (RFC 6901); long keys are cut.

    Each of a hundred problems repeats it, and a key may be as long as the body.
    """
    text = str(key)
    if len(text) > _STEP_SHOWN:
        text = f"{text[: _STEP_SHOWN - 3]}..."
    return f"{path}/{text.replace('~', '~0').replace('/', '~1')}"


def below(path: str, errors: Iterable[Problem]) -> list[Problem]:
    """Return `errors` with their paths put under `path`."""
    return [Problem(path + error.path, error.message) for error in errors]
