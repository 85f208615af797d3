"""The parameter ``include`` in the document: where it is, what it takes, and what results may have by it."""

from __future__ import annotations

from dataclasses import dataclass

import pydantic
import pytest
from openapi_spec_validator import validate

from servey import WEB_GET, WEB_POST, Authorization, ErrorMapping, ScopeAccessControl
from servey.action.action import action
from servey.schema.openapi import openapi_document
from servey.service import Service


class LostError(Exception):
    """It is nowhere."""


@dataclass
class Item:
    n: int

    @action(errors=(ErrorMapping(LostError, 410),))
    async def price(self) -> float:
        """What it costs."""
        return 1.0

    @action(access_control=ScopeAccessControl("root"), rate_limit="1/minute")
    async def cost(self) -> float:
        return 0.5

    @action(include_in_schema=False)
    async def hidden(self) -> int:
        return 1


@dataclass
class Order:
    items: list[Item]

    @action
    async def total(self) -> float:
        return 1.0


@action(triggers=(WEB_GET, WEB_POST))
async def order() -> Order:
    return Order([])


@action(triggers=(WEB_POST,))
async def add(item: Item) -> Item:
    return item


@action(triggers=(WEB_GET,))
async def plain(n: int) -> int:
    return n


def parameters_of(document, path, method="get"):
    return [item for item in document["paths"][path][method].get("parameters", ()) if item["name"] == "include"]


@pytest.mark.parametrize("version", ["3.1", "3.0"])
def test_a_get_with_something_to_include_takes_include(version):
    document = openapi_document(Service([order, add, plain]), version=version)
    (parameter,) = parameters_of(document, "/actions/order")
    assert "`items`, `total`" in parameter.pop("description")
    assert parameter == {
        "name": "include",
        "in": "query",
        "required": False,
        "schema": {
            "type": "array",
            "items": {"type": "string", "enum": ["items.cost", "items.price", "total"]},
        },
    }
    assert parameters_of(document, "/actions/order", "post") == []
    assert parameters_of(document, "/actions/plain") == []


def test_the_document_is_valid_and_results_may_have_what_is_included():
    document = openapi_document(Service([order, add, plain]))
    validate(document)
    schemas = document["components"]["schemas"]
    told = schemas["Item"]["properties"]["price"].pop("description")
    assert told.startswith("What it costs.")
    assert [sorted(schemas[name]["properties"]) for name in ("Item", "Order")] == [
        ["cost", "n", "price"],
        ["items", "total"],
    ]
    assert (schemas["Item"]["required"], schemas["Item"]["additionalProperties"]) == (["n"], False)
    assert schemas["Item"]["properties"]["price"] == {"type": "number"}


def test_what_is_sent_has_none_of_it():
    schemas = openapi_document(Service([order, add]))["components"]["schemas"]
    assert list(schemas["ItemInput"]["properties"]) == ["n"]
    alone = openapi_document(Service([add]))["components"]["schemas"]
    assert list(alone["Item"]["properties"]) == ["n"]


def test_the_errors_and_the_tokens_of_what_is_included_are_those_of_the_route():
    paths = openapi_document(Service([order, add, plain]))["paths"]
    got, posted = paths["/actions/order"]["get"], paths["/actions/order"]["post"]
    assert list(got["responses"]) == ["200", "400", "401", "403", "410", "422", "429", "default"]
    assert list(posted["responses"]) == ["200", "400", "401", "422", "default"]
    assert got["security"][0] == {}  # without a token there are results, too
    assert len(got["security"]) > 1
    assert "security" not in posted


def test_who_may_not_call_a_nested_action_is_not_told_of_it():
    document = openapi_document(Service([order]), visible=frozenset({"order", "item_price", "order_total"}))
    (parameter,) = parameters_of(document, "/actions/order")
    assert parameter["schema"]["items"]["enum"] == ["items.price", "total"]
    assert sorted(document["components"]["schemas"]["Item"]["properties"]) == ["n", "price"]
    document = openapi_document(Service([order]), visible=frozenset({"order"}))
    assert parameters_of(document, "/actions/order") == []


class Node(pydantic.BaseModel):
    n: int

    @action
    async def next(self) -> Node:
        return self

    @action
    async def all(self) -> list[Node]:
        return [self]


class Holder(pydantic.BaseModel):
    node: Node


def test_nested_actions_that_return_their_own_class_have_no_end_of_paths():
    @action(triggers=(WEB_GET,))
    async def node() -> Node:
        return Node(n=1)

    @action(triggers=(WEB_GET,))
    async def holder() -> Holder:
        return Holder(node=Node(n=1))

    for actions in ([node, holder], [holder, node]):
        document = openapi_document(Service(actions))
        validate(document)
        (parameter,) = parameters_of(document, "/actions/node")
        assert parameter["schema"]["items"] == {"type": "string"}
        assert sorted(document["components"]["schemas"]["Node"]["properties"]) == ["all", "n", "next"]


def test_a_caller_of_an_action_that_takes_one_is_asked_for_a_token_as_before():
    @action(triggers=(WEB_GET,))
    async def mine(caller: Authorization) -> Order:
        return Order([])

    got = openapi_document(Service([mine]))["paths"]["/actions/mine"]["get"]
    assert {} not in got["security"]
