"""What the log warns of at the start, with a broker."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from servey.background_call.broker_warnings import log_broker_warnings
from servey.settings import Settings

RABBITMQ, REDIS = "amqp://me:secret@host//", "redis://:secret@host"
KEY = "k" * 32


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Any:
    """Return what is logged for settings: the level, and what the line is about."""

    def logged(settings: Settings) -> list[tuple[str, str]]:
        caplog.clear()
        caplog.set_level(logging.INFO, "servey.background")
        log_broker_warnings(settings)
        assert "secret" not in caplog.text
        return [(record.levelname, record.message.partition("(")[0].partition(",")[0]) for record in caplog.records]

    return logged


NO_KEY = ("WARNING", "no key signs background calls")
NO_STORE = "each machine has its own SERVEY_STORE "


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({}, []),
        ({"broker": RABBITMQ}, [NO_KEY, ("WARNING", NO_STORE)]),
        ({"broker": RABBITMQ, "message_key": KEY}, [("WARNING", NO_STORE)]),
        ({"broker": RABBITMQ, "jwt_secret_key": KEY}, [("WARNING", NO_STORE)]),
        ({"broker": RABBITMQ, "message_key": KEY, "store": REDIS}, []),
        ({"broker": RABBITMQ, "message_key": KEY, "environment": "development"}, [("INFO", NO_STORE)]),
        (
            {"broker": RABBITMQ, "message_key": KEY, "store": "memory"},
            [("WARNING", "each process has its own SERVEY_STORE ")],
        ),
        ({"broker": REDIS, "message_key": KEY}, []),
        ({"broker": REDIS, "message_key": KEY, "store": "other.db"}, [("WARNING", NO_STORE)]),
        ({"broker": f"{REDIS};{REDIS}2", "message_key": KEY}, [("WARNING", NO_STORE)]),
    ],
)
def test_the_log_warns_of_each_missing_setting(logged: Any, settings: dict[str, Any], lines: list[tuple[str, str]]):
    production = {"environment": "production", "jwt_secret_key": ""} | settings
    assert logged(Settings(**production)) == lines


def test_a_generated_key_does_not_count(logged: Any):
    settings = Settings(broker="redis://127.0.0.1").with_generated_secrets()
    assert logged(settings) == [NO_KEY]


def test_the_lines_name_what_is_not_shared_and_the_variables(caplog: pytest.LogCaptureFixture):
    log_broker_warnings(Settings(broker=RABBITMQ, environment="production"))
    for word in ("SERVEY_MESSAGE_KEY", "JWT_SECRET_KEY", "`submit`"):
        assert word in caplog.messages[0]
    for word in ("overlap='skip'", "`once`", "idempotency", "two beats", "SERVEY_STORE=redis://"):
        assert word in caplog.messages[1]
