"""Every public type of pydantic's, in every place: it works, or is refused when the service is built."""

from __future__ import annotations

import dataclasses
import importlib.util
import socket
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pydantic
import pydantic.networks
import pydantic.types
import pytest

from behaviour.conftest import CliEvent, DirectJson, DirectValues, GraphQL, RestPost
from servey import WEB_GET, WEB_POST, InvalidError
from servey.action.action import action
from servey.errors import DefinitionError
from servey.service import Service
from servey.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:The `PaymentCardNumber` class:DeprecationWarning")
WEB = (WEB_GET, WEB_POST)
SAME: Any = object()
TEXT: Any = object()


@dataclass
class Row:
    """One type.

    Args:
        tp: The type.
        good: A JSON value of it.
        bad: One that is not of it.
        written: What is answered for the good one; default: the same.
        takes_text: Whether the bad value is good as text.
        inside: Where in the value the problem is.
    """

    tp: Any
    good: Any
    bad: Any
    written: Any = SAME
    takes_text: bool = False
    inside: tuple[str, ...] = ()


class Point(pydantic.BaseModel):
    x: int


class Omitting(pydantic.BaseModel):
    v: list[pydantic.OnErrorOmit[int]]


HERE = Path(__file__)
MASK = "**********"
NOON = "2000-01-01T12:00:00"
DSN = {
    "AmqpDsn": "amqp://user:pass@host:5672/",
    "AnyHttpUrl": "http://host/x",
    "AnyUrl": "ftp://host/x",
    "AnyWebsocketUrl": "ws://host/",
    "ClickHouseDsn": "clickhouse+native://host:9000/x",
    "CockroachDsn": "cockroachdb://user@host:26257/x",
    "FileUrl": "file:///x",
    "FtpUrl": "ftp://host/x",
    "HttpUrl": "https://host/x",
    "KafkaDsn": "kafka://host:9092",
    "MariaDBDsn": "mariadb://user@host:3306/x",
    "MongoDsn": "mongodb://host:27017",
    "MySQLDsn": "mysql://user@host:3306/x",
    "NatsDsn": "nats://host:4222",
    "PostgresDsn": "postgres://user:pass@host:5432/x",
    "RedisDsn": "redis://host:6379/0",
    "SnowflakeDsn": "snowflake://user:pass@account/x",
    "WebsocketUrl": "wss://host/",
}
UUIDS = {number: f"00000000-0000-{number}000-8000-000000000000" for number in (1, 3, 4, 5, 6, 7, 8)}
ROWS: dict[str, Row] = {
    **{name: Row(getattr(pydantic, name), good, "nowhere") for name, good in DSN.items()},
    **{f"UUID{n}": Row(getattr(pydantic, f"UUID{n}"), text, text.replace(f"-{n}", "-2")) for n, text in UUIDS.items()},
    "AwareDatetime": Row(pydantic.AwareDatetime, f"{NOON}Z", NOON),
    "NaiveDatetime": Row(pydantic.NaiveDatetime, NOON, f"{NOON}Z"),
    "PastDatetime": Row(pydantic.PastDatetime, f"{NOON}Z", "2999-01-01T12:00:00Z"),
    "FutureDatetime": Row(pydantic.FutureDatetime, "2999-01-01T12:00:00Z", f"{NOON}Z"),
    "PastDate": Row(pydantic.PastDate, "2000-01-01", "2999-01-01"),
    "FutureDate": Row(pydantic.FutureDate, "2999-01-01", "2000-01-01"),
    "Base64Bytes": Row(pydantic.Base64Bytes, "aGk=", "a"),
    "Base64Str": Row(pydantic.Base64Str, "aGk=", "a"),
    "Base64UrlBytes": Row(pydantic.Base64UrlBytes, "aGk=", "a"),
    "Base64UrlStr": Row(pydantic.Base64UrlStr, "aGk=", "a"),
    "ByteSize": Row(pydantic.ByteSize, "1KiB", "much", written=1024),
    "DirectoryPath": Row(pydantic.DirectoryPath, str(HERE.parent), str(HERE)),
    "FilePath": Row(pydantic.FilePath, str(HERE), str(HERE.parent)),
    "NewPath": Row(pydantic.NewPath, str(HERE.parent / "nothing"), str(HERE)),
    "SocketPath": Row(pydantic.SocketPath, SAME, str(HERE)),
    "FiniteFloat": Row(pydantic.FiniteFloat, 1.5, "much"),
    "NegativeFloat": Row(pydantic.NegativeFloat, -1.5, 1.5),
    "NegativeInt": Row(pydantic.NegativeInt, -1, 1),
    "NonNegativeFloat": Row(pydantic.NonNegativeFloat, 1.5, -1.5),
    "NonNegativeInt": Row(pydantic.NonNegativeInt, 1, -1),
    "NonPositiveFloat": Row(pydantic.NonPositiveFloat, -1.5, 1.5),
    "NonPositiveInt": Row(pydantic.NonPositiveInt, -1, 1),
    "PositiveFloat": Row(pydantic.PositiveFloat, 1.5, -1.5),
    "PositiveInt": Row(pydantic.PositiveInt, 1, -1),
    "IPvAnyAddress": Row(pydantic.IPvAnyAddress, "192.0.2.1", "nowhere"),
    "IPvAnyInterface": Row(pydantic.IPvAnyInterface, "192.0.2.1/24", "nowhere"),
    "IPvAnyNetwork": Row(pydantic.IPvAnyNetwork, "192.0.2.0/24", "nowhere"),
    "Json": Row(pydantic.Json, "[1]", "[1", written=[1]),
    "JsonValue": Row(pydantic.JsonValue, {"a": [1, None, "x"]}, SAME),
    "PaymentCardNumber": Row(pydantic.PaymentCardNumber, "4242424242424242", "4242424242424243"),
    "SecretBytes": Row(pydantic.SecretBytes, "open", 5, written=MASK, takes_text=True),
    "SecretStr": Row(pydantic.SecretStr, "open", 5, written=MASK, takes_text=True),
    "StrictBool": Row(pydantic.StrictBool, True, "maybe"),
    "StrictBytes": Row(pydantic.StrictBytes, "AP8=", "?"),
    "StrictFloat": Row(pydantic.StrictFloat, 1.5, "much"),
    "StrictInt": Row(pydantic.StrictInt, 1, "one"),
    "StrictStr": Row(pydantic.StrictStr, "a", 5, takes_text=True),
    "BaseModel": Row(pydantic.BaseModel, {}, {"x": 1}, inside=("x",)),
    # those that are declared with something beside them
    "AfterValidator": Row(Annotated[int, pydantic.AfterValidator(lambda n: n)], 5, "five"),
    "AllowInfNan": Row(Annotated[float, pydantic.AllowInfNan(False)], 1.5, "much"),
    "BeforeValidator": Row(Annotated[int, pydantic.BeforeValidator(lambda n: n)], 5, "five"),
    "Field": Row(Annotated[int, pydantic.Field(gt=3)], 5, 3),
    "InstanceOf": Row(pydantic.InstanceOf[int], 5, "five"),
    "Json[list[int]]": Row(pydantic.Json[list[int]], "[1]", '["one"]', written=[1]),
    "PlainSerializer": Row(Annotated[int, pydantic.PlainSerializer(str, str)], 5, "five", written="5"),
    "OnErrorOmit": Row(Omitting, {"v": [1]}, {"v": 1}, inside=("v",)),
    "RootModel": Row(pydantic.RootModel[int], 5, "five"),
    "Secret": Row(pydantic.Secret[date], "2000-01-01", "soon", written=MASK),
    "SerializeAsAny": Row(pydantic.SerializeAsAny[Point], {"x": 1}, {"x": "one"}, inside=("x",)),
    "StringConstraints": Row(Annotated[str, pydantic.StringConstraints(to_upper=True, max_length=2)], "AB", "ABC"),
    "ValidateAs": Row(Annotated[date, pydantic.ValidateAs(str, date.fromisoformat)], "2000-01-01", "soon"),
    "conbytes": Row(pydantic.conbytes(min_length=1), "AP8=", ""),
    "condate": Row(pydantic.condate(gt=date(2000, 1, 1)), "2000-01-02", "2000-01-01"),
    "condecimal": Row(pydantic.condecimal(gt=1), "1.10", "1.00"),
    "confloat": Row(pydantic.confloat(gt=1), 1.5, 0.5),
    "confrozenset": Row(pydantic.confrozenset(int, min_length=1), [1], ["one"], inside=("0",)),
    "conint": Row(pydantic.conint(gt=1), 2, 1),
    "conlist": Row(pydantic.conlist(int, max_length=1), [1], [1, 2]),
    "conset": Row(pydantic.conset(int, max_length=1), [1], [1, 2]),
    "constr": Row(pydantic.constr(min_length=2), "ab", "a"),
}
if importlib.util.find_spec("email_validator"):
    ROWS["EmailStr"] = Row(pydantic.EmailStr, "a@example.com", "nobody")
    ROWS["NameEmail"] = Row(pydantic.NameEmail, "A <a@example.com>", "nobody")
NO_TYPES = {
    *("AliasChoices", "AliasPath", "FailFast", "MISSING", "SkipValidation", "Strict", "WithJsonSchema"),
    *("PydanticErrorCodes", "validate_email"),
}
"""Dataclasses and a sentinel that stand beside a type, a Literal and a function of pydantic's own."""


Rows = dict[str, Row]


@pytest.fixture(scope="module")
def rows() -> Iterator[Rows]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        yield {
            f"v{number}": dataclasses.replace(row, good=f"{folder}/s") if row.good is SAME else row
            for number, row in enumerate(ROWS.values())
        }


def annotated(function: Any, name: str, parameters: dict[str, Any], result: Any) -> Any:
    function.__annotations__ = {**parameters, "return": result}
    return action(triggers=WEB, name=name)(function)


def holders_of(tp: Any) -> tuple[Any, Any]:
    """Return a model and a dataclass with a member of the type."""
    plain = tp in (pydantic.StrictBytes, ROWS["conbytes"].tp)
    config = pydantic.ConfigDict(val_json_bytes="base64", ser_json_bytes="base64") if plain else None
    model = pydantic.create_model("Model", __config__=config, v=(tp, ...))
    return model, dataclasses.make_dataclass("Data", [("v", tp)])


@pytest.fixture(scope="module")
def placing(rows: Rows) -> Service:
    """A service with an action that takes all types in every place, and answers with the same."""
    types = {name: row.tp for name, row in rows.items()}
    data = dataclasses.make_dataclass("Data", types.items())
    models = dataclasses.make_dataclass("Models", [(name, holders_of(tp)[0]) for name, tp in types.items()])
    result = dataclasses.make_dataclass("Places", [("values", data), ("models", models), ("data", data)])

    def placed(models: Any, data: Any, values: dict[str, Any]) -> Any:
        given = {name: getattr(data, name) if value is None else value for name, value in values.items()}
        return result(data.__class__(**given), models, data)

    scope = {"placed": placed}
    listed = ", ".join(f"{name}=None" for name in types)
    collected = ", ".join(f"{name}={name}" for name in types)
    exec(f"def place(models, data, {listed}): return placed(models, data, dict({collected}))", scope)
    place = annotated(scope["place"], "place", {"models": models, "data": data, **types}, result)
    most = 100_000  # there are more fields than anybody should ask for
    return Service(
        [place],
        settings=Settings(max_fields=most, max_cost=most, graphql_max_tokens=most, graphql_max_values=most),
    )


def params_of(transport: Any, rows: Rows, values: dict[str, Any]) -> dict[str, Any]:
    # on a command line a bool has the flags --value and --no-value
    flags = [name for name in values if transport.name != "cli-flags" or type(rows[name].good) is not bool]
    models = {name: {"v": value} for name, value in values.items()}
    return {**{name: values[name] for name in flags}, "models": models, "data": values}


def written(row: Row) -> Any:
    return row.good if row.written is SAME else row.written


def test_a_good_value_of_any_type_comes_back_from_every_place(transport: Any, rows: Rows, placing: Service) -> None:
    good = {name: row.good for name, row in rows.items()}
    outcome = transport.call(placing, "place", params_of(transport, rows, good))
    expected = {name: written(row) for name, row in rows.items()}
    assert outcome.errors == ()
    assert outcome.result == {
        "values": expected,
        "models": {name: {"v": value} for name, value in expected.items()},
        "data": expected,
    }


def test_a_bad_value_of_any_type_is_refused_in_every_place(transport: Any, rows: Rows, placing: Service) -> None:
    good = {name: row.good for name, row in rows.items()}
    bad = {name: row.bad for name, row in rows.items() if row.bad is not SAME}
    expected: set[str] = set()
    for name in bad:
        inside = "".join(f"/{part}" for part in rows[name].inside)
        expected |= {f"/models/{name}/v{inside}", f"/data/{name}{inside}"}
        if not (transport.text and rows[name].takes_text) and type(rows[name].good) is not bool:
            expected.add(f"/{name}{inside}")
    told: set[str] = set()
    # a hundred problems are told at once; and GraphQL tells those of its own scalars first
    for _ in range(10):
        params = params_of(transport, rows, good)
        for path in expected - told:
            place, *inner = path.split("/")[1:]
            if place == "models":
                params["models"][inner[0]] = {"v": bad[inner[0]]}
            elif place == "data":
                params["data"] = {**params["data"], inner[0]: bad[inner[0]]}
            else:
                params[place] = bad[place]
        outcome = transport.call(placing, "place", params)
        if outcome.ok:
            break
        assert outcome.is_error(InvalidError)
        assert outcome.paths
        assert outcome.paths <= expected - told
        told |= outcome.paths
    assert told == expected


@pytest.mark.parametrize("name", [name for name in ROWS if name != "SocketPath"])
def test_a_result_of_any_type_is_written(name: str) -> None:
    row = ROWS[name]

    def give(value: Any) -> Any:
        return value

    service = Service([annotated(give, "give", {"value": row.tp}, row.tp)])
    for transport in (DirectJson(), DirectValues(), RestPost(), GraphQL(), CliEvent()):
        outcome = transport.call(service, "give", {"value": row.good})
        assert (outcome.errors, outcome.result) == ((), written(row)), transport.name


def public_names() -> list[str]:
    names = {*pydantic.__all__, *pydantic.types.__all__, *pydantic.networks.__all__}
    return sorted(names - ROWS.keys() - NO_TYPES)


def public(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        return next(getattr(module, name) for module in MODULES if hasattr(module, name))


MODULES = (pydantic, pydantic.types, pydantic.networks)


@pytest.mark.parametrize("place", ["argument", "result", "model", "dataclass"])
def test_whatever_else_is_public_is_refused_when_the_service_is_built(place: str) -> None:
    served: list[str] = []
    for name in public_names():
        tp = public(name)
        try:
            if place in ("model", "dataclass"):
                tp = holders_of(tp)[place == "dataclass"]
        except Exception:  # noqa: BLE001 - the class cannot even be made
            continue

        def take(value: Any = None) -> Any:
            return value

        parameters, result = ({}, tp) if place == "result" else ({"value": tp}, int)
        if place == "result":
            take = lambda: None  # noqa: E731
        try:
            Service([annotated(take, "take", parameters, result)])
        except DefinitionError:
            continue
        served.append(name)
    assert served == (["ImportString"] if place == "result" else [])
