"""Stores by the scheme of their URL. The memory of the process is built in; plugins open all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from servey.errors import SettingsError
from servey.plugin import StoreSupport
from servey.settings import Settings

T = TypeVar("T")


def store_opener(
    variable: str, url: str, supports: Iterable[StoreSupport[T]], settings: Settings
) -> Callable[[], T] | None:
    """Return a function that opens the store at a URL; None for ``memory`` and ``off``, which are not URLs.

    Raises:
        SettingsError: No plugin opens such a URL. The message does not show the URL, which may have a password.
    """
    if url in ("memory", "off"):
        return None
    scheme = url.partition("://")[0]
    schemes: list[str] = []
    for support in supports:
        if scheme in support.schemes:
            return partial(support.open, url, settings)
        schemes += support.schemes
    raise SettingsError(f"{variable} is not the URL of a store that a plugin opens: {'://, '.join(schemes)}://")
