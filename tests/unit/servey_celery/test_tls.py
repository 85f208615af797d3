"""A broker and a store get nothing, and above all no password, before their certificate is verified."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servey import background
from servey.action.action import action
from servey.errors import OverloadedError
from servey.servey_celery.tls import broker_tls, result_tls
from servey.service import Service
from servey.settings import Settings
from support.tls import TlsServer, tls_server, write_certificate

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
USES = ("amqps broker", "rediss broker", "rediss store")


@action
def note() -> None: ...


async def use(what: str, port: int) -> None:
    """Have a service connect to a server at a port."""
    scheme, place = what.split()
    url = f"{scheme}://user:secret@{HERE}:{port}/"
    settings: dict[str, Any] = {"broker": url} if place == "broker" else {"store": url}
    async with Service([note], settings=Settings(**settings, queue_timeout=5)).running() as service:
        if place == "broker":
            await background.asubmit(note)
        elif place == "store":
            await service.stores.entries.get("key")


@pytest.fixture(params=USES)
def what(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return tmp_path / "certificate.pem"


@pytest.fixture
def server(certificate: Path, request: pytest.FixtureRequest) -> Iterator[TlsServer]:
    write_certificate(certificate, getattr(request, "param", HERE))
    with tls_server(certificate) as server:
        yield server


async def test_a_certificate_of_an_unknown_authority_is_refused(
    what: str, server: TlsServer, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(OverloadedError, match="does not answer"):
        await use(what, server.port)
    assert server.received == []
    [message] = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert "its certificate is not valid: self-signed certificate" in message
    assert "secret" not in message


@pytest.mark.parametrize("server", [ELSEWHERE], indirect=True)
async def test_a_certificate_of_another_host_is_refused(
    what: str, server: TlsServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(OverloadedError, match="does not answer"):
        await use(what, server.port)
    assert server.received == []
    assert "IP address mismatch" in caplog.text


async def test_a_valid_certificate_is_accepted(
    what: str, server: TlsServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(OverloadedError, match="does not answer"):
        await use(what, server.port)
    assert server.received[0][:4] in (b"AMQP", b"*5\r\n")


def test_results_are_stored_over_a_verified_connection_too():
    assert result_tls("redis://host") is None
    assert result_tls("rediss://host") == broker_tls("rediss://host") != {}
    assert broker_tls("redis://host") is None
    assert broker_tls("amqp://host") is None


def test_each_of_several_brokers_is_verified_by_its_own_name():
    options = broker_tls("amqps://one;amqps://two")
    assert options is not None
    for name in ("one", "two"):  # as kombu does it
        assert "server_hostname" in options
        assert options["server_hostname"] is None
        options["server_hostname"] = name
        assert dict(**options) == {"server_hostname": name}
