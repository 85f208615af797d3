"""A background call: the receipt of a parcel, written after its registration."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from sqlite3 import Connection

from servey import CallContext, Example, NotFoundError, Retry, WebTrigger, WebTriggerMethod
from servey.action.action import action

from .model import Instant, Money, ParcelId, number_of
from .storage import Database


@dataclass(frozen=True)
class Receipt:
    """The receipt of a parcel.

    Args:
        number: The number of the receipt.
        price: Euros.
        written_at: The time at which it was written.
    """

    number: int
    price: Money
    written_at: Instant


@action(
    retry=Retry(times=5, first=1.0),  # again after 1, 2, 4, 8 and 16 seconds, if it was not the caller's fault
    tags=("parcels",),
    examples=(
        Example(name="of_ada", params={"id": "P-1001"}, result=None),
        Example(name="unknown", params={"id": "P-9999"}, error="not_found"),
    ),
)
def write_receipt(id: ParcelId, database: Database, context: CallContext) -> None:
    """Write the receipt of a parcel.

    A server makes this call after `register_parcel` has submitted it and its transaction is committed. If the server
    is killed meanwhile, the call is made again. Its id is in the same transaction as the receipt, so that the second
    run finds the id and writes no second receipt.
    """
    with database.transaction() as connection:
        parcel = connection.execute("SELECT cents FROM parcels WHERE number = ?", (number_of(id),)).fetchone()
        if parcel is None:
            raise NotFoundError(f"there is no parcel {id}")
        connection.execute(
            "INSERT INTO receipts (call_id, parcel, cents, written_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (context.call_id, number_of(id), parcel["cents"], datetime.now(UTC).isoformat()),
        )


@action(
    triggers=(WebTrigger(WebTriggerMethod.GET, "/parcels/{id}/receipt"),),
    tags=("parcels",),
    examples=(
        Example(
            name="of_cleo",
            params={"id": "P-1003"},
            result=Receipt(1, Decimal("23.49"), datetime(2026, 3, 3, 10, 45, 1, tzinfo=UTC)),
        ),
        Example(name="not_written_yet", params={"id": "P-1002"}, error="not_found"),
    ),
)
def get_receipt(id: ParcelId, connection: Connection) -> Receipt:
    """Show the receipt of a parcel."""
    row = connection.execute("SELECT * FROM receipts WHERE parcel = ?", (number_of(id),)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no receipt of {id}")
    return Receipt(row["number"], Decimal(row["cents"]).scaleb(-2), datetime.fromisoformat(row["written_at"]))
