"""Verifying and issuing tokens: keys of every kind, what is remembered, and what the settings make of it."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from servey import ALLOW_NONE, WEB_GET, Authorization, ScopeAccessControl, UnauthorizedError
from servey.action.action import action
from servey.action.context import CallContext, Origin
from servey.errors import SettingsError
from servey.plugin import Plugin
from servey.ports import TokenIssuer
from servey.security.authorizer.configured import configured_authorizers
from servey.security.authorizer.fixed_keys import pem_verification_keys
from servey.security.authorizer.unverified_token import MAX_TOKEN
from servey.security.authorizer.verified_tokens import VerifiedTokens
from servey.servey_starlette.app import create_app
from servey.servey_uvicorn.banner import token_lines
from servey.service import Service
from servey.settings import Settings

SECRET = "a secret for tests of 32 bytes or more"
PKCS8, TRADITIONAL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL


def pem(key, form=PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


def public_pem(key, form=PublicFormat.SubjectPublicKeyInfo):
    return key.public_key().public_bytes(Encoding.PEM, form).decode()


RSA = rsa.generate_private_key(65537, 2048)
KEYS = {
    "RS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def authorizer(**settings):
    (found,) = configured_authorizers(Settings(**settings).tokens)
    return found


def authorized(by, token):
    return asyncio.run(by.authorize(token))


def token(key=SECRET, algorithm="HS256", **claims):
    return jwt.encode({"sub": "me", "exp": int(time.time()) + 600, **claims}, key, algorithm)


# --- issuing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["HS256", *KEYS])
def test_what_is_issued_is_taken_here_and_by_others(algorithm):
    key = KEYS.get(algorithm)
    issuer = authorizer(
        **({"jwt_secret_key": SECRET} if key is None else {"jwt_private_key": pem(key)}),
        jwt_issuer="https://me.example",
        jwt_audience=("api", "other"),
        jwt_lifetime=60,
    )
    assert isinstance(issuer, TokenIssuer)
    given = Authorization("ada", frozenset({"read", "write"}), claims={"tenant": [2**70, {"a": None}]})
    issued = issuer.issue(given)
    verified = authorized(issuer, issued)
    assert (verified.subject, verified.scopes, verified.issuer) == ("ada", given.scopes, "https://me.example")
    assert verified.claims["tenant"] == [2**70, {"a": None}]
    assert verified.claims["aud"] == "api"
    assert len(verified.claims["jti"]) == 32
    assert verified.expires_at == datetime.fromtimestamp(verified.claims["iat"] + 60, UTC)
    header = jwt.get_unverified_header(issued)
    claims = jwt.decode(issued, SECRET if key is None else key.public_key(), [algorithm], audience="api")
    assert (header["alg"], claims["scope"], claims["sub"]) == (algorithm, "read write", "ada")
    if key is None:
        assert "kid" not in header, "a thumbprint of a secret would tell of it"
    else:
        from joserfc.jwk import JWKRegistry

        kind = {"R": "RSA", "E": "EC"}[algorithm[0]] if algorithm != "EdDSA" else "OKP"
        assert header["kid"] == JWKRegistry.import_key(public_pem(key), kind).thumbprint()


def test_two_tokens_for_the_same_are_of_one_identity():
    issuer = authorizer(jwt_secret_key=SECRET)
    first, second = (issuer.issue(Authorization("ada", claims={"n": 2**80})) for _ in range(2))
    assert first != second
    assert authorized(issuer, first).identity == authorized(issuer, second).identity


def test_times_that_are_said_are_kept():
    issuer = authorizer(jwt_secret_key=SECRET)
    start = datetime.now(UTC).replace(microsecond=0)
    given = Authorization("ada", not_before=start, expires_at=start + timedelta(seconds=7))
    verified = authorized(issuer, issuer.issue(given))
    assert (verified.not_before, verified.expires_at) == (start, start + timedelta(seconds=7))


def test_a_login_cannot_set_what_the_issuer_sets():
    issuer = authorizer(jwt_secret_key=SECRET)
    forged = {"iss": "x", "sub": "root", "aud": "x", "exp": 2**33, "scope": "root", "scp": "root", "jti": "x"}
    verified = authorized(issuer, issuer.issue(Authorization("ada", claims=forged)))
    assert (verified.subject, verified.scopes, verified.issuer) == ("ada", frozenset(), None)
    assert set(verified.claims) == {"iat", "jti"}


@pytest.mark.parametrize("scope", ["read root", "", 'a"b', "a\\b", "a\nb", "é"])
def test_a_scope_cannot_become_two(scope):
    with pytest.raises(ValueError, match="is not a scope"):
        authorizer(jwt_secret_key=SECRET).issue(Authorization("ada", frozenset({scope})))


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800", "x" * MAX_TOKEN, [[]] * 3 + [b""]])
def test_what_could_not_be_read_again_is_not_issued(value):
    with pytest.raises(ValueError):
        authorizer(jwt_secret_key=SECRET).issue(Authorization("ada", claims={"x": value}))


# --- keys -----------------------------------------------------------------------------------------------------------


def test_several_public_keys_make_a_rotation():
    old, new = KEYS["ES256"], RSA
    verifier = authorizer(jwt_public_key=public_pem(old) + public_pem(new))
    assert not isinstance(verifier, TokenIssuer)
    for issuer in (authorizer(jwt_private_key=pem(old)), authorizer(jwt_private_key=pem(new))):
        assert authorized(verifier, issuer.issue(Authorization("ada"))).subject == "ada"


def test_a_private_key_verifies_with_old_public_ones_beside_it():
    both = authorizer(jwt_private_key=pem(RSA), jwt_public_key=public_pem(KEYS["EdDSA"]))
    for key in (RSA, KEYS["EdDSA"]):
        issued = authorizer(jwt_private_key=pem(key)).issue(Authorization("ada"))
        assert authorized(both, issued).subject == "ada"


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_a_key_may_be_in_a_file_or_in_one_line(form, tmp_path):
    text = pem(RSA, form)
    (tmp_path / "key.pem").write_text(text)
    for given in (str(tmp_path / "key.pem"), text, text.replace("\n", "\\n")):
        issuer = authorizer(jwt_private_key=given)
        assert authorized(issuer, issuer.issue(Authorization("ada"))).subject == "ada"


WRONG_PUBLIC = {
    "weak": public_pem(rsa.generate_private_key(65537, 1024)),
    "of another curve": public_pem(ec.generate_private_key(ec.SECP256K1())),
    "for key agreement": public_pem(x25519.X25519PrivateKey.generate()),
    "DSA": public_pem(dsa.generate_private_key(1024)),
    "private": pem(RSA),
    "broken": public_pem(RSA).replace("M", "N"),
    "cut": public_pem(RSA)[:100],
    "empty": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
}
WRONG_PRIVATE = {
    "weak": pem(rsa.generate_private_key(65537, 1024)),
    "public": public_pem(RSA),
    "two": pem(RSA) + pem(KEYS["ES256"]),
    "encrypted": pem(RSA, encryption=BestAvailableEncryption(b"x")),
    "broken": pem(RSA).replace("M", "N"),
    "of another curve": pem(ec.generate_private_key(ec.SECP256K1())),
}


@pytest.mark.parametrize("what", WRONG_PUBLIC)
def test_a_public_key_that_cannot_be_used_stops_the_start(what):
    with pytest.raises(SettingsError, match=r"^SERVEY_JWT_PUBLIC_KEY "):
        create_app(Service(settings=Settings(jwt_public_key=WRONG_PUBLIC[what])))


@pytest.mark.parametrize("what", WRONG_PRIVATE)
def test_a_private_key_that_cannot_be_used_stops_the_start_and_is_not_shown(what):
    with pytest.raises(SettingsError, match=r"^SERVEY_JWT_PRIVATE_KEY ") as caught:
        create_app(Service(settings=Settings(jwt_private_key=WRONG_PRIVATE[what])))
    assert WRONG_PRIVATE[what].split("\n")[1][:20] not in str(caught.value)


@pytest.mark.parametrize("secret", [public_pem(RSA), pem(RSA), '{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}'])
def test_a_secret_that_is_a_key_of_another_kind_stops_the_start(secret):
    with pytest.raises(SettingsError, match=r"^JWT_SECRET_KEY is not a secret"):
        create_app(Service(settings=Settings(jwt_secret_key=secret)))


def test_the_same_key_twice_is_one():
    assert len(pem_verification_keys(pem(RSA), public_pem(RSA) * 2)) == 1


# --- what is remembered ---------------------------------------------------------------------------------------------


def test_a_verified_token_is_remembered_and_a_bad_one_is_not():
    by = authorizer(jwt_secret_key=SECRET)
    good, bad = token(), token(SECRET + "x")
    assert by.verified(good) is None
    first = authorized(by, good)
    assert by.verified(good) == first
    with pytest.raises(UnauthorizedError):
        authorized(by, bad)
    assert by.verified(bad) is None
    assert len(by._verified) == 1


def test_a_remembered_token_ends_with_its_time():
    by = authorizer(jwt_secret_key=SECRET, jwt_leeway=0)
    short = token(exp=time.time() + 0.4)
    assert authorized(by, short).subject == "me"
    end = time.time() + 5
    while by.verified(short) is not None:
        assert time.time() < end
    with pytest.raises(UnauthorizedError, match="expired"):
        authorized(by, short)


def test_what_an_action_does_to_its_claims_is_its_own():
    by = authorizer(jwt_secret_key=SECRET)
    given = token(roles=["user"], nested={"a": [{"b": 1}]})
    for _ in range(3):
        claims = authorized(by, given).claims
        assert (claims["roles"], claims["nested"]) == (["user"], {"a": [{"b": 1}]})
        claims["roles"].append("admin")
        claims["nested"]["a"][0]["b"] = 2
        claims["more"] = True


def test_only_so_many_tokens_are_remembered_those_used_last():
    by, kept = authorizer(jwt_secret_key=SECRET), VerifiedTokens(limit=3)
    ring = by.keys.ring
    until = time.time() + 60
    for number in range(3):
        kept.keep(str(number), Authorization(str(number)), until, ring)
    assert kept.get("0", ring) == Authorization("0")
    kept.keep("3", Authorization("3"), until, ring)
    assert len(kept) == 3
    assert [kept.get(str(number), ring) is not None for number in range(4)] == [True, False, True, True]
    assert kept.get("0", authorizer(jwt_secret_key=SECRET).keys.ring) is None, "other keys"


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("form", ["lines", "one line", "base64url", "certificate", "PKCS #1"])
def test_a_public_key_without_its_pem_lines_is_no_secret(algorithm, form):
    key = KEYS[algorithm]
    text = public_pem(key)
    if form == "certificate":
        name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "me")]), datetime.now(UTC)
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(name, name, key.public_key(), serial, now, now + timedelta(days=1))
        text = builder.sign(key, None if algorithm == "EdDSA" else hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    elif form == "PKCS #1":
        text = public_pem(RSA, PublicFormat.PKCS1)
    text = "\n".join(text.splitlines()[1:-1])
    if form != "lines":
        text = text.replace("\n", "")
    if form == "base64url":
        text = text.replace("+", "-").replace("/", "_").rstrip("=")
    service = Service([guarded], settings=Settings(jwt_secret_key=text))
    with pytest.raises(SettingsError, match="JWT_SECRET_KEY is not a secret"):
        create_app(service)


def test_a_secret_may_begin_as_a_key_does():
    secret = "MIIB" + "a" * 60
    assert authorized(authorizer(jwt_secret_key=secret), jwt.encode({"exp": 2**33}, secret, "HS256")).subject is None


# --- several authorizers --------------------------------------------------------------------------------------------


class OneToken(Plugin):
    asked = 0

    def authorizers(self):
        return (self,)

    async def authorize(self, given):
        self.asked += 1
        if given != "one":
            raise UnauthorizedError("a plugin does not know it", error="invalid_token")
        return Authorization("plugin")


def caller_of(service, given):
    return asyncio.run(service.authenticate(given, CallContext(Origin.NETWORK, "rest", "r1"), None))


def test_a_plugin_is_asked_first_and_the_others_take_what_it_does_not():
    plugin = OneToken()
    service = Service(plugins=[plugin], settings=Settings(jwt_secret_key=SECRET))
    assert caller_of(service, "one") == Authorization("plugin")
    good = token()
    for count in (2, 3):
        assert caller_of(service, good).subject == "me"
        assert plugin.asked == count
    with pytest.raises(UnauthorizedError, match="a plugin does not know it"):
        caller_of(service, "two")
    with pytest.raises(UnauthorizedError, match="expired"):
        caller_of(service, token(exp=1))


def test_no_secret_is_made_up_beside_a_plugin():
    service = Service(plugins=[OneToken()])
    assert [type(item) for item in service.authentication.authorizers] == [OneToken]
    assert service.authentication.token_issuer is None


def test_they_are_asked_in_order_and_the_private_key_signs():
    service = Service(
        settings=Settings(
            jwt_secret_key=SECRET,
            jwt_private_key=pem(RSA),
            jwks_urls=("https://a.example/keys",),
            jwks_issuers=("https://a.example",),
            oidc_issuers=("https://b.example",),
        )
    )
    assert [item.origin for item in service.authentication.authorizers] == [
        "the keys of https://b.example (SERVEY_OIDC_ISSUER)",
        "the keys at https://a.example/keys (SERVEY_JWKS_URL) for https://a.example",
        "the keys of SERVEY_JWT_PRIVATE_KEY",
        "HS256 with JWT_SECRET_KEY",
    ]
    assert service.authentication.token_issuer is service.authentication.authorizers[2]


# --- what a start needs ---------------------------------------------------------------------------------------------


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
def guarded() -> None: ...


@action(triggers=(WEB_GET,))
def mine(authorization: Authorization) -> None: ...


@action(triggers=(WEB_GET,))
def open_to_all(authorization: Authorization | None) -> None: ...


@action(triggers=(WEB_GET,), access_control=ALLOW_NONE)
def nobody() -> None: ...


@action(access_control=ScopeAccessControl("root"))
def not_served() -> None: ...


class Users(Plugin):
    def authenticators(self):
        return (self,)

    def authenticate(self, username, password):
        return None


@pytest.mark.parametrize("one", [guarded, mine])
def test_production_needs_a_key_where_an_action_needs_a_caller(one):
    service = Service([one], settings=Settings(environment="production"))
    with pytest.raises(SettingsError) as caught:
        create_app(service)
    assert all(word in str(caught.value) for word in (one.__name__, "JWT_SECRET_KEY", "openssl rand"))


def test_production_needs_a_key_where_people_log_in():
    with pytest.raises(SettingsError, match="nothing signs its tokens"):
        create_app(Service([open_to_all], plugins=[Users()], settings=Settings(environment="production")))


@pytest.mark.parametrize("one", [open_to_all, nobody, not_served])
def test_production_needs_no_key_for_what_no_token_changes(one):
    create_app(Service([one], settings=Settings(environment="production")))


def test_another_authorizer_will_do_in_production():
    create_app(Service([guarded], plugins=[OneToken()], settings=Settings(environment="production")))
    create_app(Service([guarded], settings=Settings(environment="production", jwt_public_key=public_pem(RSA))))


def test_a_short_secret_stops_production_and_is_warned_of_in_development(caplog):
    short = "x" * 31
    with pytest.raises(SettingsError, match="JWT_SECRET_KEY has 31 bytes, and 32 are needed"):
        create_app(Service([guarded], settings=Settings(environment="production", jwt_secret_key=short)))
    service = Service([guarded], settings=Settings(jwt_secret_key=short))
    create_app(service)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "31 bytes" in warning
    assert short not in caplog.text
    issued = service.authentication.token_issuer.issue(Authorization("ada"))
    assert authorized(service.authentication.authorizers[0], issued).subject == "ada"


def test_the_start_says_what_verifies_tokens_and_not_the_secret():
    settings = Settings(jwt_secret_key=SECRET, jwt_public_key=public_pem(RSA))
    assert token_lines(Service([guarded], settings=settings)) == [
        "tokens: the keys of SERVEY_JWT_PUBLIC_KEY",
        "tokens: HS256 with JWT_SECRET_KEY; new ones are signed with it",
    ]
    made_up = Service([guarded])
    (line,) = token_lines(made_up)
    assert "generated" in line
    assert made_up.settings.tokens.jwt_secret_key not in line
    assert token_lines(Service([nobody, not_served], plugins=[OneToken()])) == ["tokens: a plugin's OneToken"]
