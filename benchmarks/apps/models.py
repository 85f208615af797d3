"""The types and the data that every app serves."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID


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
