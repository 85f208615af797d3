"""The service in FastAPI, on pydantic models instead of dataclasses: what most FastAPI services are written with."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict

from benchmarks.apps.models import USERS as DATACLASSES

app = FastAPI()


class Address(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    street: str
    city: str
    zip: str | None = None


class User(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    name: str
    age: int
    created: datetime
    tags: list[str]
    address: Address


class Parcel(BaseModel):
    id: int
    sender: str
    weight: float


USERS = [User.model_validate(user) for user in DATACLASSES]


@app.get("/hello")
async def hello(name: str) -> str:
    return f"Hello {name}!"


@app.get("/hello_sync")
def hello_sync(name: str) -> str:
    return f"Hello {name}!"


@app.get("/parcels/{id}")
async def parcel(id: int) -> Parcel:
    return Parcel(id=id, sender="Ada", weight=1.5)


@app.post("/echo")
async def echo(user: Annotated[User, Body(embed=True)]) -> User:
    return user


@app.get("/users")
async def users(n: int = 100) -> list[User]:
    return USERS[:n]
