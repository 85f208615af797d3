"""The actions on parcels."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from sqlite3 import Connection
from typing import Annotated

import msgspec
from msgspec import Meta

from servey import (
    WEB_GET,
    Authorization,
    ConflictError,
    Example,
    Idempotency,
    NotFoundError,
    Reply,
    WebTrigger,
    WebTriggerMethod,
    background,
)
from servey.action.action import action
from servey.cache_control.secure_hash_cache_control import SecureHashCacheControl

from .model import (
    Address,
    Country,
    DepotCode,
    Handling,
    Instant,
    Money,
    Parcel,
    ParcelId,
    State,
    TrackingEvent,
    Weight,
    number_of,
)
from .receipts import write_receipt

NEXT_STATES: dict[State, set[State]] = {
    State.REGISTERED: {State.IN_TRANSIT},
    State.IN_TRANSIT: {State.IN_TRANSIT, State.DELIVERED, State.RETURNED},
    State.DELIVERED: set(),
    State.RETURNED: set(),
}


class IllegalStepError(Exception):
    """The parcel cannot go from its state to the requested state.

    This exception belongs to the service and does not depend on servey. An action declares it with
    ``errors=(IllegalStepError,)``; callers then see its `status` and `code`. Undeclared, it is a 500 without details.
    """

    status = 409
    code = "illegal_step"


# Parcels of the seed (in storage.py), for the examples.
ADA = Address("Ada", "Lindenweg 1", "10115", "Berlin")
P_1001 = Parcel(
    id="P-1001",
    state=State.REGISTERED,
    recipient=ADA,
    weight=Decimal("0.800"),
    price=Decimal("4.49"),
    handling=[Handling.FRAGILE, Handling.UPRIGHT],
    registered_at=datetime(2026, 3, 1, 8, tzinfo=UTC),
)
P_1003 = Parcel(
    id="P-1003",
    state=State.DELIVERED,
    recipient=Address("Cleo", "Ring 3", "1010", "Wien", "AT"),
    weight=Decimal("12.000"),
    price=Decimal("23.49"),
    handling=[Handling.COOL],
    registered_at=datetime(2026, 3, 3, 10, 45, tzinfo=UTC),
    note="Ring twice",
)


@action(
    triggers=(WebTrigger(WebTriggerMethod.GET, "/parcels"),),
    tags=("parcels",),
    examples=(
        Example(
            name="delivered_or_returned",
            description="A list is a repeated parameter: ?state=delivered&state=returned",
            params={"state": [State.DELIVERED, State.RETURNED]},
            result=[P_1003],
        ),
        Example(
            name="light_ones_since_march",
            description="Several filters: all of them hold",
            params={"since": "2026-03-01T00:00:00+01:00", "lighter_than": "1"},
            result=[P_1001],
        ),
        Example(name="none", params={"city": "Atlantis"}, result=[]),
        Example(name="no_such_state", params={"state": ["lost"]}, error="invalid"),
        Example(name="without_offset", params={"since": "2026-03-01T00:00:00"}, error="invalid"),
    ),
)
def list_parcels(
    connection: Connection,
    state: list[State] | None = None,
    city: str | None = None,
    since: Instant | None = None,
    lighter_than: Weight | None = None,
    limit: Annotated[int, Meta(ge=1, le=100)] = 20,
) -> list[Parcel]:
    """List parcels, the newest first.

    Args:
        connection: Given by the service (storage.py); callers do not see it.
        state: Only parcels in one of these states.
        city: Only parcels that go to this city.
        since: Only parcels registered at this time or later.
        lighter_than: Only parcels of less than this number of kilograms.
        limit: The largest number of parcels in the list.
    """
    rows = connection.execute(
        """
        SELECT * FROM parcels
        WHERE (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
          AND (:city IS NULL OR city = :city)
          AND (:since IS NULL OR registered_at >= :since)
          AND (:grams IS NULL OR grams < :grams)
        ORDER BY number DESC LIMIT :limit
        """,
        {
            "states": msgspec.json.encode(state).decode() if state else None,
            "city": city,
            "since": since and _utc(since),
            "grams": lighter_than and _grams(lighter_than),
            "limit": limit,
        },
    )
    return [Parcel.of_row(row) for row in rows]


@action(
    triggers=(WebTrigger(WebTriggerMethod.GET, "/parcels/{id}"),),
    cache_control=SecureHashCacheControl(),  # an ETag: a client that has the parcel already gets a 304
    tags=("parcels",),
    examples=(
        Example(name="known", params={"id": "P-1001"}, result=P_1001),
        Example(name="unknown", params={"id": "P-9999"}, error="not_found"),
        Example(name="not_an_id", params={"id": "1001"}, error="invalid"),
    ),
)
def get_parcel(id: ParcelId, connection: Connection) -> Parcel:
    """Show a parcel."""
    row = connection.execute("SELECT * FROM parcels WHERE number = ?", (number_of(id),)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no parcel {id}")
    return Parcel.of_row(row)


@action(
    triggers=(WebTrigger(WebTriggerMethod.GET, "/my/parcels"),),
    cache_control=SecureHashCacheControl(),
    tags=("parcels",),
    examples=(
        Example(name="of_ada", authorization=Authorization("ada"), result=[P_1003, P_1001]),
        Example(name="of_henk", authorization=Authorization("henk"), result=[]),
        Example(name="nobody", error="unauthorized"),
    ),
)
def my_parcels(authorization: Authorization, connection: Connection) -> list[Parcel]:
    """List the caller's own parcels, the newest first.

    The token says who the caller is, never the input. The parameter `authorization` makes the result private: no
    cache gives it to another user.
    """
    rows = connection.execute("SELECT * FROM parcels WHERE sender = ? ORDER BY number DESC", (authorization.subject,))
    return [Parcel.of_row(row) for row in rows]


@dataclass(frozen=True)
class Registration:
    """A parcel that was registered.

    Args:
        id: The number for the label.
        price: Euros.
    """

    id: ParcelId
    price: Money


@action(
    triggers=(WebTrigger(WebTriggerMethod.POST, "/parcels"),),
    idempotency=Idempotency(),  # a client that got no answer sends the request again, with the same key
    tags=("parcels",),
    status=201,
    examples=(
        Example(
            name="to_berlin",
            params={"depot": "HAM", "recipient": ADA, "weight": "1.2", "handling": ["fragile"]},
            result=Registration("P-1004", Decimal("4.99")),
        ),
        Example(
            name="several_mistakes",
            description="The error lists every mistake, not only the first",
            params={"depot": "HAM", "recipient": {"name": ""}, "weight": "31"},
            error="invalid",
        ),
        Example(
            name="no_such_depot",
            description="The path exists, so this is not a 404",
            params={"depot": "XXX", "recipient": ADA, "weight": "1"},
            error="conflict",
        ),
    ),
)
def register_parcel(
    connection: Connection,
    depot: DepotCode,
    recipient: Address,
    weight: Weight,
    authorization: Authorization | None,
    handling: list[Handling] | None = None,
    note: str | None = None,
) -> Reply[Registration]:
    """Register a parcel. Its receipt follows a moment later, as a background call.

    Args:
        connection: Given by the service.
        depot: The depot that takes the parcel in.
        recipient: The address that the parcel goes to.
        weight: Kilograms.
        authorization: The sender, if a user has logged in.
        handling: How to handle the parcel.
        note: For the driver.

    Returns:
        The number and the price; the header Location says where the parcel is.
    """
    price = price_of(weight, recipient.country)
    now = datetime.now(UTC)
    inserted = connection.execute(
        """
        INSERT INTO parcels (state, name, street, postcode, city, country, grams, cents, handling, registered_at,
            note, sender)
        VALUES ('registered', :name, :street, :postcode, :city, :country, :grams, :cents, :handling, :now,
            :note, :sender)
        """,
        {
            **vars(recipient),
            "grams": _grams(weight),
            "cents": int(price * 100),
            "handling": " ".join(item.value for item in handling or ()),
            "now": _utc(now),
            "note": note,
            "sender": authorization and authorization.subject,
        },
    )
    id = f"P-{inserted.lastrowid}"
    # an unknown depot raises here; then the parcel is rolled back
    _add_event(connection, id, TrackingEvent(now, depot, State.REGISTERED))
    background.submit(write_receipt, id=id)  # leaves when the registration is committed
    return Reply(Registration(id, price), headers={"Location": f"/parcels/{id}"})


@action(
    triggers=(WebTrigger(WebTriggerMethod.PUT, "/parcels/{id}/recipient"),),
    tags=("parcels",),
    examples=(
        Example(
            name="moved_house",
            description="This example has no result, so every result is right",
            params={"id": "P-1001", "recipient": {**vars(ADA), "street": "Lindenweg 17"}},
        ),
        Example(name="too_late", params={"id": "P-1003", "recipient": ADA}, error="conflict"),
        Example(name="unknown", params={"id": "P-9999", "recipient": ADA}, error="not_found"),
    ),
)
def redirect_parcel(id: ParcelId, recipient: Address, connection: Connection) -> Parcel:
    """Send a parcel that is still on its way to another address."""
    parcel = get_parcel(id, connection)  # an action is a plain function, to be called like any other
    if not NEXT_STATES[parcel.state]:
        raise ConflictError(f"{id} is {parcel.state.value} already")
    connection.execute(
        """
        UPDATE parcels SET name = :name, street = :street, postcode = :postcode, city = :city, country = :country
        WHERE number = :number
        """,
        {**vars(recipient), "number": number_of(id)},
    )
    return get_parcel(id, connection)


@action(
    triggers=(WebTrigger(WebTriggerMethod.PATCH, "/parcels/{id}"),),
    tags=("parcels",),
    examples=(
        Example(
            name="only_the_note",
            params={"id": "P-1002", "note": "Leave it at the bakery"},
            result={
                "id": "P-1002",
                "state": "in_transit",
                "recipient": {
                    "name": "Ben",
                    "street": "Kai 2",
                    "postcode": "20457",
                    "city": "Hamburg",
                    "country": "DE",
                },
                "weight": "2.400",
                "price": "6.49",
                "handling": [],
                "registered_at": "2026-03-02T09:30:00Z",
                "note": "Leave it at the bakery",
            },
        ),
        Example(name="too_heavy", params={"id": "P-1002", "weight": "30.01"}, error="invalid"),
        Example(name="unknown", params={"id": "P-9999", "note": ""}, error="not_found"),
    ),
)
def correct_parcel(
    id: ParcelId, connection: Connection, weight: Weight | None = None, note: str | None = None
) -> Parcel:
    """Correct the weight or the note of a parcel. A field that is left out does not change.

    Send the parcel's ETag as If-Match: the action then changes the parcel only if no other caller has changed it.
    """
    parcel = get_parcel(id, connection)
    if weight is not None:
        price = price_of(weight, parcel.recipient.country)
        connection.execute(
            "UPDATE parcels SET grams = ?, cents = ? WHERE number = ?",
            (_grams(weight), int(price * 100), number_of(id)),
        )
    if note is not None:
        connection.execute("UPDATE parcels SET note = ? WHERE number = ?", (note, number_of(id)))
    return get_parcel(id, connection)


@action(
    triggers=(WebTrigger(WebTriggerMethod.POST, "/parcels/{id}/events"),),
    tags=("parcels",),
    errors=(IllegalStepError,),
    status=201,
    examples=(
        Example(
            name="arrived",
            params={"id": "P-1002", "depot": "HAM", "state": "delivered", "at": "2026-03-03T09:00:00+01:00"},
            result={"at": "2026-03-03T09:00:00+01:00", "depot": "HAM", "state": "delivered"},
        ),
        Example(
            name="delivered_twice",
            description="An exception that the service declares",
            params={"id": "P-1003", "depot": "VIE", "state": "delivered"},
            error="illegal_step",
        ),
        Example(
            name="no_such_depot",
            params={"id": "P-1001", "depot": "XXX", "state": "in_transit"},
            error="conflict",
        ),
        Example(
            name="no_such_parcel",
            params={"id": "P-9999", "depot": "VIE", "state": "in_transit"},
            error="not_found",
        ),
    ),
)
def record_event(
    id: ParcelId, depot: DepotCode, state: State, connection: Connection, at: Instant | None = None
) -> TrackingEvent:
    """Record the next step of a parcel.

    Args:
        id: The parcel.
        depot: The depot where the parcel is.
        state: The new state of the parcel.
        connection: Given by the service.
        at: The time of the step; by default now.
    """
    before = get_parcel(id, connection).state
    if state not in NEXT_STATES[before]:
        raise IllegalStepError(f"a parcel that is {before.value} cannot be {state.value} next")
    changed = connection.execute(
        "UPDATE parcels SET state = ? WHERE number = ? AND state = ?",  # no row if another call was quicker
        (state.value, number_of(id), before.value),
    )
    if changed.rowcount == 0:
        raise ConflictError(f"{id} has just been changed by another call")
    event = TrackingEvent(at or datetime.now(UTC), depot, state)
    _add_event(connection, id, event)
    return event


@action(
    triggers=(WebTrigger(WebTriggerMethod.DELETE, "/parcels/{id}"),),
    tags=("parcels",),
    status=204,
    examples=(
        Example(name="not_yet_on_its_way", params={"id": "P-1001"}, result=None),
        Example(name="on_its_way", params={"id": "P-1002"}, error="conflict"),
        Example(name="unknown", params={"id": "P-9999"}, error="not_found"),
    ),
)
def cancel_parcel(id: ParcelId, connection: Connection) -> None:
    """Cancel a parcel that is not on its way yet."""
    parcel = get_parcel(id, connection)
    if parcel.state is not State.REGISTERED:
        raise ConflictError(f"{id} is {parcel.state.value} already")
    connection.execute("DELETE FROM parcels WHERE number = ?", (number_of(id),))


@action(
    triggers=(WEB_GET,),
    tags=("parcels",),
    run_in="loop",  # the action does not block, so it needs no thread
    examples=(
        Example(name="light", params={"weight": "0.4"}, result="3.99"),
        Example(name="abroad", params={"weight": "12", "country": "AT"}, result="23.49"),
        Example(name="no_country", params={"weight": "12", "country": "Austria"}, error="invalid"),
    ),
)
def price_of(weight: Weight, country: Country = "DE") -> Money:
    """Return the price of a parcel in euros."""
    base = Decimal("3.49") if country == "DE" else Decimal("8.49")
    return (base + weight * Decimal("1.25")).quantize(Decimal("0.01"))


def _add_event(connection: Connection, id: ParcelId, event: TrackingEvent) -> None:
    if connection.execute("SELECT 1 FROM depots WHERE code = ?", (event.depot,)).fetchone() is None:
        raise ConflictError(f"there is no depot {event.depot}")
    connection.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?)", (number_of(id), _utc(event.at), event.depot, event.state.value)
    )


def _grams(weight: Weight) -> int:
    """Return a weight in whole grams, rounded up."""
    return math.ceil(weight * 1000)


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
