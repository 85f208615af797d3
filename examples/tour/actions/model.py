"""What the service speaks of: plain dataclasses and enums. What they promise is checked on the way in and out."""

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

# A constraint belongs to a type with a name of its own; whatever is of the type has it.
ParcelId = Annotated[str, Meta(pattern=r"^P-[1-9]\d{3,7}$", description="The number on the label, as in P-1001")]
DepotCode = Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="Three letters, as in HAM")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2, as in DE")]
Weight = Annotated[Decimal, Meta(gt=0, le=30, description="Kilograms")]
Money = Annotated[Decimal, Meta(ge=0, description="Euros")]
Capacity = Annotated[int, Meta(ge=1, le=100_000, description="Parcels")]
Instant = Annotated[datetime, Meta(tz=True, description="With its offset, as in 2026-03-02T09:30:00+01:00")]


class State(Enum):
    """Where a parcel is on its way."""

    REGISTERED = "registered"
    IN_TRANSIT = "in_transit"
    DELIVERED = "delivered"
    RETURNED = "returned"


class Handling(Enum):
    """What to mind with a parcel."""

    FRAGILE = "fragile"
    COOL = "cool"
    UPRIGHT = "upright"


@dataclass(frozen=True)
class Address:
    """Where somebody is reached.

    Args:
        name: Who.
        street: Street and number.
        postcode: As the country writes it.
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
        at: When.
        depot: In which depot.
        state: What the parcel was from then on.
    """

    at: Instant
    depot: DepotCode
    state: State

    @classmethod
    def of_row(cls, row: Row) -> TrackingEvent:
        """Return the step in a row of the table events."""
        return cls(datetime.fromisoformat(row["at"]), row["depot"], State(row["state"]))


def histories_of(numbers: list[int], connection: Connection) -> list[list[TrackingEvent]]:
    """Read the steps of many parcels at once, each in the place of its number."""
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
        state: Where it is on its way.
        recipient: Whom it goes to.
        weight: Kilograms.
        price: Euros.
        handling: What to mind.
        registered_at: When it was registered.
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

        A nested action without a web trigger: no caller over a network can hand in a parcel of its own making. Where
        a GraphQL query asks for it of many parcels, they are asked for together.
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
    """Return the number that a parcel's row has in the database."""
    return int(id.removeprefix("P-"))


@dataclass(frozen=True)
class Depot:
    """A depot.

    Args:
        code: Its three letters.
        city: Where it is.
        capacity: How many parcels it takes.
    """

    code: DepotCode
    city: str
    capacity: Capacity
