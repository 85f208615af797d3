"""The smallest action, and an action on a result."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from servey import WEB_GET, WEB_POST, BigInt, Example
from servey.action.action import action


@action(
    triggers=(WEB_GET,),
    examples=(
        Example(
            name="greet_developer",
            description="Say hello to the developer",
            params={"name": "Developer"},
            result="Hello Developer!",
        ),
        Example(name="nobody", description="A name is needed", params={}, error="invalid"),
    ),
)
def say_hello(name: str) -> str:
    """Greet a user!"""
    return f"Hello {name}!"


@dataclass
class NumberStats:
    """Statistics of a number.

    Args:
        value: The number.
    """

    value: Annotated[int, Meta(ge=0, le=1000)]

    @action(
        triggers=(WEB_POST,),
        examples=(
            Example(name="small", params={"self": {"value": 5}}, result=120),
            Example(name="big", params={"self": {"value": 21}}, result=51090942171709440000),
            Example(name="negative", params={"self": {"value": -1}}, error="invalid"),
        ),
    )
    async def factorial(self) -> BigInt:
        """Multiply all whole numbers from one to the value.

        This is a nested action. Its name is ``number_stats_factorial``, and a caller gives ``self`` like any other
        argument. It has a web trigger because a caller gains nothing by an invented NumberStats: `number_stats` is
        open to every caller too.
        """
        result = 1
        for factor in range(2, self.value + 1):
            result *= factor
        return result


@action(
    triggers=(WEB_GET,),
    examples=(
        Example(name="five", params={"value": 5}, result=NumberStats(5)),
        Example(name="too_big", params={"value": 1001}, error="invalid"),
    ),
)
def number_stats(value: Annotated[int, Meta(ge=0, le=1000)]) -> NumberStats:
    """Return the statistics of a number."""
    return NumberStats(value)
