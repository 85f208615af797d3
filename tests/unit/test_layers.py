"""The direction of imports: errors … subscription <- finder … builtin <- servey_* <- cli, __main__."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

CORE = (
    "errors",
    "problem_details",
    "settings_part",
    "ports",
    "log",
    "forced_exit",
    "action",
    "codec",
    "docstring",
    "trigger",
    "cache_control",
    "security",
    "subscription",
    "schedule",
    "background_call",
    "idempotency",
)
SERVICE = (
    "finder",
    "http",
    "include",
    "schema",
    "service",
    "service_builder",
    "service_life",
    "plugin",
    "builtin",
    "generated_secrets",
    "settings",
    "stores",
)
COMMANDS = ("cli", "__main__")
ADAPTER_PREFIX = "servey_"

FORBIDDEN_IN_THE_CORE = {
    ("action", "cache_control"),  # caching wraps an operation, which does not know it
}

ALLOWED_BETWEEN_ADAPTERS = {
    ("servey_strawberry", "servey_starlette"),  # the GraphQL endpoint is a route of the Starlette app
    ("servey_aws", "servey_strawberry"),  # AppSync is given the schema that Strawberry prints
    ("servey_test", "servey_starlette"),  # an example runs through REST
    ("servey_test", "servey_direct"),  # … and through the command line's own call
}


def layer(part: str) -> int | None:
    """The layer of a top-level part of servey (the package's own `__init__` is the part ""), or None."""
    if part == "" or part in CORE:
        return 0
    if part in SERVICE:
        return 1
    if part.startswith(ADAPTER_PREFIX):
        return 2
    return 3 if part in COMMANDS else None


def part_of(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def modules(source: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted((source / "servey").rglob("*.py")):
        names = path.relative_to(source).with_suffix("").parts
        found[".".join(names[:-1] if names[-1] == "__init__" else names)] = path
    return found


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def name_of(node: ast.AST) -> str:
    """The last name of ``a`` or ``a.b``; empty of anything else."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def imports(module: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Yield (line, imported module of servey) for each import anywhere in a file."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            # what is imported may be a module or a name of one
            names = [full if (full := f"{base}.{alias.name}") in known else base for alias in node.names]
        elif isinstance(node, ast.Call) and name_of(node.func).endswith("import_module") and node.args:
            if isinstance(node.args[0], ast.Constant):
                names = [str(node.args[0].value)]
        elif module == "servey.builtin" and isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value.partition(":")[0]] if ":" in node.value and " " not in node.value else []
        for name in names:
            if name == "servey" or name.startswith("servey."):
                yield getattr(node, "lineno", 0), name


def wrong_imports(source: Path) -> list[str]:
    """Every import against the direction, as ``file:line: from -> to``."""
    known = modules(source)
    wrong: list[str] = []
    for module, path in known.items():
        mine = part_of(module)
        place = path.relative_to(source).as_posix()
        if layer(mine) is None:
            wrong.append(f"{place}: {mine} is in no layer")
            continue
        for line, target in imports(module, path, known):
            if (theirs := part_of(target)) == mine or theirs == "":
                continue  # `import servey` itself is everyone's: importing any of its modules runs it
            from_layer, to_layer = layer(mine), layer(theirs)
            if target not in known:
                reason = "no such module"
            elif to_layer is None or from_layer is None:
                reason = "in no layer"
            elif (mine, theirs) in FORBIDDEN_IN_THE_CORE:
                reason = f"{mine} knows nothing of {theirs}"
            elif from_layer == to_layer == 2:
                reason = "" if (mine, theirs) in ALLOWED_BETWEEN_ADAPTERS else "adapters import no other adapter"
            elif mine == "builtin" and to_layer == 2:
                reason = ""  # the composition root names the adapters; that nobody below imports it is checked as usual
            else:
                reason = "" if to_layer <= from_layer else "against the direction"
            if reason:
                wrong.append(f"{place}:{line}: {module} -> {target}: {reason}")
    return wrong


def environment_reads(source: Path) -> list[str]:
    """Every use of the environment outside settings.py, as ``file:line``."""
    names = {"environ", "environb", "getenv", "getenvb"}
    found: list[str] = []
    for module, path in modules(source).items():
        if module == "servey.settings":
            continue
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            read = isinstance(node, ast.Attribute) and node.attr in names and name_of(node.value) == "os"
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                read = any(alias.name in names for alias in node.names)
            if read:
                found.append(f"{path.relative_to(source).as_posix()}:{getattr(node, 'lineno', 0)}")
    return found


def tree(root: Path, **files: str) -> Path:
    """Write a package of the given modules (``a__b`` is a/b.py) beside one module of each layer."""
    whole = {
        "errors": "",
        "cache_control/control": "",
        "service": "",
        "servey_starlette/app": "",
        "servey_direct/call": "",
        "cli/main": "",
        **files,
    }
    for name, text in whole.items():
        path = root / "servey" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "servey" / "__init__.py").touch()
    return root


def test_imports_of_servey_follow_the_direction():
    assert wrong_imports(SOURCE) == []


def test_only_settings_reads_the_environment():
    assert environment_reads(SOURCE) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("errors", "import servey.service"),
        ("errors", "from servey import service"),
        ("errors", "from servey.service import Service"),
        ("errors", "from . import service"),
        ("action/action", "from ..service import Service"),
        ("action/action", "def f():\n    from servey.service import Service"),
        ("action/action", "if TYPE_CHECKING:\n    from servey.service import Service"),
        ("action/action", "import_module('servey.service')"),
        ("action/action", "from servey.cache_control.control import f"),
        ("action/action", "if TYPE_CHECKING:\n    from servey.cache_control.control import f"),
        ("service", "import servey.servey_starlette.app"),
        ("servey_starlette/routes", "from servey.servey_direct.call import call"),
        ("servey_direct/call", "from servey.cli.main import main"),
        ("__init__", "from servey.service import Service"),
        ("builtin", "from servey.cli.main import main"),
        ("builtin", "PLUGINS = ('servey.servey_aws.plugin:Plugin',)"),
        ("other", ""),
    ],
)
def test_an_import_against_the_direction_is_found(tmp_path, module, text):
    (source := tree(tmp_path)).joinpath("servey", module).parent.mkdir(exist_ok=True)
    (source / "servey" / f"{module}.py").write_text(text, encoding="utf-8")
    assert len(wrong_imports(source)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("service", "from servey.errors import ServeyError"),
        ("service", "import servey, json, uvicorn"),
        ("servey_starlette/routes", "from servey.service import Service\nfrom .app import app"),
        ("servey_test/examples", "from servey.servey_starlette.app import app"),
        ("cli/serve", "from servey.servey_starlette.app import app"),
        ("builtin", "PLUGINS = ('servey.servey_starlette.app:Plugin',)"),
        ("__init__", "from servey.errors import ServeyError"),
    ],
)
def test_an_import_in_the_direction_is_allowed(tmp_path, module, text):
    (source := tree(tmp_path)).joinpath("servey", module).parent.mkdir(exist_ok=True)
    (source / "servey" / f"{module}.py").write_text(text, encoding="utf-8")
    assert wrong_imports(source) == []


@pytest.mark.parametrize(
    "text",
    ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ", "from os import getenv"],
)
def test_a_read_of_the_environment_is_found(tmp_path, text):
    assert environment_reads(tree(tmp_path, service=text, settings=text)) != []
    assert all(place.startswith("servey/service.py") for place in environment_reads(tmp_path))


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Every group of modules that import each other, directly or over others (Tarjan's algorithm)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        numbers[module] = lowest[module] = len(numbers)
        stack.append(module)
        for target in sorted(edges.get(module, ())):
            if target not in numbers:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in stack:
                lowest[module] = min(lowest[module], numbers[target])
        if lowest[module] == numbers[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in edges:
        if module not in numbers:
            visit(module)
    return found


def imports_at_run_time(source: Path) -> dict[str, set[str]]:
    """What each module imports, inside functions too; not what it imports for annotations only.

    An import for annotations that goes up a layer is refused by `wrong_imports` already.
    """
    known = modules(source)
    edges: dict[str, set[str]] = {}
    for module, path in known.items():
        annotating = annotation_lines(parsed(path.read_text(encoding="utf-8")))
        edges[module] = {
            target
            for line, target in imports(module, path, known)
            if target in known and target not in (module, "servey") and line not in annotating
        }
    edges["servey.builtin"] = set()  # the names of plugins, which are loaded when a service is built
    return edges


def annotation_lines(tree: ast.Module) -> set[int]:
    return {
        statement.lineno
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and any(name_of(node) == "TYPE_CHECKING" for node in ast.walk(block.test))
        for statement in block.body
    }


def test_no_modules_import_each_other():
    assert circles(imports_at_run_time(SOURCE)) == []


@pytest.mark.parametrize("late", ["", "def f():\n    "])
def test_a_circle_is_found(tmp_path, late):
    texts = {"action/a": f"{late}import servey.action.b", "action/b": "from servey.action.c import x", "action/c": ""}
    source = tree(tmp_path, **texts)
    assert circles(imports_at_run_time(source)) == []
    (source / "servey/action/c.py").write_text("if TYPE_CHECKING:\n    from servey.action.a import y", encoding="utf-8")
    assert circles(imports_at_run_time(source)) == []
    (source / "servey/action/c.py").write_text("from servey.action import a", encoding="utf-8")
    assert circles(imports_at_run_time(source)) == [["servey.action.a", "servey.action.b", "servey.action.c"]]
