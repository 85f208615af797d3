"""The service in FastAPI, on the same dataclasses."""

from typing import Annotated, Any

import jwt
from fastapi import Body, FastAPI, HTTPException, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes

from benchmarks.apps.models import SCOPE, SECRET, USERS, Parcel, User

app = FastAPI()
bearer = OAuth2PasswordBearer(tokenUrl="login", scopes={SCOPE: "Greet"})


async def caller(scopes: SecurityScopes, token: Annotated[str, Security(bearer)]) -> dict[str, Any]:
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["sub", "exp"]})
    except jwt.InvalidTokenError:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from None
    if not set(scopes.scopes) <= set(claims.get("scope", "").split()):
        raise HTTPException(403)
    return claims


@app.get("/hello")
async def hello(name: str) -> str:
    return f"Hello {name}!"


@app.get("/authorized")
async def authorized(name: str, caller: Annotated[dict[str, Any], Security(caller, scopes=[SCOPE])]) -> str:
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
