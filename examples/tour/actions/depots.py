"""The depots. The client chooses a depot's code: PUT creates or changes a depot."""

from sqlite3 import Connection

from servey import Example, NotFoundError, Reply, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.cache_control.secure_hash_cache_control import SecureHashCacheControl
from servey.security.access_control.scope_access_control import ScopeAccessControl

from .model import Capacity, Depot, DepotCode

VIENNA = Depot("VIE", "Wien", 120)


@action(
    triggers=(WebTrigger(WebTriggerMethod.GET, "/depots"),),
    tags=("depots",),
    examples=(
        Example(
            name="all",
            result=[Depot("BER", "Berlin", 400), Depot("HAM", "Hamburg", 250), VIENNA],
        ),
    ),
)
def list_depots(connection: Connection) -> list[Depot]:
    """List the depots, sorted by their codes."""
    return [Depot(**row) for row in connection.execute("SELECT * FROM depots ORDER BY code")]


@action(
    triggers=(WebTrigger(WebTriggerMethod.GET, "/depots/{code}"),),
    cache_control=SecureHashCacheControl(),
    tags=("depots",),
    examples=(
        Example(name="known", params={"code": "VIE"}, result=VIENNA),
        Example(name="unknown", params={"code": "XXX"}, error="not_found"),
        Example(name="no_code", params={"code": "wien"}, error="invalid"),
    ),
)
def get_depot(code: DepotCode, connection: Connection) -> Depot:
    """Show a depot."""
    row = connection.execute("SELECT * FROM depots WHERE code = ?", (code,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no depot {code}")
    return Depot(**row)


@action(
    triggers=(WebTrigger(WebTriggerMethod.PUT, "/depots/{code}"),),
    access_control=ScopeAccessControl(execute_scope="depots"),
    tags=("depots",),
    examples=(
        Example(
            name="new",
            params={"code": "MUC", "city": "München", "capacity": 300},
            result=Depot("MUC", "München", 300),
        ),
        Example(
            name="enlarged",
            params={"code": "VIE", "city": "Wien", "capacity": 240},
            result=Depot("VIE", "Wien", 240),
        ),
        Example(name="no_room", params={"code": "VIE", "city": "Wien", "capacity": 0}, error="invalid"),
        Example(name="nobody", params={"code": "VIE", "city": "Wien", "capacity": 240}, error="unauthorized"),
    ),
)
def put_depot(code: DepotCode, city: str, capacity: Capacity, connection: Connection) -> Reply[Depot]:
    """Create a depot, or change it. Needs a token with the scope ``depots``.

    Send the ETag of the GET of the same path as If-Match: the PUT then never overwrites another client's change.
    With ``If-None-Match: *`` the PUT creates a depot and never changes one.

    Returns:
        The depot; 201 if it is new, otherwise 200.
    """
    depot = Depot(code, city, capacity)
    known = connection.execute("SELECT 1 FROM depots WHERE code = ?", (code,)).fetchone()
    connection.execute(
        "INSERT INTO depots VALUES (:code, :city, :capacity)"
        " ON CONFLICT (code) DO UPDATE SET city = :city, capacity = :capacity",
        vars(depot),
    )
    return Reply(depot) if known else Reply(depot, status=201, headers={"Location": f"/depots/{code}"})
