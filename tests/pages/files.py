"""What is checked of the files on a page that are not Python. What is not known here is an error."""

import re
import shlex
import tomllib
from collections.abc import Sequence
from configparser import ConfigParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import crossplane
import yaml

from servey.servey_celery.stop import GIVING_SECONDS
from servey.settings import Settings

UNIT_KEYS = {
    "Unit": {"Description", "After", "Wants"},
    "Service": {
        *("Type", "User", "DynamicUser", "WorkingDirectory", "Environment", "EnvironmentFile", "ExecStart", "Restart"),
        *("TimeoutStopSec", "KillMode", "StateDirectory"),
        *("NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp"),
    },
    "Install": {"WantedBy"},
}
COMPOSE_SERVICE_KEYS = {
    *("build", "command", "environment", "ports", "volumes", "healthcheck"),
    *("restart", "stop_grace_period", "read_only", "tmpfs"),
}
STORE_KEYS = {"image", "restart", "command", "environment", "hostname", "volumes"}
SECRET = "0123456789abcdef" * 4
"""What stands for a secret that a file does not have."""
POD_KEYS = {"terminationGracePeriodSeconds", "containers", "securityContext"}
CONTAINER_KEYS = {
    *("name", "image", "env", "ports", "resources", "securityContext"),
    *("livenessProbe", "readinessProbe", "startupProbe"),
}
PROBE_KEYS = {"httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold"}
FORCE_SECONDS = 2.0
"""What a server takes at most, after the shutdown timeout, to end by force."""


def check_toml(path: Path) -> None:
    tomllib.loads(path.read_text(encoding="utf-8"))


def check_dockerfile(path: Path) -> None:
    assert path.name == "Dockerfile"  # it is run by `docker build` on the page


def check_nginx(path: Path) -> None:
    """nginx's own parser for Python: every directive exists, stands where it may and has as many arguments."""
    parsed = crossplane.parse(str(path), strict=True, check_ctx=True, check_args=True)
    assert parsed["status"] == "ok", parsed["errors"]


def unit_of(path: Path) -> dict[str, dict[str, list[str]]]:
    """Return a systemd unit: sections, keys, values. A key may stand there twice."""
    parser = ConfigParser(delimiters=("=",), interpolation=None, strict=True, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    lines = path.read_text(encoding="utf-8").splitlines()
    counted = [line.replace("=", f"@{number}=", 1) if "=" in line else line for number, line in enumerate(lines)]
    parser.read_string("\n".join(counted))
    found: dict[str, dict[str, list[str]]] = {}
    for section in parser.sections():
        for key, value in parser.items(section):
            found.setdefault(section, {}).setdefault(key.partition("@")[0], []).append(value)
    return found


def check_unit(path: Path) -> None:
    unit = unit_of(path)
    assert list(unit) == list(UNIT_KEYS)
    for section, keys in unit.items():
        assert set(keys) <= UNIT_KEYS[section], f"nobody checks {set(keys) - UNIT_KEYS[section]}"
    service = unit["Service"]
    variables = dict(word.split("=", 1) for text in service["Environment"] for word in shlex.split(text))
    check_variables(variables)
    check_grace(float(service["TimeoutStopSec"][0]), variables, service["ExecStart"][0].split())
    if service["ExecStart"][0].endswith("servey serve"):
        [state] = service["StateDirectory"]
        assert variables["SERVEY_STORE"].startswith(f"/var/lib/{state}/"), "the rest cannot be written"
    else:
        assert variables["SERVEY_STORE"].startswith("redis://"), "several machines share it"
    assert service["KillMode"] == ["mixed"], "the main process tells its workers"


def check_yaml(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if "services" in document:
            check_compose(document)
        else:
            assert document["kind"] in ("Deployment", "Service"), f"nobody checks a {document['kind']}"
            (check_deployment if document["kind"] == "Deployment" else check_service)(document)


def check_compose(document: dict[str, Any]) -> None:
    for service in document["services"].values():
        if "image" in service:  # somebody else's
            assert set(service) <= STORE_KEYS
            assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(
                document.get("volumes", ())
            )
            continue
        assert set(service) <= COMPOSE_SERVICE_KEYS
        variables = {
            name: re.sub(r"\$\{[A-Z_]+:\?[^}]*\}", SECRET, str(value))
            for name, value in service.get("environment", {}).items()
        }
        hosts = {urlsplit(value).hostname for value in variables.values() if value.startswith(("redis:", "amqp:"))}
        assert hosts <= set(document["services"])
        check_variables(variables)
        seconds = re.fullmatch(r"(\d+)s", service["stop_grace_period"])
        assert seconds is not None
        check_grace(float(seconds[1]), variables, service.get("command", ()))
        for volume in service.get("volumes", ()):
            name, place = volume.split(":")
            assert name in document["volumes"]
            assert f"{place}/store.db" == f"/app/{Settings.from_environment(variables).background.store}"
        assert ("ports" in service) == (service.get("command", ["servey", "serve"]) == ["servey", "serve"])
        for port in service.get("ports", ()):
            assert re.fullmatch(r"([\d.]+:)?\d+:8000", port)


def check_deployment(document: dict[str, Any]) -> None:
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    assert document["apiVersion"] == "apps/v1"
    template = document["spec"]["template"]
    assert document["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    pod = template["spec"]
    assert set(pod) <= POD_KEYS
    for container in pod["containers"]:
        assert set(container) <= CONTAINER_KEYS
        variables = {item["name"]: SECRET if "valueFrom" in item else item["value"] for item in container["env"]}
        for item in container["env"]:
            if "valueFrom" in item:
                assert set(item) == {"name", "valueFrom"}
                assert set(item["valueFrom"]["secretKeyRef"]) == {"name", "key"}
        assert all(isinstance(value, str) for value in variables.values()), "Kubernetes takes text only"
        check_variables(variables)
        check_grace(float(pod["terminationGracePeriodSeconds"]), variables)
        names = [port["name"] for port in container["ports"]]
        assert [port["containerPort"] for port in container["ports"]] == [8000]
        for name, expected in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            probe = container[name]
            assert set(probe) <= PROBE_KEYS
            assert probe["httpGet"]["path"] == expected
            assert probe["httpGet"]["port"] in names
        noticed = container["readinessProbe"].get("periodSeconds", 10)
        delay = Settings.from_environment(variables).process.shutdown_delay
        assert delay > noticed, "the delay is longer than it takes to notice that the server is not ready"


def check_service(document: dict[str, Any]) -> None:
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    assert document["apiVersion"] == "v1"
    assert set(document["spec"]) == {"selector", "ports"}


def check_variables(variables: dict[str, str]) -> None:
    """What is set is read by servey, and is a value that it takes."""
    known = {name for item in Settings().variables().values() for name in (item.name, *item.aliases)}
    assert set(variables) <= known, f"not settings: {set(variables) - known}"
    Settings.from_environment(variables)


def check_grace(seconds: float, variables: dict[str, str], words: Sequence[str] = ()) -> None:
    """Whoever stops the server waits longer than that takes."""
    settings = Settings.from_environment(variables)
    needed = settings.process.shutdown_delay + settings.calls.shutdown_timeout + FORCE_SECONDS
    if "worker" in words:
        needed += GIVING_SECONDS  # the broker has to confirm that it has the calls again
    assert seconds > needed, f"stopping takes up to {needed} s, and it is killed after {seconds}"


CHECKS = {
    "toml": check_toml,
    "dockerfile": check_dockerfile,
    "nginx": check_nginx,
    "ini": check_unit,
    "yaml": check_yaml,
}
