"""Actions that depend on the caller's token."""

from decimal import Decimal
from sqlite3 import Connection

from servey import WEB_GET, Authorization, Example
from servey.action.action import action
from servey.security.access_control.scope_access_control import ScopeAccessControl

from .model import Country, Money


@action(
    triggers=(WEB_GET,),
    access_control=ScopeAccessControl(execute_scope="accounts"),
    tags=("accounts",),
    examples=(
        Example(
            name="by_country",
            description="Unless an example says otherwise, its caller is one that the access control allows",
            result={"AT": Decimal("23.49"), "DE": Decimal("10.98")},
        ),
        Example(name="a_driver", authorization=Authorization(subject="driver"), error="forbidden"),
        Example(name="nobody", error="unauthorized"),
    ),
)
def revenue(connection: Connection) -> dict[Country, Money]:
    """Return the revenue in each country, in euros.

    Over a network this needs a token with the scope ``accounts``. The command line needs no token: a user who can
    run commands here can read the database too.
    """
    rows = connection.execute("SELECT country, sum(cents) AS cents FROM parcels GROUP BY country ORDER BY country")
    return {row["country"]: Decimal(row["cents"]).scaleb(-2) for row in rows}


@action(
    triggers=(WEB_GET,),
    tags=("accounts",),
    examples=(
        Example(name="nobody", result=None),
        Example(
            name="henk",
            authorization=Authorization(subject="henk", scopes=frozenset({"depots"})),
            result=Authorization(subject="henk", scopes=frozenset({"depots"})),
        ),
    ),
)
def echo_authorization(authorization: Authorization | None) -> Authorization | None:
    """Return the content of the caller's token; null without a token."""
    return authorization


@action(
    triggers=(WEB_GET,),
    access_control=ScopeAccessControl(execute_scope="root"),
    tags=("accounts",),
    examples=(
        Example(name="root", result="Some Secret Data!"),
        Example(name="nobody", error="unauthorized"),
    ),
)
def only_for_root() -> str:
    """Return a secret to callers with the scope ``root``."""
    return "Some Secret Data!"
