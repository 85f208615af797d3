"""The files of the browser pages, which `hatch_build.py` adds to the package at build time."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from functools import cached_property
from string import Template

import msgspec

from servey.errors import ServeyError

BROKEN = (
    "the assets of the browser pages are missing from this installation of servey. Install it again: "
    "`pip install --force-reinstall servey`; in a checkout: `uv sync --reinstall-package servey`"
)

SUFFIXES = {"br": ".br", "gzip": ".gz"}
"""The content encodings of stored files, the smallest first."""


class MissingAssetsError(ServeyError):
    """The package has no assets: the installation is incomplete."""

    def __init__(self) -> None:
        super().__init__(BROKEN)


class Stored(msgspec.Struct, frozen=True):
    """A stored file."""

    size: int
    sha256: str


class Asset(Stored, frozen=True):
    """A file that the pages load.

    Args:
        size: The size in bytes, without encoding.
        sha256: The hash, without encoding.
        name: The path below the directory of assets.
        type: The media type.
        package: The npm package of the file, or servey.
        version: The version of the package.
        license: The licence of the package, an SPDX expression.
        encodings: The encoded files by content encoding.
    """

    name: str
    type: str
    package: str
    version: str
    license: str
    encodings: Mapping[str, Stored]


class Manifest(msgspec.Struct, frozen=True):
    """All assets; `id` changes with any of them."""

    id: str
    assets: tuple[Asset, ...]


class Assets:
    """The assets of the installed package, read at their first use."""

    def __init__(self) -> None:
        self._directory = os.path.join(os.path.dirname(__file__), "assets")

    @property
    def are_there(self) -> bool:
        """Whether the installation has them."""
        return os.path.isfile(self._path("manifest.json"))

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest.

        Raises:
            MissingAssetsError: The manifest cannot be read.
        """
        try:
            return msgspec.json.decode(self._read("manifest.json"), type=Manifest)
        except (OSError, msgspec.DecodeError) as error:
            raise MissingAssetsError from error

    @cached_property
    def _by_name(self) -> Mapping[str, Asset]:
        return {asset.name: asset for asset in self.manifest.assets}

    def find(self, identifier: str, name: str) -> Asset | None:
        """Return the asset of a name, if `identifier` is the id of the installed assets."""
        return self._by_name.get(name) if identifier == self.manifest.id else None

    def path(self, asset: Asset, encoding: str) -> str:
        """Return the path of an asset in an encoding; an empty encoding is the plain file."""
        return self._path(asset.name + SUFFIXES.get(encoding, ""))

    def page(self, name: str) -> Template:
        """Return the template of a page.

        Raises:
            MissingAssetsError: The template cannot be read.
        """
        try:
            return Template(self._read(name).decode())
        except OSError as error:
            raise MissingAssetsError from error

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _read(self, name: str) -> bytes:
        with open(self._path(name), "rb") as file:
            return file.read()
