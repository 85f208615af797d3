"""The service in FastAPI, on the same dataclasses."""

from typing import Annotated

from fastapi import Body, FastAPI

from benchmarks.apps.models import USERS, Parcel, User

app = FastAPI()


@app.get("/hello")
async def hello(name: str) -> str:
    return f"Hello {name}!"


@app.get("/hello_sync")
def hello_sync(name: str) -> str:
    return f"Hello {name}!"


@app.get("/parcels/{id}")
async def parcel(id: int) -> Parcel:
    return Parcel(id, "Ada", 1.5)


@app.post("/echo")
async def echo(user: Annotated[User, Body(embed=True)]) -> User:
    return user


@app.get("/users")
async def users(n: int = 100) -> list[User]:
    return USERS[:n]
