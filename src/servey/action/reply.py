"""A result with its own HTTP status and headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from servey.errors import checked_headers

T = TypeVar("T")


class Reply(msgspec.Struct, Generic[T], frozen=True):
    """The result of an action declared ``-> Reply[Parcel]``, which chooses the status and the headers.

    Transports without status and headers use only the value.

    Args:
        value: The result, of the declared type.
        status: A success or redirect status, 200 to 399 (raise errors instead); None: the status of the action.
        headers: Further response headers (RFC 9110 §5.1, §5.5).

    Raises:
        ValueError: The status or a header is not valid.

    Example:
        >>> Reply("made", status=201, headers={"Location": "/parcels/1"}).status
        201
    """

    value: T
    status: int | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.status is not None and not 200 <= self.status <= 399:
            raise ValueError(f"a reply's status is 200 to 399, not {self.status!r}; raise an error for others")
        checked_headers(self.headers)
