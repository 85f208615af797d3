"""Callers needed through resources: an action needs a caller where anything that it is given does, at any depth."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from behaviour import graphql_call
from servey import WEB_GET, WEB_POST, Authorization, CallContext, Example, InvalidError, UnauthorizedError, resource
from servey.action.action import action
from servey.action.batch_invoker import BatchInvoker
from servey.schema.graphql.model_builder import build_model
from servey.servey_uvicorn.banner import banner
from servey.service import Service

WEB = (WEB_GET, WEB_POST)


class User:
    def __init__(self, name: str) -> None:
        self.name = name


class Cart:
    def __init__(self, user: User) -> None:
        self.user = user


@resource
def user(caller: Authorization) -> Iterator[User]:
    yield User(str(caller.subject))


@resource
async def user_on_the_loop(caller: Authorization) -> AsyncIterator[User]:
    yield User(str(caller.subject))


@resource
def cart(user: User) -> Iterator[Cart]:
    yield Cart(user)


@action(triggers=WEB)
def by_user(user: User, count: int = 1) -> str:
    return f"{user.name} {count}"


@action(triggers=WEB)
async def by_cart(cart: Cart, count: int = 1) -> str:
    return f"{cart.user.name} {count}"


@action(triggers=WEB)
def by_cart_and_perhaps_a_caller(caller: Authorization | None, cart: Cart, count: int = 1) -> str:
    return f"{cart.user.name} {count}"


@action(triggers=WEB)
def by_perhaps_a_cart(cart: Cart | None, count: int = 1) -> str:
    assert cart is not None
    return f"{cart.user.name} {count}"


NEEDING = [by_user, by_cart, by_cart_and_perhaps_a_caller, by_perhaps_a_cart]


@pytest.mark.parametrize("user", [user, user_on_the_loop], ids=["sync", "async"])
@pytest.mark.parametrize("needing", NEEDING, ids=lambda function: function.__name__)
def test_nobody_is_let_in_before_the_input_is_looked_at(transport: Any, needing: Any, user: Any) -> None:
    name = needing.__name__
    service = Service([needing], resources=[user, cart])
    for count in (1, "many"):
        if transport.text and not transport.network and count == "many":
            continue  # the flag is read before anybody is called
        outcome = transport.call(service, name, {"count": count})
        assert outcome.is_error(UnauthorizedError)
        assert outcome.errors == ()
    if transport.network:
        assert transport.call(service, name, {"count": 2}, Authorization("me")).result == "me 2"
        assert transport.call(service, name, {"count": "many"}, Authorization("me")).is_error(InvalidError)


def test_a_caller_who_is_optional_everywhere_is_not_needed(transport: Any) -> None:
    @resource
    def visitor(caller: Authorization | None) -> Iterator[User]:
        yield User("nobody" if caller is None else str(caller.subject))

    service = Service([by_cart], resources=[visitor, cart])
    assert transport.call(service, "by_cart").result == "nobody 1"
    if transport.network:
        assert transport.call(service, "by_cart", {}, Authorization("me")).result == "me 1"


def test_a_context_does_not_need_a_caller(transport: Any) -> None:
    @resource
    def visitor(context: CallContext) -> Iterator[User]:
        yield User("nobody" if context.authorization is None else "somebody")

    assert transport.call(Service([by_user], resources=[visitor]), "by_user").result == "nobody 1"


def _owners(shelves: list[Any], cart: Cart) -> list[str]:
    return [f"{cart.user.name} of {shelf.id}" for shelf in shelves]


def test_an_action_needs_the_callers_of_its_batch_function(self_transport: Any) -> None:
    @dataclass
    class Shelf:
        id: int

        @action(triggers=WEB, batch_invoker=BatchInvoker(_owners))
        def owner(self) -> str:
            return f"somebody of {self.id}"

    @action(triggers=WEB)
    def shelf(id: int) -> Shelf:
        return Shelf(id)

    service = Service([shelf], resources=[user, cart])
    assert self_transport.call(service, "shelf_owner", {"self": {"id": 1}}).is_error(UnauthorizedError)


def test_the_start_the_list_and_the_schema_say_that_a_token_is_needed() -> None:
    service = Service([by_cart], resources=[user, cart])
    assert service.operation("by_cart").access_summary.text == "any token"
    routes = [line for line in banner(service, 8000) if "/by-cart" in line]
    assert [line.endswith("(any token)") for line in routes] == [True, True]
    _, field = graphql_call.field_of(build_model(service), "by_cart")
    assert "any token" in str(field.description)


def test_an_example_calls_as_somebody_whom_a_resource_needs() -> None:
    @action(triggers=WEB, examples=(Example(name="one", result="example 1"),))
    def mine(cart: Cart, count: int = 1) -> str:
        return f"{cart.user.name} {count}"

    operation = Service([mine], resources=[user, cart]).operation("mine")
    assert operation.example_authorization(operation.examples[0].example) == Authorization("example")
