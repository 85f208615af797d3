"""The settings: every variable, its aliases, its limits; wrong values all at once; secrets never shown."""

import logging
import math
import os
import pickle
from typing import Annotated

import msgspec
import pytest

from servey.errors import DefinitionError, SettingsError
from servey.plugin import Plugin
from servey.security.authorizer.configured import configured_authorizers
from servey.service import Service
from servey.settings import SettingRow, Settings
from servey.settings_part import Positive, SettingsPart, Variable

DEFAULTS = {
    "action_path": "actions",
    "environment": "",
    "server_host": "127.0.0.1",
    "server_port": 8000,
    "workers": 1,
    "plugins": (),
    "log_level": "INFO",
    "timeout": 15.0,
    "threads": 40,
    "shutdown_timeout": 10.0,
    "max_body_size": 6 * 1024 * 1024,
    "max_query_size": 64 * 1024,
    "unknown_query": "refuse",
    "cors_origins": (),
    "cors_credentials": False,
    "max_depth": 15,
    "max_fields": 300,
    "max_cost": 20_000,
    "docs": True,
    "api_title": "API",
    "api_version": "0.1.0",
    "api_description": "",
    "api_servers": (),
    "problem_types": "",
    "jwt_secret_key": "",
    "jwt_private_key": "",
    "jwt_public_key": "",
    "jwt_issuer": "",
    "jwt_audience": (),
    "jwt_leeway": 30.0,
    "jwt_lifetime": 3600,
    "jwks_urls": (),
    "jwks_issuers": (),
    "oidc_issuers": (),
    "debug_authenticator": None,
    "debug_authenticator_username": "root",
    "debug_authenticator_password": "",
    "result_cache": "memory",
    "result_cache_bytes": 64 * 1024 * 1024,
    "result_cache_entries": 10_000,
    "store_timeout": 0.25,
    "rate_limits": "memory",
    "store": ".servey/store.db",
    "broker": "",
    "message_key": "",
    "result_backend": "",
    "background": True,
    "background_calls": 8,
    "background_timeout": 1200.0,
    "queue_timeout": 5.0,
    "max_delay": 900.0,
    "trusted_proxies": ("127.0.0.1", "::1"),
    "shutdown_delay": 0.0,
    "graphql": True,
    "graphiql": None,
    "graphql_introspection": "",
    "graphql_get": "",
    "graphql_documents": "",
    "graphql_only_documents": False,
    "graphql_max_aliases": 30,
    "graphql_max_tokens": 2000,
    "graphql_max_values": 20_000,
    "graphql_max_batch": 1,
    "generated": (),
}

READ = [
    # field, variable and aliases (the first set wins), text, value
    ("action_path", ("SERVEY_ACTION_PATH",), "shop.actions, more", "shop.actions, more"),
    ("environment", ("SERVEY_ENV",), "production", "production"),
    ("server_host", ("SERVER_HOST", "SERVEY_SERVER_HOST", "HOST"), "0.0.0.0", "0.0.0.0"),
    ("server_port", ("SERVER_PORT", "SERVEY_SERVER_PORT", "PORT"), "65535", 65535),
    ("workers", ("SERVEY_WORKERS", "WEB_CONCURRENCY"), "4", 4),
    ("plugins", ("SERVEY_PLUGINS",), "a:B, c.d:E,", ("a:B", "c.d:E")),
    ("log_level", ("LOG_LEVEL", "SERVEY_LOG_LEVEL", "LOGLEVEL"), "debug", "DEBUG"),
    (
        "trusted_proxies",
        ("FORWARDED_ALLOW_IPS", "SERVEY_FORWARDED_ALLOW_IPS"),
        "10.0.0.0/8, ::1",
        ("10.0.0.0/8", "::1"),
    ),
    ("shutdown_delay", ("SERVEY_SHUTDOWN_DELAY",), "2.5", 2.5),
    ("timeout", ("SERVEY_TIMEOUT",), "2.5", 2.5),
    ("threads", ("SERVEY_THREADS",), "1", 1),
    ("shutdown_timeout", ("SERVEY_SHUTDOWN_TIMEOUT",), "30", 30.0),
    ("max_body_size", ("SERVEY_MAX_BODY_SIZE",), "1", 1),
    ("max_query_size", ("SERVEY_MAX_QUERY_SIZE",), "1", 1),
    ("unknown_query", ("SERVEY_UNKNOWN_QUERY",), "ignore", "ignore"),
    ("cors_origins", ("CORS_ALLOWED_ORIGINS", "SERVEY_CORS_ALLOWED_ORIGINS"), "https://a.b, *", ("https://a.b", "*")),
    ("cors_credentials", ("CORS_ALLOW_CREDENTIALS", "SERVEY_CORS_ALLOW_CREDENTIALS"), "true", True),
    ("max_depth", ("SERVEY_MAX_DEPTH", "SERVEY_GRAPHQL_MAX_DEPTH"), "1", 1),
    ("max_fields", ("SERVEY_MAX_FIELDS", "SERVEY_GRAPHQL_MAX_FIELDS"), "1", 1),
    ("max_cost", ("SERVEY_MAX_COST", "SERVEY_GRAPHQL_MAX_COST"), "1", 1),
    ("docs", ("SERVEY_DOCS",), "off", False),
    ("api_title", ("SERVEY_API_TITLE",), "Parcels, and more", "Parcels, and more"),
    ("api_version", ("SERVEY_API_VERSION",), "2026.1", "2026.1"),
    ("api_description", ("SERVEY_API_DESCRIPTION",), "*All* of it", "*All* of it"),
    (
        "api_servers",
        ("SERVEY_API_SERVERS",),
        "https://api.example.com, https://test.example.com/v1",
        ("https://api.example.com", "https://test.example.com/v1"),
    ),
    ("problem_types", ("SERVEY_PROBLEM_TYPES",), "https://example.com/errors/", "https://example.com/errors/"),
    ("jwt_secret_key", ("JWT_SECRET_KEY", "SERVEY_JWT_SECRET_KEY"), "a, b", "a, b"),
    ("jwt_private_key", ("SERVEY_JWT_PRIVATE_KEY",), "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----"),
    ("jwt_public_key", ("SERVEY_JWT_PUBLIC_KEY",), "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"),
    ("jwt_issuer", ("SERVEY_JWT_ISSUER",), "me", "me"),
    ("jwt_audience", ("SERVEY_JWT_AUDIENCE",), "a, b", ("a", "b")),
    ("jwt_leeway", ("SERVEY_JWT_LEEWAY",), "0", 0.0),
    ("jwt_lifetime", ("SERVEY_JWT_LIFETIME",), "60", 60),
    ("jwks_urls", ("SERVEY_JWKS_URL",), "http://[::1]:1/d", ("http://[::1]:1/d",)),
    ("jwks_issuers", ("SERVEY_JWKS_ISSUER",), "https://a.b", ("https://a.b",)),
    ("oidc_issuers", ("SERVEY_OIDC_ISSUER",), "https://a.b/", ("https://a.b/",)),
    ("debug_authenticator", ("SERVEY_DEBUG_AUTHENTICATOR",), "off", False),
    (
        "debug_authenticator_username",
        ("SERVEY_DEBUG_AUTHENTICATOR_USERNAME", "DEBUG_AUTHENTICATOR_USERNAME"),
        "me",
        "me",
    ),
    ("debug_authenticator_password", ("SERVEY_DEBUG_AUTHENTICATOR_PASSWORD",), "secret", "secret"),
    ("result_cache", ("SERVEY_RESULT_CACHE",), "redis://:secret@localhost:6379/0", "redis://:secret@localhost:6379/0"),
    ("result_cache_bytes", ("SERVEY_RESULT_CACHE_BYTES",), "1", 1),
    ("result_cache_entries", ("SERVEY_RESULT_CACHE_ENTRIES",), "1", 1),
    ("rate_limits", ("SERVEY_RATE_LIMITS",), "unix:///run/valkey.sock", "unix:///run/valkey.sock"),
    ("store_timeout", ("SERVEY_STORE_TIMEOUT",), "2", 2.0),
    ("store", ("SERVEY_STORE",), "/data/store.db", "/data/store.db"),
    ("broker", ("CELERY_BROKER", "CELERY_BROKER_URL"), "amqp://localhost//", "amqp://localhost//"),
    ("message_key", ("SERVEY_MESSAGE_KEY",), "k" * 32, "k" * 32),
    ("background", ("SERVEY_BACKGROUND",), "off", False),
    ("background_calls", ("SERVEY_BACKGROUND_CALLS",), "1", 1),
    ("background_timeout", ("SERVEY_BACKGROUND_TIMEOUT",), "60", 60.0),
    ("queue_timeout", ("SERVEY_QUEUE_TIMEOUT",), "2", 2.0),
    ("max_delay", ("SERVEY_MAX_DELAY",), "60", 60.0),
    ("graphql", ("SERVEY_GRAPHQL",), "off", False),
    ("graphiql", ("SERVEY_GRAPHIQL",), "on", True),
    ("graphql_introspection", ("SERVEY_GRAPHQL_INTROSPECTION",), "schema:read", "schema:read"),
    ("graphql_get", ("SERVEY_GRAPHQL_GET",), "guarded", "guarded"),
    ("graphql_documents", ("SERVEY_GRAPHQL_DOCUMENTS",), "documents.json", "documents.json"),
    ("graphql_only_documents", ("SERVEY_GRAPHQL_ONLY_DOCUMENTS",), "no", False),
    ("graphql_max_aliases", ("SERVEY_GRAPHQL_MAX_ALIASES",), "0", 0),
    ("graphql_max_tokens", ("SERVEY_GRAPHQL_MAX_TOKENS",), "1", 1),
    ("graphql_max_values", ("SERVEY_GRAPHQL_MAX_VALUES",), "5", 5),
    ("graphql_max_batch", ("SERVEY_GRAPHQL_MAX_BATCH",), "5", 5),
    ("result_backend", ("CELERY_RESULT_BACKEND",), "redis://localhost", "redis://localhost"),
]


def members(settings):
    fields = {name: getattr(part, name) for part in settings.parts for name in part.__struct_fields__}
    return {**fields, "generated": settings.generated}


def refused(environ):
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ)
    return str(caught.value).splitlines()


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "servey.settings"]


def test_an_empty_environment_gives_the_defaults():
    assert members(Settings.from_environment({})) == DEFAULTS
    assert members(Settings()) == DEFAULTS


def test_every_variable_is_in_the_tables_of_this_test():
    variables = Settings().variables()
    assert {name: (item.name, *item.aliases) for name, item in variables.items()} == {row[0]: row[1] for row in READ}
    assert all(item.doc.endswith(".") for item in variables.values())


@pytest.mark.parametrize(
    ("field", "variable", "text", "value"),
    [(field, variable, text, value) for field, variables, text, value in READ for variable in variables],
)
def test_every_variable_and_every_alias_is_read(field, variable, text, value, caplog):
    needed = {"SERVEY_JWKS_URL": "https://a.b"} if field == "jwks_issuers" else {}
    read = members(Settings.from_environment({variable: text, **needed}))
    assert {**read, "jwks_urls": read["jwks_urls"] if not needed else ()} == {**DEFAULTS, field: value}
    assert warned(caplog) == []


def test_the_first_name_that_is_set_wins():
    environ = {"PORT": "1", "SERVEY_SERVER_PORT": "2"}
    assert Settings.from_environment(environ).process.server_port == 2
    assert Settings.from_environment({**environ, "SERVER_PORT": "3"}).process.server_port == 3
    assert Settings.from_environment({**environ, "SERVEY_SERVER_PORT": ""}).process.server_port == 1


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_value_counts_as_unset(text):
    environ = {name: text for row in READ for name in row[1]}
    assert members(Settings.from_environment(environ)) == DEFAULTS


def test_spaces_around_a_value_do_not_count():
    assert Settings.from_environment({"SERVER_PORT": " 80 ", "SERVER_HOST": " ::1\n"}).process.server_port == 80


def test_the_process_environment_is_read_by_default(monkeypatch):
    monkeypatch.setenv("SERVER_PORT", "81")
    assert Settings.from_environment().process.server_port == 81
    assert Settings().process.server_port == 8000


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "on", "ON", "yes"])
def test_a_switch_is_on(text):
    assert Settings.from_environment({"CORS_ALLOW_CREDENTIALS": text}).http.cors_credentials is True


@pytest.mark.parametrize("text", ["false", "False", "0", "off", "no"])
def test_a_switch_is_off(text):
    assert Settings.from_environment({"CORS_ALLOW_CREDENTIALS": text}).http.cors_credentials is False


@pytest.mark.parametrize("level", ["DEBUG", "info", "Warning", "ERROR", "critical"])
def test_a_log_level_may_be_in_any_case(level):
    assert Settings.from_environment({"LOG_LEVEL": level}).process.log_level == level.upper()
    assert hasattr(logging, level.upper())


def test_no_timeout_can_be_set():
    assert Settings.from_environment({"SERVEY_TIMEOUT": "inf"}).calls.timeout == math.inf


WRONG = [
    ("SERVER_PORT", "-1"),
    ("SERVER_PORT", "65536"),
    ("SERVER_PORT", "http"),
    ("PORT", "8000x"),
    ("SERVEY_TIMEOUT", "0"),
    ("SERVEY_TIMEOUT", "-5"),
    ("SERVEY_TIMEOUT", "15s"),
    ("SERVEY_TIMEOUT", "nan"),
    ("SERVEY_SHUTDOWN_TIMEOUT", "0"),
    ("SERVEY_SHUTDOWN_TIMEOUT", "inf"),
    ("SERVEY_THREADS", "0"),
    ("SERVEY_THREADS", "many"),
    ("SERVEY_THREADS", "1.5"),
    ("SERVEY_MAX_BODY_SIZE", "0"),
    ("SERVEY_MAX_BODY_SIZE", "6MB"),
    ("SERVEY_MAX_QUERY_SIZE", "-1"),
    ("SERVEY_UNKNOWN_QUERY", "warn"),
    ("SERVEY_ENV", "staging"),
    ("LOG_LEVEL", "verbose"),
    ("CORS_ALLOW_CREDENTIALS", "maybe"),
]


@pytest.mark.parametrize(("variable", "text"), WRONG)
def test_a_wrong_value_names_its_variable_and_itself(variable, text):
    (line,) = refused({variable: text})
    assert line.startswith(f"{variable} is {text!r}: ")


def test_all_wrong_values_are_told_at_once(caplog):
    environ = {
        "SERVER_PORT": "http",
        "SERVEY_THREADS": "0",
        "SERVEY_ENV": "staging",
        "CORS_ALLOWED_ORIGINS": "example.com,*,https://a/b",
        "CORS_ALLOW_CREDENTIALS": "on",
        "SERVEY_NOWHERE": "x",
    }
    told = refused(environ)
    assert [line.split()[0] for line in told] == [
        "SERVEY_ENV",
        "SERVER_PORT",
        "SERVEY_THREADS",
        "CORS_ALLOWED_ORIGINS",
        "CORS_ALLOWED_ORIGINS",
        "CORS_ALLOWED_ORIGINS",
    ]
    assert [word in told[index] for index, word in ((3, "'example.com'"), (4, "'https://a/b'"), (5, "CREDENTIALS"))]


def test_what_a_variable_takes_is_listed():
    assert refused({"SERVEY_ENV": "staging"}) == ["SERVEY_ENV is 'staging': it takes development or production"]
    assert refused({"LOG_LEVEL": "verbose"}) == [
        "LOG_LEVEL is 'verbose': it takes DEBUG or INFO or WARNING or ERROR or CRITICAL"
    ]


# --- unknown variables ----------------------------------------------------------------------------------------------


def test_an_unknown_variable_is_warned_about_with_the_nearest_name(caplog):
    settings = Settings.from_environment({"SERVEY_TIMEOUTS": "3", "SERVEY_ACTIONPATH": "x", "OTHER_THING": "x"})
    assert members(settings) == DEFAULTS
    assert warned(caplog) == [
        "SERVEY_ACTIONPATH is not a setting of servey; did you mean SERVEY_ACTION_PATH?",
        "SERVEY_TIMEOUTS is not a setting of servey; did you mean SERVEY_TIMEOUT?",
    ]


def test_an_unknown_variable_that_resembles_nothing_is_only_named(caplog):
    Settings.from_environment({"SERVEY_QQQQQQQQQQQQQQQQQQ": "the secret"})
    assert warned(caplog) == ["SERVEY_QQQQQQQQQQQQQQQQQQ is not a setting of servey"]


# --- CORS -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    ["https://example.com", "http://localhost:3000", "http://[::1]:80", "https://xn--4ca.example", "*", "app+x://host"],
)
def test_an_origin_is_scheme_and_host(origin):
    assert Settings.from_environment({"CORS_ALLOWED_ORIGINS": origin}).http.cors_origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    [
        *("example.com", "https://", "://example.com", "https://example.com/", "https://example.com/a", "null"),
        *("https://*.example.com", "https://Example.com", "HTTPS://example.com", "https://a b", "https://a?b"),
        *("https://me@example.com", "https://ä.example", "https:/example.com", "*.example.com", "**"),
    ],
)
def test_what_no_browser_sends_is_no_origin(origin):
    (line,) = refused({"CORS_ALLOWED_ORIGINS": origin})
    assert repr(origin) in line
    with pytest.raises(SettingsError):
        Settings(cors_origins=(origin,))


def test_credentials_are_not_for_everybody():
    environ = {"CORS_ALLOWED_ORIGINS": "*", "CORS_ALLOW_CREDENTIALS": "on"}
    (line,) = refused(environ)
    assert ("CORS_ALLOWED_ORIGINS" in line, "CORS_ALLOW_CREDENTIALS" in line) == (True, True)
    with pytest.raises(SettingsError):
        Settings(cors_origins=("https://a.b", "*"), cors_credentials=True)
    assert Settings(cors_origins=("https://a.b",), cors_credentials=True).http.cors_credentials


# --- production -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "production"),
    [
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.168.1.5", True),
        ("example.com", True),
        ("localhost.example.com", True),
        ("127.0.0.1.example.com", True),
        ("", True),
    ],
)
def test_production_is_what_more_than_this_machine_reaches(host, production):
    assert Settings(server_host=host).production is production
    assert Settings(server_host=host, environment="production").production is True
    assert Settings(server_host=host, environment="development").production is False


# --- the table ------------------------------------------------------------------------------------------------------


class Secrets(SettingsPart, frozen=True, kw_only=True):
    key: Annotated[str, msgspec.Meta(min_length=8), Variable("SERVEY_KEY", "A key.", ("KEY",), secret=True)] = ""
    pin: Annotated[int, msgspec.Meta(ge=1000), Variable("SERVEY_PIN", "A number.", secret=True)] = 0


class SecretPlugin(Plugin):
    def settings(self):
        return (Secrets,)


def test_the_table_says_what_is_set_and_by_what():
    environ = {"PORT": "81", "CORS_ALLOWED_ORIGINS": "https://a.b,https://c.d", "CORS_ALLOW_CREDENTIALS": "on"}
    table = Settings.from_environment(environ).table(environ)
    doc = {variable.name: variable.doc for variable in Settings().variables().values()}
    assert [row.variable for row in table] == [row[1][0] for row in READ]
    rows = {row.variable: row for row in table}
    for name, value, source in (
        ("SERVER_PORT", "81", "PORT"),
        ("SERVER_HOST", "127.0.0.1", "default"),
        ("CORS_ALLOWED_ORIGINS", "https://a.b,https://c.d", "CORS_ALLOWED_ORIGINS"),
        ("CORS_ALLOW_CREDENTIALS", "true", "CORS_ALLOW_CREDENTIALS"),
        ("SERVEY_PLUGINS", "", "default"),
        ("SERVEY_TIMEOUT", "15.0", "default"),
    ):
        assert rows[name] == SettingRow(name, value, source, doc[name])


def test_the_table_of_the_process_is_the_default(monkeypatch):
    for name in list(os.environ):
        if name in {item for row in READ for item in row[1]}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("SERVEY_THREADS", "3")
    sources = {row.variable: row.source for row in Settings.from_environment().table()}
    assert {name: source for name, source in sources.items() if source != "default"} == {
        "SERVEY_THREADS": "SERVEY_THREADS"
    }


def test_a_secret_is_masked_in_the_table():
    environ = {"KEY": "correct horse", "SERVEY_PIN": "4711"}
    settings = Settings.from_environment(environ, plugins=[SecretPlugin()])
    secrets = settings.part(Secrets)
    assert (secrets.key, secrets.pin) == ("correct horse", 4711)
    table = settings.table(environ)
    assert table[-2:] == (
        SettingRow("SERVEY_KEY", "********", "KEY", "A key."),
        SettingRow("SERVEY_PIN", "********", "SERVEY_PIN", "A number."),
    )
    assert "horse" not in str(table)
    assert Settings(Secrets()).table({})[-2].value == ""


@pytest.mark.parametrize("environ", [{"KEY": "horse"}, {"SERVEY_PIN": "horse"}, {"SERVEY_PIN": "47"}])
def test_a_wrong_secret_is_not_shown(environ):
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ, plugins=[SecretPlugin()])
    (variable, text), *_ = environ.items()
    assert str(caught.value).startswith(f"{variable} is not valid: ")
    assert text not in str(caught.value).removeprefix(variable)


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Settings().process.server_port = 1
    with pytest.raises(AttributeError):
        Settings().process = Settings().process


@pytest.mark.parametrize("text", ["10.0.0.7", "10.0.0.0/8, ::1", "fd00::/8", "*"])
def test_proxies_are_addresses_and_networks(text):
    trusted = Settings.from_environment({"FORWARDED_ALLOW_IPS": text}).process.trusted_proxies
    assert ", ".join(trusted) == text


@pytest.mark.parametrize("text", ["proxy", "10.0.0.1/8", "10.0.0.0/33", "*, 10.0.0.7", "10.0.0.300"])
def test_a_proxy_that_is_neither_is_told(text):
    with pytest.raises(SettingsError, match="FORWARDED_ALLOW_IPS"):
        Settings.from_environment({"FORWARDED_ALLOW_IPS": text})


@pytest.mark.parametrize("field", ["SERVER_HOST", "SERVER_PORT", "SERVEY_API_TITLE", "SERVEY_DOCS", "SERVEY_PLUGINS"])
def test_bytes_that_are_no_text_are_refused(field):
    with pytest.raises(SettingsError, match=f"^{field} has bytes that are not UTF-8"):
        Settings.from_environment({field: "a\udcff"})


def test_a_switch_tells_what_it_takes():
    with pytest.raises(SettingsError, match=r"^SERVEY_DOCS is 'maybe': it takes true or false$"):
        Settings.from_environment({"SERVEY_DOCS": "maybe"})


@pytest.mark.parametrize("variable", ["SERVEY_API_SERVERS", "SERVEY_PROBLEM_TYPES"])
@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html;x",
        "https:",
        "https://",
        "https:///path",
        "a b<>",
        "https://example.com/a b",
        'https://example.com/"',
        "https://example.com/'",
        "https://example.com/<b>",
        "https://example.com/a\nb",
        "https://example.com/a\x00b",
        "https://example.com/a\x85b",
        "\\\\example.com",
    ],
)
def test_what_is_no_url_is_refused(variable, url):
    with pytest.raises(SettingsError, match=f"^{variable} has .* which is not a URL"):
        Settings.from_environment({variable: url})


@pytest.mark.parametrize("variable", ["SERVEY_API_SERVERS", "SERVEY_PROBLEM_TYPES"])
@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTP://localhost:8000/a?b#",
        "https://[::1]:8000/",
        "/api",
        "/",
        "api/errors#",
        "../a:b",
        "//example.com/x",
        "https://größe.example/a",
    ],
)
def test_urls_and_references_are_taken(variable, url):
    assert url in str(Settings.from_environment({variable: url}))


@pytest.mark.parametrize("number", ["0", "1025", "1000000", "1e9"])
def test_so_many_workers_are_refused(number):
    with pytest.raises(SettingsError, match=r"^SERVEY_WORKERS is "):
        Settings.from_environment({"SERVEY_WORKERS": number})


# --- keys and stores ------------------------------------------------------------------------------------------------

CONTRADICTIONS = [
    ({"SERVEY_JWKS_ISSUER": "a"}, "SERVEY_JWKS_ISSUER"),
    ({"SERVEY_JWKS_URL": "https://a.b,https://c.d", "SERVEY_JWKS_ISSUER": "a"}, "SERVEY_JWKS_ISSUER"),
    ({"SERVEY_JWKS_URL": "https://a.b,https://c.d"}, "SERVEY_JWKS_ISSUER"),
    ({"SERVEY_JWKS_URL": "https://a.b", "JWT_SECRET_KEY": "x"}, "SERVEY_JWKS_ISSUER"),
    *(
        ({variable: url}, variable)
        for variable in ("SERVEY_JWKS_URL", "SERVEY_OIDC_ISSUER")
        for url in (
            *("http://a.b", "http://127.0.0.1.a.b", "ftp://localhost", "file:///etc/passwd", "a.b", "https://"),
            *("https://me:secret@a.b", "https://a.b#c", "https://a.b:port", "https://a b", "https://a.b,https://a.b"),
        )
    ),
    ({"SERVEY_JWT_PRIVATE_KEY": "/nowhere/key.pem"}, "SERVEY_JWT_PRIVATE_KEY"),
    ({"SERVEY_JWT_PUBLIC_KEY": "."}, "SERVEY_JWT_PUBLIC_KEY"),
    ({"SERVEY_DEBUG_AUTHENTICATOR": "1", "SERVEY_ENV": "production"}, "SERVEY_DEBUG_AUTHENTICATOR"),
    ({"SERVEY_DEBUG_AUTHENTICATOR": "1", "HOST": "0.0.0.0"}, "SERVEY_DEBUG_AUTHENTICATOR"),
    *(
        ({variable: text}, variable)
        for variable in ("SERVEY_RESULT_CACHE", "SERVEY_RATE_LIMITS")
        for text in (
            "redis",
            "redis://",
            "unix://",
            "redis://a:port",
            "Memory",
            "disk",
        )
    ),
    ({"SERVEY_RATE_LIMITS": "off"}, "SERVEY_RATE_LIMITS"),
    *(({"SERVEY_STORE": text}, "SERVEY_STORE") for text in ("Memory", ":memory:", "data/", "~/store.db", "a\0b")),
    *(({"CELERY_BROKER": text}, "CELERY_BROKER") for text in ("amqp", "sqs://host", "amqp://", "redis://h:x")),
    ({"CELERY_BROKER": "amqp://host", "CELERY_BROKER_URL": "amqp://other"}, "CELERY_BROKER"),
    *(({"CELERY_BROKER": f"amqp://a;{other}://b"}, "CELERY_BROKER") for other in ("redis", "amqps")),
    ({"SERVEY_MESSAGE_KEY": "k" * 31}, "SERVEY_MESSAGE_KEY"),
]


@pytest.mark.parametrize(("environ", "variable"), CONTRADICTIONS)
def test_what_cannot_be_is_told_with_its_variable(environ, variable):
    (line,) = refused(environ)
    assert line.startswith(f"{variable} ")
    if variable in ("SERVEY_RESULT_CACHE", "SERVEY_RATE_LIMITS"):
        assert repr(environ[variable]) not in line, "a store's URL may have a password"


def test_brokers_of_two_kinds_are_refused_before_anything_starts():
    (line,) = refused({"CELERY_BROKER": "amqp://me:secret@a;redis://b"})
    assert line.startswith("CELERY_BROKER has URLs of two kinds, amqp and redis: ")
    assert "secret" not in line


def test_the_nodes_of_a_cluster_are_one_broker():
    nodes = "amqp://a;amqp://b:5673//"
    assert Settings.from_environment({"CELERY_BROKER": nodes}).background.broker == nodes


@pytest.mark.parametrize(
    "where", ["off", "memory", "redis://a", "rediss://u:p@a:1/0?x=y", "unix:///a/b?db=1", "valkey://[::1]:6379"]
)
def test_results_are_kept_where_it_is_said(where):
    assert Settings.from_environment({"SERVEY_RESULT_CACHE": where}).stores.result_cache == where


def test_a_key_that_is_not_there_is_not_told():
    (line,) = refused({"SERVEY_JWT_PRIVATE_KEY": "MIIEvQIBADANBgkqhkiG9w0BAQEF"})
    assert "MIIE" not in line


# --- what is made up ------------------------------------------------------------------------------------------------


def test_development_goes_without_a_key_and_a_password():
    made = Settings().with_generated_secrets()
    assert len(made.tokens.jwt_secret_key.encode()) >= 32
    assert len(made.tokens.debug_authenticator_password) == 16
    assert made.generated == ("JWT_SECRET_KEY", "SERVEY_DEBUG_AUTHENTICATOR_PASSWORD")
    assert made.with_generated_secrets() is made
    other = Settings().with_generated_secrets()
    assert made.tokens.jwt_secret_key != other.tokens.jwt_secret_key
    assert made.tokens.debug_authenticator_password != other.tokens.debug_authenticator_password


def test_what_is_made_up_is_masked_and_told_to_be_so():
    made = Settings().with_generated_secrets()
    rows = {row.variable: (row.value, row.source) for row in made.table({})}
    assert rows["JWT_SECRET_KEY"] == rows["SERVEY_DEBUG_AUTHENTICATOR_PASSWORD"] == ("********", "generated")
    assert made.tokens.jwt_secret_key not in str(made.table({}))


def test_nothing_is_made_up_in_production():
    settings = Settings(environment="production")
    assert settings.with_generated_secrets() is settings


@pytest.mark.parametrize(
    "keys",
    [
        {"jwt_secret_key": "x"},
        {"jwt_public_key": "-----BEGIN PUBLIC KEY-----"},
        {"jwks_urls": ("https://a.b",)},
        {"oidc_issuers": ("https://a.b",)},
    ],
)
def test_no_secret_is_made_up_beside_a_key(keys):
    made = Settings(**keys, debug_authenticator=False).with_generated_secrets()
    assert (made.tokens.jwt_secret_key, made.generated) == (keys.get("jwt_secret_key", ""), ())


def test_what_is_secret_is_in_no_traceback():
    settings = Settings(timeout=2.5, jwt_secret_key="hush", result_cache="redis://:hush@here")
    assert repr(settings) == "Settings(timeout=2.5, jwt_secret_key=…, result_cache=…)"


SECRETIVE = {
    "SERVEY_JWKS_URL": "https://issuer.example/keys?api_key=s3cret",
    "SERVEY_OIDC_ISSUER": "https://issuer.example/?key=s3cret",
    "SERVEY_JWT_PUBLIC_KEY": "-----BEGIN EC PRIVATE KEY-----\ns3cret\n-----END EC PRIVATE KEY-----",
    "SERVEY_JWKS_ISSUER": "https://a.example",
}


def test_what_is_secret_in_a_url_or_at_the_wrong_place_is_not_shown():
    settings = Settings.from_environment(SECRETIVE)
    rows = {row.variable: row.value for row in settings.table(SECRETIVE)}
    assert rows["SERVEY_JWKS_URL"] == "https://issuer.example/keys?…"
    assert rows["SERVEY_OIDC_ISSUER"] == "https://issuer.example/?…"
    assert rows["SERVEY_JWT_PUBLIC_KEY"] == "********"
    assert "s3cret" not in repr(settings)
    assert "issuer.example/keys" in repr(settings)
    assert "s3cret" not in "".join(authorizer.origin for authorizer in configured_authorizers(settings.tokens))
    assert "s3cret" not in "".join(repr(authorizer.keys) for authorizer in configured_authorizers(settings.tokens))


@pytest.mark.parametrize("variable", ["SERVEY_JWKS_URL", "SERVEY_OIDC_ISSUER"])
@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@issuer.example/keys",
        "https://me:s3/cret?@issuer.example/keys",
        "me:s3cret@issuer.example",
        "http://issuer.example/keys?key=s3cret",
        "https://issuer.example/keys?key=s3cret,https://issuer.example/keys?key=s3cret",
        "http://issuer.example/#s3cret",
    ],
)
def test_no_error_tells_what_is_secret_in_a_url(variable, url):
    told = "\n".join(refused({variable: url}))
    assert "s3" not in told
    assert "issuer.example" in told


def test_no_error_tells_a_private_key_at_a_wrong_place():
    assert "s3cret" not in "\n".join(refused({"SERVER_PORT": SECRETIVE["SERVEY_JWT_PUBLIC_KEY"]}))


# --- parts ----------------------------------------------------------------------------------------------------------


class ShopSettings(SettingsPart, frozen=True, kw_only=True):
    shop_tills: Annotated[Positive, Variable("SERVEY_SHOP_TILLS", "The number of tills.", ("TILLS",))] = 1
    shop_key: Annotated[str, Variable("SHOP_KEY", "The key of the bank.", secret=True)] = ""

    def problems(self, *, production):
        if production and not self.shop_key:
            yield "SHOP_KEY is not set, and production needs it"


class ShopPlugin(Plugin):
    def settings(self):
        return (ShopSettings,)


def test_a_plugin_brings_settings_that_a_service_reads():
    environ = {"SERVEY_SHOP_TILLS": "3", "SERVEY_THREADS": "2"}
    settings = Settings.from_environment(environ)
    service = Service(plugins=[ShopPlugin()], settings=settings)
    assert service.settings.part(ShopSettings) == ShopSettings(shop_tills=3)
    assert service.settings.calls.threads == 2
    assert service.settings.replace(shop_tills=4).part(ShopSettings).shop_tills == 4


def test_a_plugin_has_its_defaults_where_the_environment_is_not_read(monkeypatch):
    monkeypatch.setenv("SERVEY_SHOP_TILLS", "3")
    assert Service(plugins=[ShopPlugin()]).settings.part(ShopSettings) == ShopSettings()


def test_a_part_of_a_plugin_can_be_passed():
    settings = Settings(ShopSettings(shop_tills=3), timeout=2.5, shop_key="bank")
    assert settings.part(ShopSettings) == ShopSettings(shop_tills=3, shop_key="bank")
    assert Service(plugins=[ShopPlugin()], settings=settings).settings.part(ShopSettings).shop_tills == 3
    assert repr(settings) == "Settings(timeout=2.5, shop_tills=3, shop_key=…)"
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_settings_of_plugins_are_in_the_table_and_known(caplog):
    environ = {"TILLS": "3", "SERVEY_SHOP_TILS": "4"}
    settings = Settings.from_environment(environ, plugins=[ShopPlugin()])
    assert settings.table(environ)[-2:] == (
        SettingRow("SERVEY_SHOP_TILLS", "3", "TILLS", "The number of tills."),
        SettingRow("SHOP_KEY", "", "default", "The key of the bank."),
    )
    assert warned(caplog) == ["SERVEY_SHOP_TILS is not a setting of servey; did you mean SERVEY_SHOP_TILLS?"]


def test_wrong_values_of_plugins_and_of_servey_are_told_at_once():
    environ = {"SERVEY_THREADS": "no", "SERVEY_SHOP_TILLS": "0", "SERVEY_ENV": "production", "JWT_SECRET_KEY": "x"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ, plugins=[ShopPlugin()])
    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "SERVEY_THREADS",
        "SERVEY_SHOP_TILLS",
        "SHOP_KEY",
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"timeouts": 3}, "no setting has the name timeouts; did you mean timeout?"),
        ({"shop_tills": 3}, "no setting has the name shop_tills"),
        ({"timeout": "3"}, "timeout is '3': Expected `float`, got `str`"),
        ({"threads": 0}, "threads is 0: Expected `int` >= 1"),
        ({"jwt_secret_key": b"secret"}, "jwt_secret_key is not valid: Expected `str`, got `bytes`"),
        ({"a": 1, "b": 2}, "no setting has the name a\nno setting has the name b"),
    ],
)
@pytest.mark.parametrize("make", [Settings, Settings().replace])
def test_a_wrong_field_is_an_error(make, fields, message):
    with pytest.raises(SettingsError) as caught:
        make(**fields)
    assert str(caught.value) == message


def test_a_part_that_no_plugin_brings_is_an_error():
    with pytest.raises(DefinitionError, match=r"the settings have no ShopSettings"):
        Settings().part(ShopSettings)


class SameField(SettingsPart, frozen=True, kw_only=True):
    timeout: Annotated[float, Variable("SHOP_TIMEOUT", "The seconds of a sale.")] = 1.0


class SameVariable(SettingsPart, frozen=True, kw_only=True):
    shop_port: Annotated[int, Variable("SHOP_PORT", "The port of the bank.", ("PORT",))] = 1


class NoVariable(SettingsPart, frozen=True, kw_only=True):
    shop_port: int = 1


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (SameField, r"two parts of the settings have timeout: CallSettings and SameField"),
        (SameVariable, r"two parts of the settings have PORT: ProcessSettings and SameVariable"),
        (NoVariable, r"NoVariable\.shop_port has no variable"),
    ],
)
def test_a_part_that_cannot_be_read_is_an_error(part, message):
    with pytest.raises(DefinitionError, match=message):
        Settings(part())


def test_no_part_has_more_than_25_fields():
    assert max(len(type(part).__struct_fields__) for part in Settings().parts) <= 25


def test_two_plugins_with_the_same_part_have_it_once():
    class Twice(ShopPlugin):
        pass

    settings = Settings.from_environment({"SERVEY_SHOP_TILLS": "3"}).with_plugins([ShopPlugin(), Twice()])
    assert settings.parts.count(ShopSettings(shop_tills=3)) == 1
