"""Keys that issuers publish, by a real HTTP server: rotation, outages, floods, discovery."""

import asyncio
import gc
import json
import logging
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

from servey import WEB_GET, Authorization, OverloadedError, ScopeAccessControl, UnauthorizedError
from servey.action.action import action
from servey.action.context import CallContext, Origin
from servey.errors import SettingsError
from servey.security.authorizer.json_fetch import MAX_BYTES, FetchError, fetch_json
from servey.security.authorizer.jwt_authorizer import JwtAuthorizer
from servey.security.authorizer.published_keys import PublishedKeys, keys_of
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0
SECRET = "a secret for tests of 32 bytes or more"
ISSUER = "https://issuer.example"
ALGORITHMS = get_default_algorithms()


class Publisher:
    """A server that publishes what it is told: a JSON value, bytes, or a function of the handler for each path."""

    def __init__(self):
        self.pages = {}
        self.asked = []
        self.headers = {}
        self.port = 0
        self.tls = None
        self.gate = threading.Event()
        self.gate.set()
        self._server = None
        self.start()

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def speak_tls(self, folder, monkeypatch):
        """Have the next start speak TLS, with a certificate that is trusted from now on."""
        key, certificate, now = KEYS["one"], folder / "server.pem", datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "publisher")])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        signed = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(alternative, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        certificate.write_text(private_pem(key) + signed.public_bytes(Encoding.PEM).decode())
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    def start(self):
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                publisher.asked.append(self.path)
                assert publisher.gate.wait(BOUND)
                page = publisher.pages.get(self.path)
                if callable(page):
                    page(self)
                    return
                body = page if isinstance(page, bytes) else json.dumps(page).encode()
                self.send_response(404 if page is None else 200)
                for name, value in publisher.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.handle_error = lambda *_: None
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(BOUND)
            self._server = None


@pytest.fixture
def publisher():
    running = Publisher()
    yield running
    running.gate.set()
    running.stop()


KEYS = {kid: ec.generate_private_key(ec.SECP256R1()) for kid in ("one", "two", "three")}


def jwk(key, kid="one", algorithm="ES256", **members):
    return {**ALGORITHMS[algorithm].to_jwk(key.public_key(), as_dict=True), "kid": kid, **members}


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwks(*kids, **members):
    return {"keys": [jwk(KEYS[kid], kid, **members) for kid in kids]}


def token(kid="one", key=None, algorithm="ES256", **claims):
    claims = {"sub": "me", "iss": ISSUER, "exp": int(time.time()) + 600, **claims}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key or KEYS[kid], algorithm, headers={} if kid is None else {"kid": kid})


def authorizer(publisher, issuer=ISSUER, **options):
    options = {"timeout": 2.0, "pause": 0.0, **options}
    return JwtAuthorizer(PublishedKeys(f"{publisher.url}/keys", **options), issuer=issuer, origin="a test's")


async def until(condition):
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads
            await asyncio.sleep(0.005)


async def subject(by, given):
    return (await by.authorize(given)).subject


def test_keys_are_fetched_when_the_service_runs_and_once(publisher):
    publisher.pages["/keys"] = jwks("one", "two")
    by = authorizer(publisher)

    async def main():
        async with by.keys.running():
            await until(lambda: by.keys.ring)
            for _ in range(10):
                assert [await subject(by, token(kid)) for kid in ("one", "two")] == ["me", "me"]

    asyncio.run(main())
    assert publisher.asked == ["/keys"]


def test_without_a_running_service_the_first_token_fetches_them(publisher):
    publisher.pages["/keys"] = jwks("one")
    by = authorizer(publisher)
    assert asyncio.run(subject(by, token())) == "me"
    assert asyncio.run(subject(by, token())) == "me", "in another event loop"
    assert publisher.asked == ["/keys"]


def test_a_rotation_is_followed_by_the_first_token_and_forgets_the_old_key(publisher):
    publisher.pages["/keys"] = jwks("one")
    by = authorizer(publisher)

    async def main():
        async with by.keys.running():
            old, new = token("one"), token("two")
            assert await subject(by, old) == "me"
            assert by.verified(old) is not None
            publisher.pages["/keys"] = jwks("one", "two")
            assert await subject(by, new) == "me"
            assert await subject(by, old) == "me"
            publisher.pages["/keys"] = jwks("two")
            with pytest.raises(UnauthorizedError, match="no key for the token"):
                await by.authorize(token("three"))
            assert by.verified(old) is None
            with pytest.raises(UnauthorizedError, match="no key for the token"):
                await by.authorize(old)
            assert await subject(by, new) == "me"

    asyncio.run(main())


def test_the_same_keys_again_keep_what_is_remembered(publisher):
    publisher.pages["/keys"] = jwks("one", "two")
    by = authorizer(publisher)

    async def main():
        given = token()
        await by.authorize(given)
        publisher.pages["/keys"] = {"keys": jwks("one", "two")["keys"][::-1]}
        with pytest.raises(UnauthorizedError):
            await by.authorize(token("three"))
        assert by.verified(given) is not None

    asyncio.run(main())
    assert len(publisher.asked) == 2


def test_a_flood_of_unknown_keys_fetches_once_for_all(publisher):
    publisher.pages["/keys"] = jwks("one")
    by = authorizer(publisher, pause=1000.0)

    async def flood():
        forged = [
            jwt.encode({"iss": ISSUER, "exp": 2**33}, KEYS["two"], "ES256", headers={"kid": f"x{n}"})
            for n in range(300)
        ]
        results = await asyncio.gather(*map(by.authorize, forged), return_exceptions=True)
        assert {type(item).__mro__[1] for item in results} == {UnauthorizedError}
        assert await subject(by, token()) == "me"

    async def main():
        async with by.keys.running():
            await until(lambda: by.keys.ring)
            await flood()
            await flood()

    asyncio.run(main())
    assert publisher.asked == ["/keys", "/keys"], "at the start, and for the first of the unknown ones"


def test_tokens_of_another_issuer_or_of_none_fetch_nothing(publisher):
    publisher.pages["/keys"] = jwks("one")
    by = authorizer(publisher)

    async def main():
        for given in (token("two", iss="https://evil.example"), "x.y.z", token("one", iss=None)[:-4]):
            with pytest.raises(UnauthorizedError):
                await by.authorize(given)

    asyncio.run(main())
    assert publisher.asked == []


def test_several_threads_and_loops_share_one_fetch(publisher):
    publisher.pages["/keys"] = jwks("one")
    publisher.gate.clear()
    by = authorizer(publisher)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(asyncio.run, subject(by, token())) for _ in range(8)]
        end = time.monotonic() + BOUND
        while not publisher.asked:
            assert time.monotonic() < end
        publisher.gate.set()
        assert [answer.result(BOUND) for answer in answers] == ["me"] * 8
    assert publisher.asked == ["/keys"]


def test_a_caller_that_goes_away_takes_the_fetch_from_nobody(publisher):
    publisher.pages["/keys"] = jwks("one")
    publisher.gate.clear()
    by = authorizer(publisher)

    async def main():
        first, second = (asyncio.create_task(subject(by, token())) for _ in range(2))
        await until(lambda: publisher.asked)
        first.cancel()
        await asyncio.wait([first])
        publisher.gate.set()
        assert await second == "me"

    asyncio.run(main())
    assert publisher.asked == ["/keys"]


def test_no_keys_yet_is_503_and_not_401(publisher):
    url = publisher.url
    publisher.stop()

    @action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
    async def guarded() -> str:
        return "in"

    service = Service([guarded], settings=Settings(jwks_urls=(f"{url}/keys",), jwks_issuers=(ISSUER,)))

    async def main():
        async with service.running():
            client = Client(create_app(service))
            headers = [("authorization", f"Bearer {token(scope='root')}")]
            response = await client.request("GET", "/actions/guarded", headers=headers)
            assert (response.status, response.json()["code"]) == (503, "overloaded")
            assert int(response.headers["retry-after"]) >= 1
            headers = [("authorization", "Bearer x.y.z")]
            assert (await client.request("GET", "/actions/guarded", headers=headers)).status == 401
            assert (await client.request("GET", "/actions/guarded")).status == 401
            publisher.start()
            publisher.pages["/keys"] = jwks("one")
            headers = [("authorization", f"Bearer {token(scope='root')}")]
            (authorizer,) = service.authentication.authorizers
            await until(lambda: authorizer.keys.ring.keys if authorizer.keys._ring else False)
            assert (await client.request("GET", "/actions/guarded", headers=headers)).json() == "in"

    asyncio.run(main())


def test_an_outage_under_load_keeps_the_known_keys_and_is_logged_once(publisher, caplog):
    caplog.set_level(logging.INFO)
    publisher.pages["/keys"] = jwks("one")
    by = authorizer(publisher, interval=0.02)

    async def main():
        served = 0
        over = asyncio.Event()

        async def load():
            nonlocal served
            while not over.is_set():
                assert await subject(by, token(jti=str(served))) == "me"
                served += 1
                await asyncio.sleep(0)

        async with by.keys.running():
            await until(lambda: by.keys.ring)
            callers = [asyncio.create_task(load()) for _ in range(4)]
            await until(lambda: len(publisher.asked) > 3)
            await asyncio.to_thread(publisher.stop)
            await until(lambda: by.keys._failures > 2)
            before = served
            await until(lambda: served > before + 20)
            publisher.pages["/keys"] = jwks("one", "two")
            publisher.start()
            await until(lambda: by.keys._failures == 0)
            assert await subject(by, token("two")) == "me"
            over.set()
            await asyncio.gather(*callers)

    asyncio.run(main())
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "servey.security"]
    assert [level for level, _ in told] == ["WARNING", "INFO"]
    assert "the known keys stay valid" in told[0][1]


@pytest.mark.parametrize(("header", "seconds"), [("", 300), ("max-age=600", 600), ("public, max-age=1", 60)])
def test_the_publisher_says_within_bounds_how_long_keys_stay(publisher, header, seconds):
    publisher.pages["/keys"] = jwks("one")
    publisher.headers = {"Cache-Control": header} if header else {}
    by = authorizer(publisher)
    asyncio.run(subject(by, token()))
    assert by.keys._due - time.monotonic() == pytest.approx(seconds, abs=30)
    publisher.headers = {"Cache-Control": "max-age=99999999"}
    with pytest.raises(UnauthorizedError):
        asyncio.run(subject(by, token("two")))
    assert by.keys._due - time.monotonic() == pytest.approx(3600, abs=30)


# --- what is published ----------------------------------------------------------------------------------------------


RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()

PASSED_OVER = {
    "a secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"},
    "for encryption": jwk(KEYS["one"], use="enc"),
    "only for signing": jwk(KEYS["one"], key_ops=["sign"]),
    "of another algorithm": jwk(KEYS["one"], alg="ES384"),
    "of a family that it is not": jwk(KEYS["one"], alg="HS256"),
    "alg none": jwk(KEYS["one"], alg="none"),
    "a private one": {**ALGORITHMS["ES256"].to_jwk(KEYS["one"], as_dict=True), "kid": "one"},
    "a weak one": jwk(rsa.generate_private_key(65537, 1024), algorithm="RS256"),
    "one of a curve that is not served": jwk(ec.generate_private_key(ec.SECP256K1()), algorithm="ES256K"),
    "without what makes it one": {"kty": "EC", "crv": "P-256", "kid": "one"},
    "off its curve": {**jwk(KEYS["one"]), "x": jwk(KEYS["two"])["x"]},
    "of numbers": {"kty": "RSA", "n": 1, "e": 2, "kid": "one"},
    "kid a number": jwk(KEYS["one"], kid=1),
    "no kty": {"kid": "one"},
    "kty a list": {"kty": ["EC"], "kid": "one"},
    "no object": "key",
    "key_ops a number": jwk(KEYS["one"], key_ops=1),
}


@pytest.mark.parametrize("what", PASSED_OVER)
def test_a_key_that_is_none_for_tokens_is_passed_over(what):
    assert [key.kid for key in keys_of({"keys": [PASSED_OVER[what], jwk(KEYS["two"], "two")]})] == ["two"]


def test_a_key_is_for_the_algorithm_that_its_publisher_says(publisher):
    publisher.pages["/keys"] = {
        "keys": [jwk(RSA, "rs", "RS256"), jwk(RSA, "ps", "RS256", alg="PS512"), jwk(ED, "ed", "EdDSA", alg="Ed25519")]
    }
    by = authorizer(publisher)
    for kid, key, algorithm in (("rs", RSA, "RS256"), ("ps", RSA, "PS512"), ("ed", ED, "EdDSA")):
        assert asyncio.run(subject(by, token(kid, key, algorithm))) == "me"
    for kid, algorithm in (("rs", "PS512"), ("ps", "RS256"), ("rs", "RS512")):
        with pytest.raises(UnauthorizedError):
            asyncio.run(subject(by, token(kid, RSA, algorithm)))


def test_a_token_without_a_kid_is_tried_on_all_keys_of_its_algorithm(publisher):
    publisher.pages["/keys"] = jwks("one", "two")
    by = authorizer(publisher)
    assert asyncio.run(subject(by, token(None, KEYS["two"]))) == "me"
    publisher.pages["/keys"] = jwks("three")
    assert asyncio.run(subject(by, token(None, KEYS["three"]))) == "me"


def test_a_key_without_a_kid_verifies_whatever_kid_is_said(publisher):
    publisher.pages["/keys"] = {"keys": [{k: v for k, v in jwk(KEYS["one"]).items() if k != "kid"}]}
    assert asyncio.run(subject(authorizer(publisher), token("one"))) == "me"


def redirects_to(url):
    def page(handler):
        handler.send_response(302)
        handler.send_header("Location", url)
        handler.end_headers()

    return page


BAD_PAGES = {
    "not found": None,
    "no JSON": b"<html>",
    "no UTF-8": b"\xff\xfe\xfd",
    "a list": [],
    "no keys": {},
    "keys that are no list": {"keys": {}},
    "too many keys": {"keys": [jwk(KEYS["one"])] * 101},
    "too large": b" " * (MAX_BYTES + 1),
    "too deep": b"[" * 200_000,
    "a redirect to another host": redirects_to("http://localhost:1/keys"),
    "a redirect to a file": redirects_to("file:///etc/passwd"),
    "a redirect to itself": redirects_to("/keys"),
}


@pytest.mark.parametrize("what", BAD_PAGES)
def test_what_is_no_key_set_changes_nothing(publisher, what):
    publisher.pages["/keys"] = BAD_PAGES[what]
    by = authorizer(publisher)
    with pytest.raises(OverloadedError):
        asyncio.run(subject(by, token()))
    publisher.pages["/keys"] = jwks("one")
    assert asyncio.run(subject(by, token())) == "me"
    publisher.pages["/keys"] = BAD_PAGES[what]
    with pytest.raises(UnauthorizedError):
        asyncio.run(subject(by, token("two")))
    assert asyncio.run(subject(by, token())) == "me"


def test_a_redirect_within_the_host_is_followed(publisher):
    publisher.pages |= {"/keys": redirects_to("/elsewhere"), "/elsewhere": jwks("one")}
    assert asyncio.run(subject(authorizer(publisher), token())) == "me"


def test_a_redirect_to_another_host_is_not_followed(publisher):
    other = Publisher()
    try:
        other.pages["/keys"] = jwks("one")
        publisher.pages["/keys"] = redirects_to(f"{other.url}/keys")
        with pytest.raises(OverloadedError):
            asyncio.run(subject(authorizer(publisher), token()))
    finally:
        other.stop()
    assert (publisher.asked, other.asked) == (["/keys"], [])


def test_an_empty_key_set_takes_all_keys_away(publisher):
    publisher.pages["/keys"] = jwks("one")
    by = authorizer(publisher)
    assert asyncio.run(subject(by, token())) == "me"
    publisher.pages["/keys"] = {"keys": []}
    with pytest.raises(UnauthorizedError):
        asyncio.run(subject(by, token("two")))
    with pytest.raises(UnauthorizedError):
        asyncio.run(subject(by, token()))


@pytest.mark.parametrize("url", ["http://example.com/keys", "file:///etc/passwd", "ftp://127.0.0.1/keys", "keys"])
def test_nothing_is_fetched_from_where_keys_cannot_be_trusted(url):
    with pytest.raises(FetchError, match="not an https"):
        fetch_json(url, 1.0)


OK = b"HTTP/1.1 200 OK\r\n"
NEVER_ENDING = {
    "a body": (OK + b"\r\n", b" "),
    "a header field": (OK + b"X-Name: ", b"x"),
    "a status line": (b"HTTP/1.1 200 ", b"x"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the extension of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X: y\r\n"),
}


def dripping(begin, drop, over):
    def page(handler):
        try:
            handler.wfile.write(begin)
            while not over.wait(0.02):
                handler.wfile.write(drop)
        except OSError:
            return

    return page


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("what", NEVER_ENDING)
def test_a_publisher_that_never_ends_is_given_up(publisher, what, tls, tmp_path, monkeypatch):
    over = threading.Event()
    if tls:
        publisher.stop()
        publisher.speak_tls(tmp_path, monkeypatch)
        publisher.start()
    publisher.pages["/keys"] = dripping(*NEVER_ENDING[what], over)
    failed = []

    def fetch():
        try:
            fetch_json(f"{publisher.url}/keys", 0.4)
        except FetchError as error:
            failed.append(str(error))

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    thread.join(BOUND / 4)
    over.set()
    thread.join(BOUND)
    assert failed == ["it has not come in 0.4 s"]


def test_redirects_have_the_time_of_one_fetch(publisher):
    over = threading.Event()
    publisher.pages |= {"/keys": redirects_to("/next"), "/next": dripping(OK + b"X: ", b"x", over)}
    with pytest.raises(FetchError, match="has not come in"):
        fetch_json(f"{publisher.url}/keys", 0.2)
    over.set()


def test_a_key_set_is_fetched_by_tls(publisher, tmp_path, monkeypatch):
    publisher.stop()
    publisher.speak_tls(tmp_path, monkeypatch)
    publisher.start()
    publisher.pages["/keys"] = jwks("one")
    assert asyncio.run(subject(authorizer(publisher), token())) == "me"
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_json(f"{publisher.url}/keys", 2.0)


def test_callers_that_went_away_leave_nothing_at_a_fetch(publisher):
    publisher.pages["/keys"] = jwks("one")
    publisher.gate.clear()
    by = authorizer(publisher, timeout=BOUND)

    def futures():
        gc.collect()
        return sum(isinstance(item, asyncio.Future) for item in gc.get_objects())

    async def main():
        last = asyncio.create_task(subject(by, token()))
        await until(lambda: publisher.asked)
        before = futures()
        callers = [asyncio.create_task(subject(by, token())) for _ in range(200)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        del callers, caller
        assert futures() - before < 20
        publisher.gate.set()
        assert await last == "me"

    asyncio.run(main())


# --- issuers --------------------------------------------------------------------------------------------------------

DISCOVERY = "/.well-known/openid-configuration"


def discovering(publisher, issuer=None):
    issuer = issuer or publisher.url
    return JwtAuthorizer(PublishedKeys(issuer=issuer, pause=0.0, timeout=2.0), issuer=issuer)


@pytest.mark.parametrize("path", ["", "/", "/realms/shop", "/tenant/"])
def test_an_issuer_of_openid_connect_says_where_its_keys_are(publisher, path):
    issuer = publisher.url + path
    publisher.pages[path.rstrip("/") + DISCOVERY] = {"issuer": issuer, "jwks_uri": f"{publisher.url}/jwks"}
    publisher.pages["/jwks"] = jwks("one")
    by = discovering(publisher, issuer)
    assert asyncio.run(subject(by, token(iss=issuer))) == "me"
    with pytest.raises(UnauthorizedError, match="issuer"):
        asyncio.run(subject(by, token(iss=issuer + "x")))


@pytest.mark.parametrize(
    "members",
    [
        {"issuer": "https://other.example"},
        {"issuer": "{url}/"},
        {},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": 1},
        {"issuer": "{url}", "jwks_uri": "http://example.com/keys"},
        {"issuer": "{url}", "jwks_uri": "file:///etc/passwd"},
    ],
)
def test_a_discovery_of_another_issuer_or_without_keys_is_not_believed(publisher, members, caplog):
    said = {"jwks_uri": "{url}/jwks"} if members.get("issuer") != "{url}" else {}
    publisher.pages[DISCOVERY] = {
        name: value.replace("{url}", publisher.url) if isinstance(value, str) else value
        for name, value in {**said, **members}.items()
    }
    publisher.pages["/jwks"] = jwks("one")
    with pytest.raises(OverloadedError):
        asyncio.run(subject(discovering(publisher), token(iss=publisher.url)))
    assert "/jwks" not in publisher.asked
    assert "cannot be fetched" in caplog.text


def test_two_issuers_with_the_same_subject_are_two(publisher):
    publisher.pages |= {"/a": jwks("one"), "/b": {"keys": [jwk(KEYS["two"], "one")]}}
    settings = Settings(
        jwks_urls=(f"{publisher.url}/a", f"{publisher.url}/b"), jwks_issuers=("https://a.example", "https://b.example")
    )

    @action(triggers=(WEB_GET,))
    async def who(authorization: Authorization) -> list[str]:
        return [str(authorization.issuer), authorization.identity.hex()]

    service = Service([who], settings=settings)

    async def ask(given):
        headers = [("authorization", f"Bearer {given}")]
        return await Client(create_app(service)).request("GET", "/actions/who", headers=headers)

    async def main():
        async with service.running():
            first = await ask(token("one", iss="https://a.example"))
            second = await ask(token("one", KEYS["two"], iss="https://b.example"))
            assert [first.json()[0], second.json()[0]] == ["https://a.example", "https://b.example"]
            assert first.json()[1] != second.json()[1]
            for given in (
                token("one", iss="https://b.example"),
                token("one", KEYS["two"], iss="https://a.example"),
                token("one", iss=None),
            ):
                assert (await ask(given)).status == 401

    asyncio.run(main())


@pytest.mark.parametrize("own", ["JWT_SECRET_KEY", "SERVEY_JWT_PRIVATE_KEY", "SERVEY_JWT_PUBLIC_KEY"])
def test_keys_without_an_issuer_speak_for_nobody_of_another(publisher, own):
    kid, key, algorithm, value = {
        "JWT_SECRET_KEY": (None, SECRET, "HS256", SECRET),
        "SERVEY_JWT_PRIVATE_KEY": (None, KEYS["two"], "ES256", private_pem(KEYS["two"])),
        "SERVEY_JWT_PUBLIC_KEY": (None, KEYS["two"], "ES256", public_pem(KEYS["two"])),
    }[own]
    publisher.pages |= {
        DISCOVERY: {"issuer": publisher.url, "jwks_uri": f"{publisher.url}/keys"},
        "/keys": jwks("one"),
    }
    others = {
        "SERVEY_OIDC_ISSUER": publisher.url,
        "SERVEY_JWKS_URL": f"{publisher.url}/keys",
        "SERVEY_JWKS_ISSUER": ISSUER,
    }
    service = Service(settings=Settings.from_environment({own: value, **others}))
    call = CallContext(Origin.NETWORK, "rest", "r1")

    async def main():
        for issuer in (publisher.url, ISSUER):
            assert (await service.authenticate(token(iss=issuer), call, None)).issuer == issuer
            with pytest.raises(UnauthorizedError):
                await service.authenticate(token(kid, key, algorithm, iss=issuer), call, None)
        for issuer in ("https://elsewhere.example", None):
            own_token = token(kid, key, algorithm, iss=issuer)
            assert (await service.authenticate(own_token, call, None)).issuer == issuer
        listed = jwt.PyJWS().encode(json.dumps({"iss": [ISSUER], "exp": 2**33}).encode(), key, algorithm)
        with pytest.raises(UnauthorizedError, match="iss is not a text"):
            await service.authenticate(listed, call, None)

    asyncio.run(main())


@pytest.mark.parametrize(
    "beside",
    [
        {"jwt_secret_key": SECRET},
        {"jwt_private_key": "-----BEGIN"},
        {"jwt_public_key": "-----BEGIN"},
        {"oidc_issuers": ("https://b.example",)},
        {"jwks_urls": ("https://a.example/keys", "https://b.example/keys")},
    ],
)
def test_an_issuer_is_needed_where_published_keys_are_not_the_only_ones(beside):
    with pytest.raises(SettingsError, match="SERVEY_JWKS_ISSUER is not set"):
        Settings(**{"jwks_urls": ("https://a.example/keys",), **beside})
    assert not Settings(jwks_urls=("https://a.example/keys",)).with_generated_secrets().tokens.jwt_secret_key


def test_without_an_issuer_any_is_taken_and_the_start_says_so(publisher, caplog):
    publisher.pages["/keys"] = jwks("one")
    service = Service(settings=Settings(jwks_urls=(f"{publisher.url}/keys",)))
    create_app(service)
    assert "SERVEY_JWKS_ISSUER is not set" in caplog.text
    assert (
        asyncio.run(service.authentication.authorizers[0].authorize(token(iss="https://whoever.example"))).subject
        == "me"
    )


def test_a_service_stops_though_its_publisher_hangs(publisher):
    publisher.gate.clear()
    by = authorizer(publisher, timeout=BOUND)

    async def main():
        async with by.keys.running():
            await until(lambda: publisher.asked)

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < BOUND, "the time that an answer may take"


def test_an_issuer_may_move_its_keys_elsewhere(publisher):
    publisher.pages[DISCOVERY] = {"issuer": publisher.url, "jwks_uri": f"{publisher.url}/old"}
    publisher.pages |= {"/old": jwks("one"), "/new": jwks("two")}
    by = discovering(publisher)
    assert asyncio.run(subject(by, token("one", iss=publisher.url))) == "me"
    publisher.pages[DISCOVERY] = {"issuer": publisher.url, "jwks_uri": f"{publisher.url}/new"}
    assert asyncio.run(subject(by, token("two", iss=publisher.url))) == "me"
    with pytest.raises(UnauthorizedError):
        asyncio.run(subject(by, token("one", iss=publisher.url)))


def test_no_thread_for_a_fetch_is_a_fetch_that_fails(publisher, monkeypatch, caplog):
    publisher.pages["/keys"] = jwks("one")
    by, start = authorizer(publisher), threading.Thread.start

    def refuse(thread):
        if thread.name == "servey-keys":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OverloadedError):
        asyncio.run(subject(by, token()))
    assert "can't start new thread" in caplog.text
    monkeypatch.undo()
    assert asyncio.run(subject(by, token())) == "me"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("issuer", ["", ISSUER])
def test_a_token_signed_with_a_secret_is_refused_without_a_fetch(publisher, algorithm, issuer):
    by = authorizer(publisher, issuer)
    forged = token(None, SECRET * 2, algorithm)
    with pytest.raises(UnauthorizedError, match="no key for the token"):
        asyncio.run(by.authorize(forged))
    with pytest.raises(UnauthorizedError, match="no key for the token"):
        asyncio.run(by.authorize(token(None, SECRET * 2, algorithm).replace("eyJhbGciOiJI", "eyJhbGciOiJY")))
    assert publisher.asked == []
