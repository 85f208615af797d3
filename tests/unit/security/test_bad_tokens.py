"""Every kind of bad token, over REST: 401 with the challenge of RFC 6750 §3, and never a 500."""

import asyncio
import base64
import hashlib
import hmac
import json
import string
import time
from functools import cache

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import JWKRegistry

from servey import WEB_GET, Authorization, ScopeAccessControl
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client
from servey.service import Service
from servey.settings import Settings

SECRET = "a secret for tests of 32 bytes or more"
NOW = int(time.time())
DAY = 86400
GOOD = {"sub": "me", "scope": "root", "exp": NOW + DAY}


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = [ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)]
ED25519 = ed25519.Ed25519PrivateKey.generate()
PUBLIC = "".join(map(public_pem, (RSA, P256, P384, P521, ED25519)))
SETTINGS = Settings(jwt_secret_key=SECRET, jwt_public_key=PUBLIC, jwt_leeway=30)


def part(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims=GOOD, secret=SECRET, **header):
    """A token by hand, whatever is in it."""
    payload = claims if isinstance(claims, bytes) else {**claims}
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'} | header)}.{part(payload)}"
    return f"{text}.{part(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


def raw(**texts):
    """The claims as JSON, with some of them as they are written."""
    items = [f'"{name}":{texts.get(name, json.dumps(value))}' for name, value in {**GOOD, **texts}.items()]
    return "{%s}".replace("%s", ",".join(items)).encode()


HEADER, PAYLOAD, SIGNATURE = signed().split(".")
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
NEXT_CHARACTER = ALPHABET[ALPHABET.index(SIGNATURE[-1]) + 1]
NESTED = '{"a":' * 5000 + "1" + "}" * 5000

BAD = {
    "not three parts": "abc",
    "two parts": f"{HEADER}.{PAYLOAD}",
    "four parts": f"{signed()}.x",
    "five parts, as if encrypted": f"{HEADER}....{SIGNATURE}",
    "empty parts": "..",
    "no base64": f"{HEADER}.!!!!.{SIGNATURE}",
    "standard base64": f"{HEADER}.{PAYLOAD}.+/+/",
    "padding": f"{HEADER}=.{PAYLOAD}.{SIGNATURE}",
    "a length that no base64 has": f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-2]}",
    "other bits in what is left over": f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}{NEXT_CHARACTER}",
    "spaces within": f"{HEADER}. {PAYLOAD}.{SIGNATURE}",
    "something after its end": f"{signed()}%0a",
    "longer than 16 KiB": signed({**GOOD, "filler": "x" * 16384}),
    "a header that is no JSON": f"{part(b'x')}.{PAYLOAD}.{SIGNATURE}",
    "a header that is no object": f"{part([])}.{PAYLOAD}.{SIGNATURE}",
    "a header that is no UTF-8": f"{part(bytes([0xFF]))}.{PAYLOAD}.{SIGNATURE}",
    "a payload that is no JSON": signed(b"x"),
    "a payload that is no object": signed(b"[]"),
    "a payload of a null": signed(b"null"),
    "a payload nested too deeply": signed(raw(a=NESTED)),
    "a payload nested a little too deeply": signed(raw(a="[" * 30 + "]" * 30)),
    "a lone surrogate": signed(raw(sub='"\\ud800"')),
    "a lone surrogate as a name": signed(raw(**{"\\ud800": "1"})),
    "a number of 5000 digits": signed(raw(a="1" * 5000)),
    "alg none": signed(alg="none"),
    "alg none, unsigned": f"{part({'alg': 'none'})}.{PAYLOAD}.",
    "alg NONE": f"{part({'alg': 'NONE'})}.{PAYLOAD}.",
    "no alg": f"{part({'typ': 'JWT'})}.{PAYLOAD}.{SIGNATURE}",
    "alg that is no text": signed(alg=["HS256"]),
    "alg null": signed(alg=None),
    "alg that nobody knows": signed(alg="XX999"),
    "HS384 with the secret": jwt.encode(GOOD, SECRET * 2, "HS384"),
    "another secret": signed(secret="another secret of 32 bytes or even more"),
    "an empty secret": signed(secret=""),
    "no signature": f"{HEADER}.{PAYLOAD}.",
    "another payload": f"{HEADER}.{part({**GOOD, 'scope': 'root admin'})}.{SIGNATURE}",
    "HS256 signed with a public key": signed(secret=public_pem(RSA)),
    "HS256 signed with all public keys": signed(secret=PUBLIC),
    "HS256 signed with a public key in DER": signed(
        secret=RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).decode("latin-1")
    ),
    "RS384 with an RSA key": jwt.encode(GOOD, RSA, "RS384"),
    "PS256 with an RSA key": jwt.encode(GOOD, RSA, "PS256"),
    "another RSA key": jwt.encode(GOOD, OTHER_RSA, "RS256"),
    "another key of the curve": jwt.encode(GOOD, ec.generate_private_key(ec.SECP256R1()), "ES256"),
    "a curve that is not served": jwt.encode(GOOD, ec.generate_private_key(ec.SECP256K1()), "ES256K"),
    "RS256 said, ES256 done": signed(alg="RS256"),
    "a kid that is a path": jwt.encode(GOOD, OTHER_RSA, "RS256", headers={"kid": "../../etc/passwd"}),
    "a kid that is SQL": jwt.encode(GOOD, OTHER_RSA, "RS256", headers={"kid": "' OR 1=1 --"}),
    "a kid that is no text": signed(kid={"a": 1}),
    "a kid that is a list": signed(kid=["a"]),
    "jku": signed(jku="https://evil.example/keys"),
    "jwk": signed(jwk={"kty": "oct", "k": "AA"}),
    "x5u": signed(x5u="https://evil.example/cert"),
    "x5c": signed(x5c=["AA"]),
    "crit that nobody knows": signed(crit=["exp"], exp=1),
    "crit b64": signed(crit=["b64"], b64=False),
    "crit empty": signed(crit=[]),
    "b64 without crit": signed(b64=False),
    "typ of a logout token": signed(typ="logout+jwt"),
    "typ of an id token elsewhere": signed(typ="dpop+jwt"),
    "typ that is no text": signed(typ=1),
    "exp missing": signed(without("exp")),
    "exp a text": signed({**GOOD, "exp": str(NOW + 600)}),
    "exp true": signed({**GOOD, "exp": True}),
    "exp null": signed({**GOOD, "exp": None}),
    "exp NaN": signed(raw(exp="NaN")),
    "NaN anywhere": signed(raw(tenant="NaN")),
    "infinity anywhere": signed(raw(tenant="[-Infinity]")),
    "exp infinite": signed(raw(exp="Infinity")),
    "exp too large for a float": signed(raw(exp="1e400")),
    "exp with 400 digits": signed(raw(exp="1" * 400)),
    "exp after the year 9999": signed({**GOOD, "exp": 253402300800}),
    "exp negative": signed({**GOOD, "exp": -1}),
    "exp past": signed({**GOOD, "exp": NOW - 31}),
    "exp a list": signed({**GOOD, "exp": [NOW + 600]}),
    "nbf future": signed({**GOOD, "nbf": NOW + DAY}),
    "nbf a text": signed({**GOOD, "nbf": str(NOW)}),
    "nbf overflow": signed(raw(nbf="1e300")),
    "iat a text": signed({**GOOD, "iat": "yesterday"}),
    "iat true": signed({**GOOD, "iat": True}),
    "aud, and the service has no name": signed({**GOOD, "aud": "somebody"}),
    "aud empty": signed({**GOOD, "aud": ""}),
    "aud null": signed({**GOOD, "aud": None}),
    "aud an empty list": signed({**GOOD, "aud": []}),
    "aud an object": signed({**GOOD, "aud": {}}),
    "sub a number": signed({**GOOD, "sub": 1}),
    "sub null": signed({**GOOD, "sub": None}),
    "iss a list": signed({**GOOD, "iss": ["a"]}),
    "scope a number": signed({**GOOD, "scope": 1}),
    "scope an object": signed({**GOOD, "scope": {"root": True}}),
    "scope a list of numbers": signed({**GOOD, "scope": [1]}),
    "scp a number": signed({**GOOD, "scp": 1}),
}


@action(triggers=(WEB_GET,))
async def who(authorization: Authorization | None) -> str | None:
    return authorization.subject if authorization else None


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
async def guarded(authorization: Authorization) -> str:
    return str(authorization.subject)


ACTIONS = (who, guarded)
SERVICE = Service(ACTIONS, settings=SETTINGS)


app_of = cache(create_app)


def get(path, *tokens, service=SERVICE):
    headers = [("authorization", token if " " in token else f"Bearer {token}") for token in tokens]
    return asyncio.run(Client(app_of(service)).request("GET", f"/actions/{path}", headers=headers))


@pytest.mark.parametrize("path", ["who", "guarded"])
@pytest.mark.parametrize("what", BAD)
def test_a_bad_token_is_refused(what, path):
    response = get(path, f"Bearer {BAD[what]}")
    assert (response.status, response.json()["code"]) == (401, "unauthorized")
    challenge = response.headers["www-authenticate"]
    detail = response.json()["detail"]
    assert challenge == f'Bearer error="invalid_token", error_description="{detail}"'
    for internal in ("Error", "Traceback", "cryptography", SECRET, "PEM"):
        assert internal not in detail


ALGORITHMS = {"RS256": RSA, "ES256": P256, "ES384": P384, "ES512": P521, "EdDSA": ED25519, "HS256": SECRET}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token_by_pyjwt_and_by_joserfc_is_taken(algorithm):
    key = ALGORITHMS[algorithm]
    assert get("guarded", jwt.encode(GOOD, key, algorithm)).json() == "me"
    kind = "oct" if isinstance(key, str) else {"R": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
    algorithm = algorithm.replace("EdDSA", "Ed25519")  # RFC 9864
    imported = JWKRegistry.import_key(key if isinstance(key, str) else pem(key), kind)
    assert get("guarded", joserfc_jwt.encode({"alg": algorithm}, GOOD, imported, [algorithm])).json() == "me"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_a_token_is_a_jwt_or_an_access_token(typ):
    assert get("guarded", signed(typ=typ)).json() == "me"


def test_a_token_may_say_no_type_and_any_kid():
    text = f"{part({'alg': 'HS256', 'kid': '../../etc/passwd'})}.{PAYLOAD}"
    token = f"{text}.{part(hmac.digest(SECRET.encode(), text.encode(), hashlib.sha256))}"
    assert get("guarded", token).json() == "me"


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "other root"},
        {"scope": ["root"]},
        {"scope": "", "scp": "root"},
        {"scp": ["a", "root"], "scope": "b"},
        {"exp": 0.5},
        {"exp": -15},
        {"nbf": 15},
        {"iat": 1000},
        {"tenant": 2**70, "nested": {"a": [1, {"b": "ü"}]}},
    ],
)
def test_claims_as_issuers_write_them_are_taken(claims):
    # times are from when the test runs, not from when it was read
    claims = {name: time.time() + value if name in ("exp", "nbf", "iat") else value for name, value in claims.items()}
    assert get("guarded", signed({**GOOD, **claims})).json() == "me"


@pytest.mark.parametrize("claims", [{"scope": ""}, {"scope": "roo t"}, {"scope": "ROOT"}, {"scope": "root\tx"}])
def test_a_token_without_the_scope_is_403(claims):
    response = get("guarded", signed({**GOOD, **claims}))
    assert response.status == 403
    assert response.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="root"'


def test_a_token_without_any_scope_is_a_token():
    token = signed(without("scope"))
    assert get("who", token).json() == "me"
    assert get("guarded", token).status == 403


def test_no_token_is_a_bare_challenge():
    response = get("guarded")
    assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")
    assert get("who").json() is None


def test_two_headers_are_refused_though_both_are_good():
    response = get("who", signed(), signed())
    assert response.status == 401
    assert 'error="invalid_request"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("issuer", [None, "", "https://issuer.example/", "https://ISSUER.example", "other"])
def test_another_issuer_is_refused_where_one_is_named(issuer):
    service = Service(ACTIONS, settings=Settings(jwt_secret_key=SECRET, jwt_issuer="https://issuer.example"))
    assert get("who", signed({**GOOD, "iss": "https://issuer.example"}), service=service).json() == "me"
    claims = GOOD if issuer is None else {**GOOD, "iss": issuer}
    assert get("who", signed(claims), service=service).status == 401


def test_the_audience_names_the_service():
    service = Service(ACTIONS, settings=Settings(jwt_secret_key=SECRET, jwt_audience=("shop", "api")))
    for audience in ("api", ["other", "shop"]):
        assert get("who", signed({**GOOD, "aud": audience}), service=service).json() == "me"
    for audience in ("other", ["sho", "p"], "shop api", [], ["api", 1], "", 7, [["api"]]):
        assert get("who", signed({**GOOD, "aud": audience}), service=service).status == 401
    assert get("who", signed(), service=service).status == 401


def test_what_is_refused_once_is_refused_again_and_what_is_good_stays_so():
    for _ in range(3):
        assert get("guarded", BAD["another payload"]).status == 401
        assert get("guarded", signed()).json() == "me"


def test_the_error_is_of_the_authorizer_that_knows_most():
    detail = get("who", jwt.encode({**GOOD, "exp": NOW - 100}, RSA, "RS256")).json()["detail"]
    assert detail == "the token is not valid: it has expired"
    assert get("who", BAD["another secret"]).json()["detail"] == "the signature of the token is wrong"
