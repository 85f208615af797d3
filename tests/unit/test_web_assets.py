"""The assets of the browser pages: what the build hook puts into the package, and where that comes from."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import servey
from servey.servey_starlette.docs_assets import SUFFIXES

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "src/servey/servey_starlette/assets"
MANIFEST = json.loads((ASSETS / "manifest.json").read_text(encoding="utf-8"))
LICENCES = {package["name"]: package["license"] for package in MANIFEST["packages"]}
LOCK = json.loads((ROOT / "web/package-lock.json").read_text(encoding="utf-8"))


def described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def load_hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hook() -> ModuleType:
    return load_hook()


@pytest.fixture
def checkout(tmp_path: Path, hook: ModuleType) -> Path:
    """What the hook needs of a checkout, with the assets built."""
    for path in hook.sources(ROOT):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    shutil.copytree(ASSETS, tmp_path / hook.ASSETS)
    return tmp_path


# --- what is built ----------------------------------------------------------------------------------------------------


def test_the_manifest_names_every_file_with_its_size_and_hash():
    named = {"manifest.json"}
    for name, page in MANIFEST["pages"].items():
        assert described(ASSETS / name) == page
        named.add(name)
    for asset in MANIFEST["assets"]:
        assert described(ASSETS / asset["name"]) == {key: asset[key] for key in ("size", "sha256")}
        named.add(asset["name"])
        for encoding, stored in asset["encodings"].items():
            name = asset["name"] + SUFFIXES[encoding]
            assert described(ASSETS / name) == stored
            named.add(name)
    assert {path.relative_to(ASSETS).as_posix() for path in ASSETS.rglob("*") if path.is_file()} == named


def test_what_is_compressed_is_the_same():
    for asset in MANIFEST["assets"]:
        packed = (ASSETS / f"{asset['name']}.gz").read_bytes()
        assert gzip.decompress(packed) == (ASSETS / asset["name"]).read_bytes()
        assert packed[4:8] == b"\0\0\0\0", "it has a time in it, and would differ in each build"
        if asset["size"] > 1000:
            assert asset["encodings"]["br"]["size"] < asset["encodings"]["gzip"]["size"] < asset["size"]


def test_the_manifest_says_which_package_version_and_licence_an_asset_is_of():
    for asset in MANIFEST["assets"]:
        if asset["package"] == "servey":
            licences = {"MIT"} | {LICENCES[name] for name in asset.get("bundles", ())}
            assert (asset["version"], asset["license"]) == (servey.__version__, " AND ".join(sorted(licences)))
        elif (locked := LOCK["packages"][f"node_modules/{asset['package']}"])["version"] == asset["version"]:
            assert asset["license"] == locked["license"]


def test_every_package_is_the_locked_one():
    locked = {
        (name.rpartition("node_modules/")[2], package["version"], package["license"])
        for name, package in LOCK["packages"].items()
        if name and "license" in package
    }
    assert {(item["name"], item["version"], item["license"]) for item in MANIFEST["packages"]} <= locked


def test_the_licences_of_all_that_is_from_others_are_there():
    taken = {asset["package"] for asset in MANIFEST["assets"]} - {"servey"}
    bundled = {name for asset in MANIFEST["assets"] for name in asset.get("bundles", ())}
    packages = {package["name"] for package in MANIFEST["packages"]}
    assert packages == taken | bundled
    assert {"swagger-ui-dist", "graphiql", "monaco-editor", "react-dom"} <= packages
    for package in packages:
        files = [asset for asset in MANIFEST["assets"] if asset["name"].startswith(f"licenses/{package}/")]
        text = "".join((ASSETS / asset["name"]).read_text(encoding="utf-8") for asset in files)
        assert re.search("copyright", text, re.IGNORECASE), package
        assert re.search("Permission is|Permission to|Redistribution|Apache License", text), package
    # the first or last line of a bundle sends its reader to the licences of what is bundled in it
    first = (ASSETS / "swagger-ui-bundle.js").read_text(encoding="utf-8").partition("\n")[0]
    named = re.search(r"please see (\S+)", first)
    assert named is not None
    assert "MIT" in (ASSETS / named[1]).read_text(encoding="utf-8")
    page = (ASSETS / "graphiql/page.js").read_text(encoding="utf-8")
    named = re.search(r"information please see (\S+)", page)
    assert named is not None
    assert "Meta Platforms" in (ASSETS / "graphiql" / named[1]).read_text(encoding="utf-8")


def test_the_licence_of_the_distribution_names_that_of_all_assets():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    assert set(declared.split(" AND ")) == {"MIT", *LICENCES.values()}


def test_monacos_font_of_icons_which_has_another_licence_is_left_out():
    assert [asset["name"] for asset in MANIFEST["assets"] if asset["name"].endswith((".ttf", ".woff", ".woff2"))] == []
    assert "@font-face" not in (ASSETS / "graphiql/page.css").read_text(encoding="utf-8")


def test_what_is_bundled_is_loaded_by_relative_addresses_of_what_is_there():
    names = {asset["name"] for asset in MANIFEST["assets"]}
    for name in sorted(names):
        if re.fullmatch(r"graphiql/[^/]+\.js", name):
            text = (ASSETS / name).read_text(encoding="utf-8")
            for wanted in re.findall(r"""(?:from|import\(|import)\s*"(\.[^"]+\.js)\"""", text):
                assert f"graphiql/{wanted.removeprefix('./')}" in names, (name, wanted)


def test_the_identifier_is_of_all_assets():
    lines = "".join(f"{asset['name']} {asset['sha256']}\n" for asset in MANIFEST["assets"])
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == MANIFEST["id"]


def test_nothing_built_is_in_the_repository():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/src/servey/servey_starlette/assets/", "node_modules/"} <= set(ignored)
    assert sorted(path.name for path in (ROOT / "web/src").iterdir()) == [
        "docs.css",
        "docs.html",
        "docs.js",
        "errors.html",
        "graphiql-colours.mjs",
        "graphiql-login.mjs",
        "graphiql-sheets.mjs",
        "graphiql-workers.mjs",
        "graphiql.css",
        "graphiql.html",
        "graphiql.mjs",
        "icon.svg",
        "monaco.mjs",
        "page.css",
        "prettier.mjs",
    ]


# --- where it comes from ----------------------------------------------------------------------------------------------


def test_the_lock_file_has_public_addresses_with_hashes_and_exact_versions_only():
    declared = json.loads((ROOT / "web/package.json").read_text(encoding="utf-8"))
    for kind in ("dependencies", "devDependencies"):
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in declared[kind].values())
        assert LOCK["packages"][""][kind] == declared[kind]
    locked = {name: package for name, package in LOCK["packages"].items() if name}
    for name, package in locked.items():
        assert package["resolved"].startswith("https://registry.npmjs.org/"), name
        assert package["integrity"].startswith("sha512-"), name


def test_the_lock_file_has_the_bundler_for_every_machine():
    # npm leaves those out that it does not install, unless the file is made with --package-lock-only
    platforms = {name.rpartition("/")[2] for name in LOCK["packages"] if name.startswith("node_modules/@esbuild/")}
    assert {"linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64", "win32-x64", "win32-arm64"} <= platforms


def test_no_script_of_a_package_is_run(hook):
    assert any(package.get("hasInstallScript") for package in LOCK["packages"].values()), "then this needs no test"
    assert "--ignore-scripts" in hook.ARGUMENTS
    assert "ignore-scripts=true" in (ROOT / "web/.npmrc").read_text(encoding="utf-8")


# --- the build hook ---------------------------------------------------------------------------------------------------


def test_the_assets_are_of_the_present_sources(hook):
    assert hook.is_built(ROOT, servey.__version__)


def test_what_is_built_needs_neither_node_nor_network(hook, checkout, monkeypatch):
    monkeypatch.setattr(hook, "_run", pytest.fail)
    before = (checkout / hook.ASSETS / "manifest.json").stat().st_mtime_ns
    hook.build(checkout, servey.__version__)
    assert (checkout / hook.ASSETS / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "name",
    [
        "src/docs.js",
        "src/docs.html",
        "src/graphiql.mjs",
        "src/page.css",
        "package-lock.json",
        "package.json",
        "build.mjs",
        ".npmrc",
    ],
)
def test_when_a_source_changes_the_assets_are_built_again(hook, checkout, name):
    assert hook.is_built(checkout, servey.__version__)
    with (checkout / "web" / name).open("a") as file:
        file.write(" ")
    assert not hook.is_built(checkout, servey.__version__)


def test_what_is_no_source_changes_nothing(hook, checkout):
    (checkout / "web/node_modules").mkdir()
    (checkout / "web/node_modules/x.js").write_text("x")
    for name in ("src/docs.js", "build.mjs"):  # as git has it on Windows
        path = checkout / "web" / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert hook.is_built(checkout, servey.__version__)


@pytest.mark.parametrize("damage", ["missing", "short", "no manifest", "bad manifest", "version"])
def test_what_is_not_whole_is_built_again(hook, checkout, damage):
    assets, version = checkout / hook.ASSETS, servey.__version__
    if damage == "missing":
        (assets / "swagger-ui.css.br").unlink()
    elif damage == "short":
        (assets / "docs.html").write_text("")
    elif damage == "no manifest":
        (assets / "manifest.json").unlink()
    elif damage == "bad manifest":
        (assets / "manifest.json").write_text("{")
    else:
        version += ".1"
    assert not hook.is_built(checkout, version)


def test_a_build_replaces_what_is_there_and_two_give_the_same_bytes(hook, checkout):
    built = checkout / hook.ASSETS
    (built / "docs.css").write_text("of other sources")
    (built / "old.js").write_text("")
    hook.build(checkout, servey.__version__)
    names = sorted(path.relative_to(ASSETS) for path in ASSETS.rglob("*") if path.is_file())
    assert sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file()) == names
    assert [name for name in names if (built / name).read_bytes() != (ASSETS / name).read_bytes()] == []
    assert [path.name for path in built.parent.iterdir()] == ["assets"], "it leaves nothing behind"
    assert hook.is_built(checkout, servey.__version__)


def test_without_the_registry_the_build_ends_with_what_to_do_and_what_was_built_stays(hook, checkout, monkeypatch):
    # a port that nothing listens on, and a cache that holds nothing
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(checkout / "cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    (checkout / "web/src/docs.css").write_text("")
    with pytest.raises(hook.AssetsError) as caught:
        hook.build(checkout, servey.__version__)
    message = str(caught.value)
    assert "npm ci failed" in message
    assert "ECONNREFUSED" in message
    assert "sdist" in message
    assert (checkout / hook.ASSETS / "manifest.json").exists()
    assert [path.name for path in (checkout / hook.ASSETS).parent.iterdir()] == ["assets"]
