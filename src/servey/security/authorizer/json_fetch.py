"""Fetching a small JSON document of another host, by the standard library: the base install has no HTTP client."""

from __future__ import annotations

import json
import re
import time
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from servey.settings import is_trusted_url

MAX_BYTES = 512 * 1024


class FetchError(Exception):
    """A document cannot be had; the message says why."""


class Document(NamedTuple):
    """A JSON object, and for how many seconds its host says that it stays as it is (RFC 9111 §5.2.2.1)."""

    members: dict[str, Any]
    max_age: int | None


class _SameOrigin(HTTPRedirectHandler):
    max_redirections = 3

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            raise FetchError(f"it redirects to {after.scheme}://{after.netloc}, and only {before.netloc} is trusted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_json(url: str, timeout: float) -> Document:
    """Return the JSON object at a URL. Blocks; call it in a thread.

    Args:
        url: By https, or http to this machine.
        timeout: Seconds for each step, and for the whole.

    Raises:
        FetchError: It cannot be had, is too large, or is none.
    """
    if not is_trusted_url(url):
        raise FetchError(f"{url!r} is no https:// URL")
    opener: OpenerDirector = build_opener(_SameOrigin, *([ProxyHandler({})] if url.startswith("http:") else []))
    request = Request(url, headers={"Accept": "application/json, application/jwk-set+json", "User-Agent": "servey"})
    end = time.monotonic() + timeout
    body = b""
    try:
        with opener.open(request, timeout=timeout) as response:
            while chunk := response.read1(65536):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise FetchError(f"it is larger than {MAX_BYTES} bytes")
                if time.monotonic() > end:
                    raise FetchError(f"it has not come in {timeout:g} s")
            cache_control: str = response.headers.get("Cache-Control", "")
        members = json.loads(body)
    except (URLError, HTTPException, OSError) as error:
        raise FetchError(str(getattr(error, "reason", "") or error) or type(error).__name__) from error
    except (ValueError, RecursionError) as error:
        raise FetchError("it is no JSON") from error
    if not isinstance(members, dict):
        raise FetchError("it is no JSON object")
    max_age = re.search(r"(?:^|[\s,])max-age=\"?(\d{1,9})", cache_control, re.IGNORECASE)
    return Document(members, int(max_age[1]) if max_age else None)  # pyright: ignore[reportUnknownArgumentType]
