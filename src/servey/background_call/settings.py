"""The settings of background calls and schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from servey.security.settings import HOW_TO_MAKE_A_SECRET
from servey.security.urls import host_of, is_loopback, shown_url
from servey.settings_part import Seconds, SettingsPart, Variable

DEFAULT_STORE = ".servey/store.db"
BROKER_SCHEMES = ("amqp", "amqps", "redis", "rediss")
SHORTEST_KEY = 32
"""The least length of ``SERVEY_MESSAGE_KEY``, in bytes (RFC 7518 §3.2)."""


class BackgroundSettings(SettingsPart, frozen=True, kw_only=True):
    """The store of background calls, and the processes that make them."""

    store: Annotated[
        str,
        Variable(
            "SERVEY_STORE",
            "Where servey keeps what processes share: the path of an SQLite file, `memory` of the process, or "
            "`redis://…`. Without a broker, the file has the background calls, too. Unset, with a Redis broker: the "
            "broker.",
            has_urls=True,
        ),
    ] = DEFAULT_STORE
    broker: Annotated[
        str,
        Variable(
            "CELERY_BROKER",
            "The broker of background calls: `amqp://…` or `amqps://…` (RabbitMQ), `redis://…` or `rediss://…`. Celery "
            "workers then make them. Unset: the calls are in `SERVEY_STORE`.",
            ("CELERY_BROKER_URL",),
            agrees=True,
            has_urls=True,
        ),
    ] = ""
    message_key: Annotated[
        str,
        Variable(
            "SERVEY_MESSAGE_KEY",
            "The secret that signs background calls in a broker, 32 bytes or more; all processes have the same. Unset: "
            "it is derived from `JWT_SECRET_KEY`.",
            secret=True,
        ),
    ] = ""
    background: Annotated[
        bool,
        Variable(
            "SERVEY_BACKGROUND",
            "Whether servers make background calls and run schedules: `on`, or `off` to leave them to `servey worker`.",
        ),
    ] = True
    background_calls: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10_000)],
        Variable("SERVEY_BACKGROUND_CALLS", "The number of background calls that a process makes at the same time."),
    ] = 8
    background_timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=86400)],
        Variable(
            "SERVEY_BACKGROUND_TIMEOUT",
            "The time limit of a background call in seconds, unless its action sets another.",
        ),
    ] = 1200.0
    queue_timeout: Annotated[
        Seconds,
        Variable("SERVEY_QUEUE_TIMEOUT", "The seconds that a call waits until the queue has its background calls."),
    ] = 5.0
    max_delay: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=86400)],
        Variable("SERVEY_MAX_DELAY", "The longest delay of a background call, in seconds."),
    ] = 900.0

    @property
    def is_local(self) -> bool:
        """Whether the broker is on this machine, or there is none."""
        return all(is_loopback(host_of(url) or "") for url in self.broker.split(";") if url)

    @property
    def shared_store(self) -> str:
        """The store of small entries: `store`, or a Redis broker if `store` has its default."""
        has_redis = self.broker.startswith(("redis://", "rediss://")) and ";" not in self.broker
        return self.broker if has_redis and self.store == DEFAULT_STORE else self.store

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield a store, a broker and a key that cannot be used."""
        is_misspelt = self.store != "memory" and self.store.strip(" :").casefold() in {"", "memory"}
        is_directory = self.store.endswith("/") and "://" not in self.store
        if is_misspelt or is_directory or "\0" in self.store or self.store.startswith("~"):
            yield "SERVEY_STORE is not valid: it takes memory, the path of a file, or redis://host:6379/0"
        schemes = {url: url.partition("://")[0] for url in self.broker.split(";") if url}
        if len(kinds := sorted(set(schemes.values()))) > 1:
            yield (
                f"CELERY_BROKER has URLs of two kinds, {' and '.join(kinds)}: several URLs are the nodes of one "
                "cluster, so write the same scheme before each"
            )
        for url, scheme in schemes.items():
            if scheme not in BROKER_SCHEMES or not host_of(url):
                yield (
                    f"CELERY_BROKER is not valid: {shown_url(url)!r} is not the URL of a broker; write "
                    "amqp://user:password@host:5672/vhost, redis://host:6379/0, or amqps:// and rediss:// with TLS"
                )
        if self.message_key and len(self.message_key.encode()) < SHORTEST_KEY:
            yield f"SERVEY_MESSAGE_KEY has less than {SHORTEST_KEY} bytes: {HOW_TO_MAKE_A_SECRET}"
