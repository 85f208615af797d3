"""An operation with a cache control: results from the cache, as bytes and as objects."""

import asyncio
from dataclasses import dataclass

from servey.action.action import action
from servey.action.context import CallContext, Origin
from servey.cache_control.ttl_cache_control import TtlCacheControl
from servey.service import Service


def context() -> CallContext:
    return CallContext(Origin.NETWORK, "rest", "r-1")


def test_a_kept_result_can_be_had_as_an_object_again():
    @dataclass
    class Pair:
        a: int
        b: str

    @action(cache_control=TtlCacheControl(30))
    def f() -> list[Pair]:
        return [Pair(1, "x")]

    cached = Service([f]).cached["f"]

    async def main():
        return [await cached.fetch_object(cached.operation.decode({}), context()) for _ in range(2)]

    (first, _), (again, fetched) = asyncio.run(main())
    assert first == again == [Pair(1, "x")]
    assert fetched.cache_status.startswith("hit")


def test_a_kept_result_that_its_class_does_not_take_is_logged_and_made_again(caplog):
    @dataclass
    class Even:
        number: int

        def __post_init__(self):
            if self.number % 2:
                raise ValueError("odd")

    @action(cache_control=TtlCacheControl(30))
    def f() -> Even:
        even = Even(2)
        even.number = 3
        return even

    cached = Service([f]).cached["f"]

    async def main():
        return await cached.fetch_object(cached.operation.decode({}), context())

    value, _ = asyncio.run(main())
    assert value.number == 3
    assert [record.action for record in caplog.records if record.name == "servey.operation"] == ["f"]
