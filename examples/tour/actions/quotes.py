"""An async action, and an async resource that lives as long as the service."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal

from servey import WEB_GET, Example, resource
from servey.action.action import action

from .model import Money, Weight


@dataclass(frozen=True)
class Quote:
    """The price of a carrier.

    Args:
        carrier: The carrier's name.
        price: Euros.
    """

    carrier: str
    price: Money


class Carriers:
    """The other carriers. In real life this would hold one HTTP client for all calls."""

    def __init__(self, per_kilogram: dict[str, Decimal]) -> None:
        self.per_kilogram = per_kilogram

    async def quote(self, carrier: str, weight: Decimal) -> Quote:
        """Ask one carrier."""
        await asyncio.sleep(0)  # in real life: await client.get(…)
        return Quote(carrier, (weight * self.per_kilogram[carrier]).quantize(Decimal("0.01")))


@resource(scope="service")
async def carriers() -> AsyncIterator[Carriers]:
    """Connect to the carriers when the service starts, disconnect when it stops."""
    yield Carriers({"Heron": Decimal("2.10"), "Swift": Decimal("1.95"), "Tern": Decimal("2.40")})


@action(
    triggers=(WEB_GET,),
    timeout=5,  # seconds, then 504
    rate_limit="30/minute",  # for each caller, then 429: each call costs the carriers work
    examples=(
        Example(
            name="two_kilograms",
            params={"weight": "2"},
            result=[
                Quote("Swift", Decimal("3.90")),
                Quote("Heron", Decimal("4.20")),
                Quote("Tern", Decimal("4.80")),
            ],
        ),
        Example(name="too_heavy", params={"weight": "31"}, error="invalid"),
    ),
)
async def compare_carriers(weight: Weight, carriers: Carriers) -> list[Quote]:
    """Ask all carriers at once; the cheapest is first."""
    quotes = await asyncio.gather(*(carriers.quote(name, weight) for name in carriers.per_kilogram))
    return sorted(quotes, key=lambda quote: quote.price)
