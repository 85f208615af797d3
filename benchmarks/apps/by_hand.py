"""The checks of the two apps whose framework has none, written out by hand."""

from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import jwt
import orjson

from benchmarks.apps.models import SCOPE, SECRET, Address, User

OPTIONS = orjson.OPT_UTC_Z
USER_KEYS = {"id", "name", "age", "created", "tags", "address"}
ADDRESS_KEYS = {"street", "city", "zip"}


class Refused(Exception):
    """What the caller sent is wrong; `problems` says where."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems


class NotAllowed(Exception):
    """The caller is not let in; `status` says why."""

    def __init__(self, status: int) -> None:
        self.status = status


def authorize(header: str) -> None:
    """Let in whose token is good and has the scope."""
    scheme, _, token = header.partition(" ")
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["sub", "exp"]})
    except jwt.InvalidTokenError:
        raise NotAllowed(401) from None
    if scheme.lower() != "bearer":
        raise NotAllowed(401)
    if SCOPE not in claims.get("scope", "").split():
        raise NotAllowed(403)


def encode(value: Any) -> bytes:
    return orjson.dumps(value, option=OPTIONS)


def query(query_string: bytes) -> dict[str, str]:
    text = query_string.decode("latin-1")
    if "%" in text or "+" in text:
        return dict(parse_qsl(text, keep_blank_values=True))
    return dict(pair.split("=", 1) for pair in text.split("&") if "=" in pair)


def text(values: dict[str, str], name: str) -> str:
    if (value := values.get(name)) is None:
        raise Refused(name)
    return value


def integer(value: str | None, name: str) -> int:
    try:
        return int(value or "")
    except ValueError:
        raise Refused(name) from None


def user(body: bytes) -> User:
    """Decode and check the user of ``{"user": {…}}``, telling every problem."""
    try:
        data = orjson.loads(body)["user"]
        if data.keys() - USER_KEYS or data["address"].keys() - ADDRESS_KEYS:
            raise Refused("unknown")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Refused("body") from None
    problems: list[str] = []
    try:
        id = UUID(data["id"])
    except (KeyError, ValueError, AttributeError):
        problems.append("id")
    try:
        created = datetime.fromisoformat(data["created"])
    except (KeyError, ValueError, TypeError):
        problems.append("created")
    if type(name := data.get("name")) is not str:
        problems.append("name")
    if type(age := data.get("age")) is not int:
        problems.append("age")
    if type(tags := data.get("tags")) is not list or not all(type(tag) is str for tag in tags):
        problems.append("tags")
    address = data["address"]
    if type(street := address.get("street")) is not str:
        problems.append("address.street")
    if type(city := address.get("city")) is not str:
        problems.append("address.city")
    if type(zip := address.get("zip")) is not str and zip is not None:
        problems.append("address.zip")
    if problems:
        raise Refused(*problems)
    return User(id, name, age, created, tags, Address(street, city, zip))
