"""Reports: a slow one, cached until a parcel changes, and one that a schedule makes each night."""

import json
import time
from datetime import datetime, timedelta
from sqlite3 import Connection
from zoneinfo import ZoneInfo

from servey import WEB_GET, CronTrigger, Example
from servey.action.action import action
from servey.cache_control.ttl_cache_control import TtlCacheControl

from .model import State
from .storage import Database

AT_THE_BEGINNING = {State.REGISTERED: 1, State.IN_TRANSIT: 1, State.DELIVERED: 1}


@action(
    triggers=(WEB_GET,),
    cache_control=TtlCacheControl(60),
    tags=("reports",),
    examples=(Example(name="at_the_beginning", result=AT_THE_BEGINNING),),
)
def parcel_statistics(connection: Connection) -> dict[State, int]:
    """Count the parcels in each state.

    Clients and the server cache the result for a minute. A change of a parcel removes it from the server's cache:
    see `transaction` in storage.py.
    """
    time.sleep(0.1)  # in real life: a large table
    rows = connection.execute("SELECT state, count(*) AS count FROM parcels GROUP BY state")
    return {State(row["state"]): row["count"] for row in rows}


@action(
    triggers=(CronTrigger("30 2 * * *", "Europe/Berlin", grace=6 * 3600),),
    tags=("reports",),
    examples=(Example(name="first_night", result=AT_THE_BEGINNING),),
)
def nightly_report(database: Database) -> dict[State, int]:
    """Save the statistics of the last day, each night at half past two.

    If no server runs at that time, the next one to start makes up for it, in the next six hours. The day is the key
    of the report, so a second run does no harm.
    """
    yesterday = datetime.now(ZoneInfo("Europe/Berlin")).date() - timedelta(days=1)
    with database.transaction() as connection:
        counts = parcel_statistics(connection)
        by_name = {state.value: count for state, count in counts.items()}
        connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?)", (str(yesterday), json.dumps(by_name)))
    return counts
