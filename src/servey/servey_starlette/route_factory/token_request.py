"""The token request of OAuth 2.0 (RFC 6749 §4.3.2) and its errors (§5.2)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec
from starlette.requests import Request

from servey.errors import MalformedError
from servey.http.request import query_pairs
from servey.security.authorization import is_scope

MAX_BODY = 16 * 1024
"""The largest token request, in bytes."""

_FORM = "application/x-www-form-urlencoded"
_KNOWN = frozenset({"grant_type", "username", "password", "scope", "client_id", "client_secret"})
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Not allowed in names and passwords (RFC 6749 Appendix A.15, A.16)."""

TokenErrorCode = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unsupported_grant_type",
    # of RFC 6749 §4.1.2.1, because §5.2 has no codes for these
    "access_denied",
    "server_error",
    "temporarily_unavailable",
]


class TokenError(Exception):
    """The refusal of a token request.

    Args:
        error: The code of RFC 6749 §5.2.
        description: The problem, for the developer of the client: ASCII without quotes and backslashes.
        status: The HTTP status.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        error: TokenErrorCode,
        description: str,
        *,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.error = error
        self.description = re.sub(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]", "'", description)
        self.status = status
        self.headers = dict(headers or {})
        super().__init__(f"{error}: {self.description}")


class TokenRequest(msgspec.Struct, frozen=True):
    """A well-formed request for a token, with the scopes of the token; None for all the scopes of the user."""

    username: str
    password: str
    scopes: frozenset[str] | None

    def __repr__(self) -> str:
        return f"TokenRequest(scopes={self.scopes!r})"  # a user may type the password as the name


async def read_token_request(request: Request, origins: Collection[str] = ()) -> TokenRequest:
    """Read and check a token request; pages of the other sites in `origins` (``*`` for all) may send it, too."""
    if request.method != "POST":
        raise TokenError("invalid_request", "log in by POST", status=405, headers={"Allow": "POST"})
    if _is_of_another_site(request) and not {"*", request.headers.get("origin", "")} & set(origins):
        raise TokenError("access_denied", "a page of another site may not log in a user", status=403)
    if _names(request.scope["query_string"]) & _KNOWN:
        raise TokenError("invalid_request", "send the parameters in the body: URLs are logged")
    _check_content_type(request)
    has_secret = _check_client(request.headers.getlist("authorization"))
    form = _form(await _body(request))
    if has_secret and "client_secret" in form:
        raise TokenError("invalid_request", "the client is authenticated in two ways")
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise TokenError("invalid_request", "grant_type is missing")
    if grant_type != "password":
        raise TokenError("unsupported_grant_type", "the only grant_type here is password")
    for name in ("username", "password"):
        if name not in form:
            raise TokenError("invalid_request", f"{name} is missing")
        if _CONTROL.search(form[name]):
            raise TokenError("invalid_request", f"{name} has control characters")
    scopes = frozenset(form["scope"].split(" ")) if "scope" in form else None
    if scopes is not None and not all(map(is_scope, scopes)):
        raise TokenError("invalid_scope", "scope is a list of names with one space between them")
    return TokenRequest(form["username"], form["password"], scopes)


def _is_of_another_site(request: Request) -> bool:
    """Return whether a page of another site sends the request.

    Browsers send forms of other sites without a preflight. Such pages could try passwords from the addresses of their
    visitors.
    """
    site = request.headers.get("sec-fetch-site")  # W3C Fetch Metadata; browsers send it over TLS and to this machine
    if site is not None:
        return site == "cross-site"
    origin = request.headers.get("origin")
    # without the scheme, which is unknown behind a proxy that ends TLS
    return origin is not None and origin.partition("://")[2] != request.headers.get("host", "").lower()


def _names(query: bytes) -> set[str]:
    try:
        return {name for name, _ in query_pairs(query, MAX_BODY)}
    except Exception as error:
        raise TokenError("invalid_request", "the query string cannot be read") from error


def _check_content_type(request: Request) -> None:
    essence, *parameters = [part.strip() for part in request.headers.get("content-type", "").lower().split(";")]
    charsets = {part.partition("=")[2].strip(' "') for part in parameters if part.startswith("charset")}
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if essence != _FORM or charsets - {"utf-8", "utf8"} or encoding != "identity":
        raise TokenError("invalid_request", f"send {_FORM} in UTF-8")


def _check_client(given: list[str]) -> bool:
    """Return whether the client authenticates by the header (RFC 6749 §2.3.1); all clients are accepted."""
    if len(given) > 1:
        raise TokenError("invalid_request", "there is more than one Authorization header")
    scheme, _, credentials = given[0].strip().partition(" ") if given else ("", "", "")
    if scheme.lower() != "basic":
        return False
    try:
        identifier, colon, _ = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        identifier = colon = ""
    if not colon:
        raise TokenError(
            "invalid_client",
            "the Authorization header is not Basic authentication",
            status=401,
            headers={"WWW-Authenticate": 'Basic realm="login", charset="UTF-8"'},
        )
    return bool(identifier)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TokenError("invalid_request", f"the body is larger than {MAX_BODY} bytes", status=413)
    return bytes(body)


def _form(body: bytes) -> dict[str, str]:
    """Return the known parameters with a value, each at most once (RFC 6749 §3.2).

    Other parameters are ignored and may be repeated, like ``resource`` (RFC 8707 §2).
    """
    try:
        pairs = query_pairs(body, MAX_BODY)
    except MalformedError as error:
        raise TokenError("invalid_request", f"the body is not {_FORM} in UTF-8") from error
    form: dict[str, str] = {}
    for name, value in pairs:
        if not value or name not in _KNOWN:
            continue
        if name in form:
            raise TokenError("invalid_request", f"there is more than one {name}")
        form[name] = value
    return form
