"""A slow report, cached until a parcel changes."""

import time
from sqlite3 import Connection

from servey import WEB_GET, Example
from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl

from .model import State


@action(
    triggers=(WEB_GET,),
    cache_control=TtlCacheControl(60),
    tags=("reports",),
    examples=(Example(name="at_the_beginning", result={State.REGISTERED: 1, State.IN_TRANSIT: 1, State.DELIVERED: 1}),),
)
def parcel_statistics(connection: Connection) -> dict[State, int]:
    """Count the parcels in each state.

    Clients and the server cache the result for a minute. A change of a parcel removes it from the server's cache:
    see `transaction` in storage.py.
    """
    time.sleep(0.1)  # in real life: a large table
    rows = connection.execute("SELECT state, count(*) AS count FROM parcels GROUP BY state")
    return {State(row["state"]): row["count"] for row in rows}
