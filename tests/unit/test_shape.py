"""Limits of size: of modules, classes and functions. They keep the code readable; a reason to break one is a reason to
change it here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "servey"

MOST_LINES, MOST_METHODS, MOST_FIELDS, MOST_BRANCHES, SHARE = 400, 20, 25, 8, 0.95
LONGER = {"errors.py"}  # one tree, read from top to bottom

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.IfExp, ast.ExceptHandler, ast.match_case)


def files() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), path.read_text(encoding="utf-8")


def branches(function: ast.AST) -> int:
    """Each condition, loop, handler and comprehension, and each further operand of and/or."""
    count = 0
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            continue  # they count by themselves
        if isinstance(node, BRANCHES):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
        waiting.extend(ast.iter_child_nodes(node))
    return count


def is_method(item: ast.stmt) -> bool:
    return isinstance(item, FUNCTIONS) and not any("overload" in ast.unparse(mark) for mark in item.decorator_list)


def test_modules_have_a_readable_length():
    assert {name: size for name, text in files() if (size := len(text.splitlines())) > MOST_LINES}.keys() <= LONGER


def test_classes_have_few_methods_and_fields():
    large = [
        f"{name}: {node.name}"
        for name, text in files()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        if sum(map(is_method, node.body)) > MOST_METHODS
        or sum(isinstance(item, ast.AnnAssign) for item in node.body) > MOST_FIELDS
    ]
    assert large == []


def test_nearly_all_functions_have_few_branches():
    counts = [
        branches(node) for _, text in files() for node in ast.walk(ast.parse(text)) if isinstance(node, FUNCTIONS)
    ]
    few = sum(count <= MOST_BRANCHES for count in counts)
    assert few / len(counts) >= SHARE
