"""The settings: one documented field per environment variable, read here and nowhere else."""

from __future__ import annotations

import binascii
import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from servey.errors import SettingsError, nearest

_log = logging.getLogger("servey.settings")


class Variable(NamedTuple):
    """The environment variable of a field.

    Args:
        name: The variable.
        doc: What it does, with its unit.
        aliases: Other names it is read from, later ones last.
        secret: Whether its value is never shown.
    """

    name: str
    doc: str
    aliases: tuple[str, ...] = ()
    secret: bool = False


class SettingRow(NamedTuple):
    """One row of the effective table: what a variable is set to, and by what."""

    variable: str
    value: str
    source: str
    doc: str


_ORIGIN = r"[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+"
"""What a browser sends as ``Origin`` (RFC 6454 §6.2): a host in lower case, an international one in Punycode."""

_PART = r"[^\x00-\x20\x7f-\xa0\s\"'`<>\\]"
_URL = rf"https?://(?![/?#]){_PART}+|(?![a-z][a-z0-9+.-]*:){_PART}+"
"""A URL of the web, or a reference relative to one (RFC 3986 §4.1), that can stand in a page as it is."""

_URLSAFE = bytes.maketrans(b"+/", b"-_")

_STORE = r"(redis|rediss|valkey|valkeys)://[^\s/?#]+(/\S*)?(\?\S*)?|unix://[^\s?#]*/\S+"

HOW_TO_MAKE_A_SECRET = "`openssl rand -base64 32` makes one"

_MADE_UP = {
    "jwt_secret_key": "JWT_SECRET_KEY",
    "debug_authenticator_password": "SERVEY_DEBUG_AUTHENTICATOR_PASSWORD",
}
"""The variables of what is made up: to read them off the fields takes longer than all the rest of a start."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
MOST_WORKERS = 1024
"""More processes than that are a slip of the pen."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
FiniteSeconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says. Lists are written with commas.

    Raises:
        SettingsError: A value is wrong, or two contradict each other.

    Example:
        >>> Settings.from_environment({"SERVER_PORT": "9000"}).server_port
        9000
    """

    action_path: Annotated[
        str,
        Variable(
            "SERVEY_ACTION_PATH",
            "The modules (with their submodules) in which actions and resources are found; several with commas.",
        ),
    ] = "actions"
    environment: Annotated[
        Literal["", "development", "production"],
        Variable(
            "SERVEY_ENV",
            "`development` or `production`. Unset: development when bound to a loopback address, else production.",
        ),
    ] = ""
    server_host: Annotated[
        str, Variable("SERVER_HOST", "The address that the server binds to.", ("SERVEY_SERVER_HOST", "HOST"))
    ] = "127.0.0.1"
    server_port: Annotated[
        Port, Variable("SERVER_PORT", "The port that the server binds to.", ("SERVEY_SERVER_PORT", "PORT"))
    ] = 8000
    workers: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS)],
        Variable("SERVEY_WORKERS", "Server processes that share the port, 1024 at most.", ("WEB_CONCURRENCY",)),
    ] = 1
    trusted_proxies: Annotated[
        tuple[str, ...],
        Variable(
            "FORWARDED_ALLOW_IPS",
            "Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: addresses and networks, or `*`.",
            ("SERVEY_FORWARDED_ALLOW_IPS",),
        ),
    ] = ("127.0.0.1", "::1")
    docs: Annotated[
        bool, Variable("SERVEY_DOCS", "Whether `/docs`, with its pages, and `/openapi.json` are served.")
    ] = True
    api_title: Annotated[str, Variable("SERVEY_API_TITLE", "The title of the OpenAPI document.")] = "API"
    api_version: Annotated[str, Variable("SERVEY_API_VERSION", "The version of the API in its OpenAPI document.")] = (
        "0.1.0"
    )
    api_description: Annotated[
        str, Variable("SERVEY_API_DESCRIPTION", "The description in the OpenAPI document, in Markdown.")
    ] = ""
    api_servers: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_API_SERVERS",
            "The URLs in the OpenAPI document at which the service is reached. Unset: where the document is served.",
        ),
    ] = ()
    problem_types: Annotated[
        str,
        Variable(
            "SERVEY_PROBLEM_TYPES",
            "What the `type` of a problem begins with, before the code: the URL of an errors catalogue of your own.",
        ),
    ] = ""
    plugins: Annotated[
        tuple[str, ...],
        Variable("SERVEY_PLUGINS", "Plugins to load besides the installed ones: `module:Name,…`."),
    ] = ()
    timeout: Annotated[
        Seconds,
        Variable("SERVEY_TIMEOUT", "Seconds that a call over a network may take unless its action says otherwise."),
    ] = 15.0
    threads: Annotated[Positive, Variable("SERVEY_THREADS", "Worker threads for actions that are plain functions.")] = (
        40
    )
    max_body_size: Annotated[Positive, Variable("SERVEY_MAX_BODY_SIZE", "The largest request body, in bytes.")] = (
        6 * 1024 * 1024
    )
    max_query_size: Annotated[Positive, Variable("SERVEY_MAX_QUERY_SIZE", "The longest query string, in bytes.")] = (
        64 * 1024
    )
    unknown_query: Annotated[
        Literal["refuse", "ignore"],
        Variable(
            "SERVEY_UNKNOWN_QUERY",
            "What becomes of query parameters that the action does not have: `refuse` (422) or `ignore`.",
        ),
    ] = "refuse"
    cors_origins: Annotated[
        tuple[str, ...],
        Variable(
            "CORS_ALLOWED_ORIGINS",
            "Origins whose pages may call the service (`https://example.com,…`), or `*` for all.",
            ("SERVEY_CORS_ALLOWED_ORIGINS",),
        ),
    ] = ()
    cors_credentials: Annotated[
        bool,
        Variable(
            "CORS_ALLOW_CREDENTIALS",
            "Whether those pages may send cookies and credentials; not together with `*`.",
            ("SERVEY_CORS_ALLOW_CREDENTIALS",),
        ),
    ] = False
    jwt_secret_key: Annotated[
        str,
        Variable(
            "JWT_SECRET_KEY",
            "The secret that tokens are signed and verified with (HS256): 32 bytes or more. Unset: one is made up at "
            "every start, while you develop.",
            ("SERVEY_JWT_SECRET_KEY",),
            secret=True,
        ),
    ] = ""
    jwt_private_key: Annotated[
        str,
        Variable(
            "SERVEY_JWT_PRIVATE_KEY",
            "The private key that tokens are signed and verified with: PEM, or the file that has it.",
            secret=True,
        ),
    ] = ""
    jwt_public_key: Annotated[
        str,
        Variable(
            "SERVEY_JWT_PUBLIC_KEY",
            "Public keys that tokens are verified with: PEM, several one after another, or the file that has them.",
        ),
    ] = ""
    jwt_issuer: Annotated[
        str,
        Variable(
            "SERVEY_JWT_ISSUER", "The `iss` of tokens by the keys above: what is issued has it, and what comes must."
        ),
    ] = ""
    jwt_audience: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_JWT_AUDIENCE",
            "What this service is called in the `aud` of tokens; one of these has to be in it. Unset: tokens with an "
            "`aud` are refused.",
        ),
    ] = ()
    jwt_leeway: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=600)],
        Variable("SERVEY_JWT_LEEWAY", "Seconds that the clocks of issuers may differ from this one."),
    ] = 30.0
    jwt_lifetime: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)],
        Variable("SERVEY_JWT_LIFETIME", "Seconds for which issued tokens are valid."),
    ] = 3600
    jwks_urls: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_JWKS_URL", "Where the public keys of issuers are published as JSON Web Key Sets (RFC 7517 §5)."
        ),
    ] = ()
    jwks_issuers: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_JWKS_ISSUER",
            "The `iss` of tokens by each of the key sets, in the same order; needed where there are other keys, too.",
        ),
    ] = ()
    oidc_issuers: Annotated[
        tuple[str, ...],
        Variable(
            "SERVEY_OIDC_ISSUER",
            "OpenID Connect issuers whose tokens are taken; where their keys are is discovered.",
        ),
    ] = ()
    debug_authenticator: Annotated[
        bool | None,
        Variable(
            "SERVEY_DEBUG_AUTHENTICATOR",
            "Whether there is a login for development at `/login`. Unset: in development, unless a plugin has an "
            "authenticator. It cannot be had in production.",
        ),
    ] = None
    debug_authenticator_username: Annotated[
        str, Variable("SERVEY_DEBUG_AUTHENTICATOR_USERNAME", "Who logs in there.", ("DEBUG_AUTHENTICATOR_USERNAME",))
    ] = "root"
    debug_authenticator_password: Annotated[
        str,
        Variable(
            "SERVEY_DEBUG_AUTHENTICATOR_PASSWORD",
            "The password. Unset: one is made up at every start, and printed.",
            secret=True,
        ),
    ] = ""
    result_cache: Annotated[
        str,
        Variable(
            "SERVEY_RESULT_CACHE",
            "Where results of actions with a `cache_control` are kept: `memory`, the `redis://…` of a store that "
            "several processes share, or `off`.",
            secret=True,
        ),
    ] = "memory"
    result_cache_bytes: Annotated[
        Positive, Variable("SERVEY_RESULT_CACHE_BYTES", "How much memory the results in it may take, in bytes.")
    ] = 64 * 1024 * 1024
    result_cache_entries: Annotated[
        Positive, Variable("SERVEY_RESULT_CACHE_ENTRIES", "How many results may be in the memory at once.")
    ] = 10_000
    rate_limits: Annotated[
        str,
        Variable(
            "SERVEY_RATE_LIMITS",
            "Where the calls of actions with a `rate_limit` are counted: `memory`, for every process alone, or the "
            "`redis://…` of a store that several processes share.",
            secret=True,
        ),
    ] = "memory"
    store_timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=60)],
        Variable(
            "SERVEY_STORE_TIMEOUT", "Seconds after which a call goes on without an answer of those shared stores."
        ),
    ] = 0.25
    graphql: Annotated[bool, Variable("SERVEY_GRAPHQL", "Whether `/graphql` is served.")] = True
    graphiql: Annotated[
        bool | None,
        Variable(
            "SERVEY_GRAPHIQL",
            "Whether the page `/graphiql/` is served, on which queries are tried out. Unset: in development.",
        ),
    ] = None
    graphql_introspection: Annotated[
        str,
        Variable(
            "SERVEY_GRAPHQL_INTROSPECTION",
            "Who may ask for the schema by GraphQL: `on` for everybody, `off` for nobody, or the scope that is needed. "
            "Unset: everybody in development, nobody in production.",
        ),
    ] = ""
    graphql_get: Annotated[
        Literal["", "on", "off", "guarded"],
        Variable(
            "SERVEY_GRAPHQL_GET",
            "Which queries are taken by GET: `on` for all, `off` for none, `guarded` for persisted documents and those "
            "with a header that no page of another site can send unasked. Unset: all in development, guarded in "
            "production.",
        ),
    ] = ""
    graphql_documents: Annotated[
        str,
        Variable(
            "SERVEY_GRAPHQL_DOCUMENTS",
            "A JSON file of persisted documents by their hashes, which callers may name instead of sending them.",
        ),
    ] = ""
    graphql_only_documents: Annotated[
        bool, Variable("SERVEY_GRAPHQL_ONLY_DOCUMENTS", "Whether nothing but those documents is executed.")
    ] = False
    graphql_max_depth: Annotated[
        Positive, Variable("SERVEY_GRAPHQL_MAX_DEPTH", "How deep fields may be nested in a GraphQL document.")
    ] = 15
    graphql_max_aliases: Annotated[
        Annotated[int, msgspec.Meta(ge=0)],
        Variable("SERVEY_GRAPHQL_MAX_ALIASES", "How many fields may have an alias there, those of fragments as used."),
    ] = 30
    graphql_max_tokens: Annotated[
        Positive, Variable("SERVEY_GRAPHQL_MAX_TOKENS", "How many tokens (words and signs) it may have.")
    ] = 2000
    graphql_max_fields: Annotated[
        Positive,
        Variable("SERVEY_GRAPHQL_MAX_FIELDS", "How many fields it may ask for, those of fragments as used."),
    ] = 300
    graphql_max_cost: Annotated[
        Positive,
        Variable(
            "SERVEY_GRAPHQL_MAX_COST",
            "What it may cost at most: a field costs 1, one that calls an action 10, and what is in a list ten times "
            "that.",
        ),
    ] = 20_000
    graphql_max_values: Annotated[
        Positive,
        Variable(
            "SERVEY_GRAPHQL_MAX_VALUES",
            "How many values the variables of a request may have, each item of a list and each member of an object "
            "counted; where it calls more than ten actions, as many fewer. They are read in Python, some 300,000 in a "
            "second, where those of REST are read in C.",
        ),
    ] = 20_000
    graphql_max_batch: Annotated[
        Positive,
        Variable("SERVEY_GRAPHQL_MAX_BATCH", "How many GraphQL requests may come in one HTTP request, as an array."),
    ] = 1
    shutdown_timeout: Annotated[
        FiniteSeconds, Variable("SERVEY_SHUTDOWN_TIMEOUT", "Seconds that calls under way get when the service stops.")
    ] = 10.0
    shutdown_delay: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=3600)],
        Variable(
            "SERVEY_SHUTDOWN_DELAY",
            "Seconds that a stopping server goes on taking requests while `/readyz` says that it is not ready.",
        ),
    ] = 0.0
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        Variable("LOG_LEVEL", "The least severe messages that are logged.", ("SERVEY_LOG_LEVEL", "LOGLEVEL")),
    ] = "INFO"
    made_up: tuple[str, ...] = ()
    """The variables whose values `with_made_up` made up."""

    def __post_init__(self) -> None:
        problems = [
            f"CORS_ALLOWED_ORIGINS has {origin!r}, which is no origin: write scheme and host in lower case, "
            "as in https://example.com, without a path and without a pattern"
            for origin in self.cors_origins
            if origin != "*" and not re.fullmatch(_ORIGIN, origin)
        ]
        if "*" in self.cors_origins and self.cors_credentials:
            problems.append(
                "CORS_ALLOWED_ORIGINS is * and CORS_ALLOW_CREDENTIALS is on: every page of the web could act for "
                "your users. List the origins, or switch credentials off."
            )
        if "*" in self.trusted_proxies and len(self.trusted_proxies) > 1:
            problems.append("FORWARDED_ALLOW_IPS has * and more: * alone believes everybody, so take the rest away")
        problems += [
            f"FORWARDED_ALLOW_IPS has {proxy!r}, which is neither an address nor a network: write 10.0.0.7, or "
            "10.0.0.0/8 with zeros after the prefix"
            for proxy in self.trusted_proxies
            if proxy != "*" and not _is_network(proxy)
        ]
        problems += [
            f"{name} has {url!r}, which is no URL: write https://example.com/path, or a path; without spaces, quotes "
            "and angle brackets"
            for name, urls in (
                ("SERVEY_API_SERVERS", self.api_servers),
                ("SERVEY_PROBLEM_TYPES", filter(None, (self.problem_types,))),
            )
            for url in urls
            if not re.fullmatch(_URL, url, re.IGNORECASE)
        ]
        problems += self._key_problems()
        problems += [
            f"{name} is not valid: it takes {taken}, or the URL of a store: redis://, rediss://, unix:// or valkey://, "
            "with what is needed to reach it"
            for name, where, words, taken in (
                ("SERVEY_RESULT_CACHE", self.result_cache, ("memory", "off"), "memory or off"),
                ("SERVEY_RATE_LIMITS", self.rate_limits, ("memory",), "memory"),
            )
            if where not in words and not _is_store(where)
        ]
        if self.graphql_only_documents and not self.graphql_documents:
            problems.append(
                "SERVEY_GRAPHQL_ONLY_DOCUMENTS is on, and there are none: name their file in SERVEY_GRAPHQL_DOCUMENTS"
            )
        if re.search(r"[\s\"\\]", self.graphql_introspection):
            problems.append(
                f"SERVEY_GRAPHQL_INTROSPECTION is {self.graphql_introspection!r}: write on, off or one scope "
                "(RFC 6749 §3.3)"
            )
        if self.debug_authenticator and self.production:
            problems.append(
                "SERVEY_DEBUG_AUTHENTICATOR is on, and this is production, where there is no login for development: "
                "take it away, or set SERVEY_ENV=development"
            )
        if problems:
            raise SettingsError("\n".join(problems))

    def _key_problems(self) -> Iterator[str]:
        """Yield what is wrong with where the keys of tokens are."""
        for name, value in (
            ("SERVEY_JWT_PRIVATE_KEY", self.jwt_private_key),
            ("SERVEY_JWT_PUBLIC_KEY", self.jwt_public_key),
        ):
            if value and "-----BEGIN" not in value:
                try:
                    with open(value, "rb"):
                        pass
                except (OSError, ValueError) as error:
                    why = getattr(error, "strerror", None) or "that is no name of a file"
                    yield f"{name} is neither PEM (-----BEGIN …) nor a file that can be read: {why}"
        if self.jwks_issuers and len(self.jwks_issuers) != len(self.jwks_urls):
            yield (
                f"SERVEY_JWKS_ISSUER has {len(self.jwks_issuers)} and SERVEY_JWKS_URL {len(self.jwks_urls)}: write one "
                "issuer for each URL, in the same order"
            )
        has_others = self.oidc_issuers or self.jwt_secret_key or self.jwt_private_key or self.jwt_public_key
        if self.jwks_urls and not self.jwks_issuers and (has_others or len(set(self.jwks_urls)) > 1):
            yield (
                "SERVEY_JWKS_ISSUER is not set, and there are other keys beside those of SERVEY_JWKS_URL: whoever has "
                "one could make tokens of the other's callers. Write the issuer of each URL"
            )
        for name, urls in (("SERVEY_JWKS_URL", self.jwks_urls), ("SERVEY_OIDC_ISSUER", self.oidc_issuers)):
            for url in urls:
                if not is_trusted_url(url):
                    yield f"{name} has {shown_url(url)!r}, from which keys cannot be trusted: write an https:// URL"
            for url in sorted({url for url in urls if urls.count(url) > 1}):
                yield f"{name} has {shown_url(url)!r} more than once"

    def __repr__(self) -> str:
        """Return what differs from the defaults, without the secrets: a traceback may show it."""
        variables, defaults = self.variables(), type(self)()
        changed = {name: getattr(self, name) for name in variables if getattr(self, name) != getattr(defaults, name)}
        shown = (
            f"{name}={'…' if _is_secret(variables[name], value) else repr(_without_secrets(name, value))}"
            for name, value in changed.items()
        )
        return f"Settings({', '.join(shown)})"

    @property
    def is_local(self) -> bool:
        """Whether the server is bound to this machine alone."""
        return is_loopback(self.server_host)

    @property
    def production(self) -> bool:
        """Whether the service runs in production; with no `SERVEY_ENV`, when bound to more than this machine."""
        return self.environment == "production" or (self.environment == "" and not self.is_local)

    @property
    def serves_graphiql(self) -> bool:
        """Whether ``/graphiql/`` is served."""
        return self.graphql and (not self.production if self.graphiql is None else self.graphiql)

    @property
    def introspection(self) -> str:
        """Who may introspect: ``on``, ``off``, or a scope."""
        return self.graphql_introspection or ("off" if self.production else "on")

    @property
    def graphql_by_get(self) -> str:
        """Which queries are taken by GET: ``on``, ``off`` or ``guarded``."""
        return self.graphql_get or ("guarded" if self.production else "on")

    @property
    def has_keys(self) -> bool:
        """Whether they say what tokens are verified with."""
        return bool(
            self.jwt_secret_key or self.jwt_private_key or self.jwt_public_key or self.jwks_urls or self.oidc_issuers
        )

    def with_made_up(self) -> Settings:
        """Return the settings with what development goes without: a secret for tokens, and a password for the login.

        What starts several processes calls it before, so that all of them have the same. In production nothing is
        made up.
        """
        made: dict[str, Any] = {}
        if not self.production:
            if not self.has_keys:
                made["jwt_secret_key"] = os.urandom(32).hex()
            if not self.debug_authenticator_password and self.debug_authenticator is not False:
                made["debug_authenticator_password"] = (
                    binascii.b2a_base64(os.urandom(12), newline=False).translate(_URLSAFE).decode()
                )
        if not made:
            return self
        names = tuple(_MADE_UP[field] for field in made)
        return msgspec.structs.replace(self, **made, made_up=(*self.made_up, *names))

    def problem_types_at(self, root_path: str = "") -> str:
        """Return what the ``type`` of a problem (RFC 9457) begins with, before the code; empty for ``about:blank``.

        The service's own errors page is named by its full path, as RFC 9457 §3.1.1 recommends for what is no whole URL.

        Args:
            root_path: The path that the service is mounted at.
        """
        if self.problem_types or not self.docs:
            return self.problem_types
        return f"{root_path}/docs/errors#"

    @classmethod
    def variables(cls) -> dict[str, Variable]:
        """Return the variable of every field."""
        hints = get_type_hints(cls, include_extras=True)
        return {
            name: variable
            for name in cls.__struct_fields__
            for variable in getattr(hints[name], "__metadata__", ())
            if isinstance(variable, Variable)
        }

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Args:
            environ: The variables; default: the process's, or what `use_in_this_process` has set. An empty value counts
                as unset.

        Raises:
            SettingsError: Some values are wrong; the message tells all of them.
        """
        if environ is None and _of_this_process:
            return _of_this_process[0]
        environ = os.environ if environ is None else environ
        hints = get_type_hints(cls, include_extras=True)
        values: dict[str, Any] = {}
        problems: list[str] = []
        for field, name, text in _given(cls.variables(), environ):
            if not text.isascii() and _is_undecodable(text):
                problems.append(f"{name} has bytes that are not UTF-8: write it anew")
                continue
            try:
                values[field] = _read(hints[field], text)
            except msgspec.ValidationError as error:
                shown = "not valid" if _is_secret(cls.variables()[field], text) else repr(text)
                problems.append(f"{name} is {shown}: {_taken(hints[field]) or error}")
        try:
            settings = cls(**values)
        except SettingsError as error:
            problems.append(str(error))
        else:
            if not problems:
                _warn_of_unknown(cls.variables(), environ)
                return settings
        raise SettingsError("\n".join(problems))

    def table(self, environ: Mapping[str, str] | None = None) -> tuple[SettingRow, ...]:
        """Return every variable with its effective value (secrets masked) and where that comes from."""
        environ = os.environ if environ is None else environ
        given = {field: name for field, name, _ in _given(self.variables(), environ)}
        rows: list[SettingRow] = []
        for field, variable in self.variables().items():
            value = getattr(self, field)
            text = _shown(_without_secrets(field, value))
            if text and _is_secret(variable, value):
                text = "********"
            source = "made up" if variable.name in self.made_up else given.get(field, "default")
            rows.append(SettingRow(variable.name, text, source, variable.doc))
        return tuple(rows)


_of_this_process: list[Settings] = []


def use_in_this_process(settings: Settings) -> None:
    """Have `Settings.from_environment` return `settings` in this process.

    A server calls this before it imports the user's application. So a service in there has the address that the command
    line names, and the secrets that all processes of the server share.
    """
    _of_this_process[:] = [settings]


def _given(variables: Mapping[str, Variable], environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield ``(field, variable, text)`` for every field that the environment sets."""
    for field, variable in variables.items():
        for name in (variable.name, *variable.aliases):
            if text := environ.get(name, "").strip():
                yield field, name, text
                break


_STORES_OF_ITS_OWN = ("memory", "off")
"""What a store may be that is no URL, and so has no password in it."""


def _is_secret(variable: Variable, value: Any) -> bool:
    """Return whether a value is never shown: by its variable, or since a private key has got into another one."""
    return (variable.secret and value not in _STORES_OF_ITS_OWN) or "PRIVATE KEY" in _shown(value)


def _without_secrets(field: str, value: Any) -> Any:
    """Return a value without what may be secret in its URLs, where it has such as keys are fetched from."""
    return tuple(map(shown_url, value)) if field in ("jwks_urls", "oidc_issuers") else value


def shown_url(url: str) -> str:
    """Return a URL as it may be shown: without a name and a password, and without its query, which may have a key.

    Example:
        >>> shown_url("https://me:secret@issuer.example/keys?api_key=secret")
        'https://…@issuer.example/keys?…'
    """
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        scheme, rest = "", url
    if "@" in rest:
        rest = "…" + rest[rest.rindex("@") :]
    shown, *more = re.split(r"[?#]", rest, maxsplit=1)
    return f"{scheme}{slashes}{shown}{'?…' if more else ''}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(hint: Any, text: str) -> Any:
    kind = hint.__origin__
    if kind == bool | None:
        kind = bool
    if getattr(kind, "__origin__", None) is tuple:
        return tuple(item.strip() for item in text.split(",") if item.strip())
    if kind is bool:
        text = {"on": "true", "yes": "true", "off": "false", "no": "false"}.get(text.lower(), text)
    if "DEBUG" in getattr(kind, "__args__", ()):
        text = text.upper()
    return msgspec.convert(text, hint, strict=False)


def _taken(hint: Any) -> str:
    """Return what a variable takes, where its type lists that."""
    if hint.__origin__ is bool:
        return "it takes true or false"
    if get_origin(hint.__origin__) is not Literal:
        return ""
    return "it takes " + " or ".join(value for value in get_args(hint.__origin__) if value)


def _warn_of_unknown(variables: Mapping[str, Variable], environ: Mapping[str, str]) -> None:
    known = {name for variable in variables.values() for name in (variable.name, *variable.aliases)}
    for name in sorted(environ):
        if name.startswith("SERVEY_") and name not in known:
            near = nearest(name, known)
            _log.warning("%s is no setting of servey%s", name, f"; did you mean {near}?" if near else "")


def is_trusted_url(url: str) -> bool:
    """Return whether what is fetched from a URL is what its host sent: by TLS, or from this machine."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if (
        not host
        or parts.username is not None
        or parts.fragment
        or not url.isascii()
        or re.search(r"[\s\x00-\x20]", url)
    ):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def _is_store(url: str) -> bool:
    if not re.fullmatch(_STORE, url):
        return False
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _is_undecodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _is_network(text: str) -> bool:
    if text in ("127.0.0.1", "::1"):
        return True
    import ipaddress

    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether a name or an address of a host is that of this machine itself."""
    if host in ("localhost", "127.0.0.1", "::1"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
