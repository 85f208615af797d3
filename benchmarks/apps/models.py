"""The types and the data that every app serves."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import jwt


@dataclass
class Address:
    street: str
    city: str
    zip: str | None = None


@dataclass
class User:
    id: UUID
    name: str
    age: int
    created: datetime
    tags: list[str]
    address: Address


@dataclass
class Parcel:
    id: int
    sender: str
    weight: float


USERS = [
    User(UUID(int=i), f"user{i}", i % 90, datetime(2026, 1, 1, tzinfo=UTC), ["a", "b", "c"], Address("1 st", "x", "z"))
    for i in range(1000)
]


SECRET = "the secret of the benchmarks, which are no secret"
SCOPE = "greet"


def _token(scope: str, secret: str = SECRET, subject: str = "ada") -> str:
    # Litestar needs iat and exp; the others do not mind
    claims = {"sub": subject, "iat": 1767225600, "exp": 4102444800, "scope": scope}
    return jwt.encode(claims, secret, algorithm="HS256")


TOKEN = _token(f"read {SCOPE}")
LOWLY_TOKEN = _token("read")
BAD_TOKEN = _token(SCOPE, SECRET[::-1])


def tokens(count: int) -> list[str]:
    """Return the tokens of so many callers."""
    return [_token(SCOPE, subject=f"caller {number}") for number in range(count)]
