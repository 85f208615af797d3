"""The types: plain dataclasses and enums. Servey checks their constraints in the input and in the output."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from sqlite3 import Connection, Row
from typing import Annotated

from msgspec import Meta

from servey import BatchInvoker, Example
from servey.action.action import action

# Give a constraint to a named type; every field and parameter of the type then has it.
ParcelId = Annotated[str, Meta(pattern=r"^P-[1-9]\d{3,7}$", description="The number on the label, as in P-1001")]
DepotCode = Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="Three letters, as in HAM")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2, as in DE")]
Weight = Annotated[Decimal, Meta(gt=0, le=30, description="Kilograms")]
Money = Annotated[Decimal, Meta(ge=0, description="Euros")]
Capacity = Annotated[int, Meta(ge=1, le=100_000, description="Parcels")]
Instant = Annotated[datetime, Meta(tz=True, description="With its offset, as in 2026-03-02T09:30:00+01:00")]


class State(Enum):
    """The state of a parcel."""

    REGISTERED = "registered"
    IN_TRANSIT = "in_transit"
    DELIVERED = "delivered"
    RETURNED = "returned"


class Handling(Enum):
    """How to handle a parcel."""

    FRAGILE = "fragile"
    COOL = "cool"
    UPRIGHT = "upright"


@dataclass(frozen=True)
class Address:
    """A postal address.

    Args:
        name: The recipient's name.
        street: Street and number.
        postcode: The postcode in the country's format.
        city: The city.
        country: The country.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    street: str
    postcode: str
    city: str
    country: Country = "DE"


@dataclass(frozen=True)
class TrackingEvent:
    """One step of a parcel's way.

    Args:
        at: The time of the step.
        depot: The depot where the parcel was.
        state: The state of the parcel after the step.
    """

    at: Instant
    depot: DepotCode
    state: State

    @classmethod
    def of_row(cls, row: Row) -> TrackingEvent:
        """Return the step in a row of the table events."""
        return cls(datetime.fromisoformat(row["at"]), row["depot"], State(row["state"]))


def histories_of(numbers: list[int], connection: Connection) -> list[list[TrackingEvent]]:
    """Read the steps of many parcels at once, in the order of the numbers."""
    places = ", ".join("?" * len(numbers))
    histories: dict[int, list[TrackingEvent]] = {number: [] for number in numbers}
    for row in connection.execute(f"SELECT * FROM events WHERE number IN ({places}) ORDER BY at", numbers):
        histories[row["number"]].append(TrackingEvent.of_row(row))
    return [histories[number] for number in numbers]


@dataclass(frozen=True)
class Parcel:
    """A parcel.

    Args:
        id: The number on the label.
        state: The state of the parcel.
        recipient: The address that the parcel goes to.
        weight: Kilograms.
        price: Euros.
        handling: How to handle the parcel.
        registered_at: The time of the registration.
        note: For the driver.
    """

    id: ParcelId
    state: State
    recipient: Address
    weight: Weight
    price: Money
    handling: list[Handling]
    registered_at: Instant
    note: str | None = None

    @action(
        batch_invoker=BatchInvoker(histories_of, arg_extractor=lambda parcel: number_of(parcel.id)),
        examples=(
            Example(
                name="two_steps",
                params={
                    "self": {
                        "id": "P-1002",
                        "state": "in_transit",
                        "recipient": {"name": "Ben", "street": "Kai 2", "postcode": "20457", "city": "Hamburg"},
                        "weight": "2.400",
                        "price": "6.49",
                        "handling": [],
                        "registered_at": "2026-03-02T09:30:00Z",
                    }
                },
                result=[
                    {"at": "2026-03-02T09:30:00Z", "depot": "BER", "state": "registered"},
                    {"at": "2026-03-02T21:15:00Z", "depot": "HAM", "state": "in_transit"},
                ],
            ),
            Example(name="not_a_parcel", params={"self": {"id": "P-1002"}}, error="invalid"),
        ),
    )
    def history(self, connection: Connection) -> list[TrackingEvent]:
        """List the steps of the parcel's way, the first one first.

        This nested action has no web trigger, so that callers cannot send an invented parcel over a network. A
        GraphQL query for the histories of many parcels reads them all at once.
        """
        return histories_of([number_of(self.id)], connection)[0]

    @classmethod
    def of_row(cls, row: Row) -> Parcel:
        """Return the parcel in a row of the table parcels."""
        return cls(
            id=f"P-{row['number']}",
            state=State(row["state"]),
            recipient=Address(row["name"], row["street"], row["postcode"], row["city"], row["country"]),
            weight=Decimal(row["grams"]).scaleb(-3),
            price=Decimal(row["cents"]).scaleb(-2),
            handling=[Handling(item) for item in row["handling"].split()],
            registered_at=datetime.fromisoformat(row["registered_at"]),
            note=row["note"],
        )


def number_of(id: ParcelId) -> int:
    """Return the number of the parcel's row in the database."""
    return int(id.removeprefix("P-"))


@dataclass(frozen=True)
class Depot:
    """A depot.

    Args:
        code: Its three letters.
        city: The depot's city.
        capacity: The number of parcels that fit in.
    """

    code: DepotCode
    city: str
    capacity: Capacity
