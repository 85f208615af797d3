"""Walk a refused value and collect all problems: the common part of reading and writing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

from servey.codec.constraints import violated
from servey.codec.node import Node, NodeVisitor
from servey.codec.problems import PROBLEM_LIMIT, CustomTypeError, below
from servey.codec.structs import guarded_run
from servey.codec.type_adapter import Compiler
from servey.errors import Problem

BAD: Any = object()
"""The result of a visit for a value with problems."""


class LimitError(Exception):
    """There are `PROBLEM_LIMIT` problems; the walk ends."""


class ProblemVisitor(NodeVisitor[Any]):
    """Walks one value. A visit returns its other form (the object of JSON values, or the reverse), or `BAD`."""

    def __init__(self, compiler: Compiler) -> None:
        self.compiler = compiler
        self.problems: list[Problem] = []
        self.is_rounded = False
        """Whether an int was read from a number with a fraction of zero."""

    def walk(self, node: Node, value: Any, at: str = "") -> Any:
        """Visit a value, up to the limit of problems."""
        with contextlib.suppress(LimitError):
            return self.visit(node, value, at)
        return BAD

    def add(self, *problems: Problem) -> Any:
        """Add problems, and return `BAD`; raise a `LimitError` if the limit is reached."""
        self.problems += problems
        if len(self.problems) >= PROBLEM_LIMIT:
            del self.problems[PROBLEM_LIMIT:]
            raise LimitError
        return BAD

    def run(self, function: Callable[[Any], Any], value: Any, at: str) -> Any:
        """Return the result of a function for a value; add the problems that it raises."""
        try:
            return guarded_run(function)(value)
        except CustomTypeError as error:
            return self.add(*below(at, error.errors))

    def checked_length(self, node: Node, made: Any, at: str) -> Any:
        """Return a collection if its length satisfies the constraints of its type."""
        wrong = violated(node.constraints, made)
        return self.add(Problem(at, f"{wrong}, got {len(made)}")) if wrong else made

    def nested(self) -> Self:
        """Return a visitor for one trial, whose problems may be dropped; it shares everything else."""
        visitor = copy.copy(self)
        visitor.problems = []
        visitor.is_rounded = False
        return visitor

    def trials(self, members: Sequence[Node], value: Any) -> tuple[Any, bool, list[list[Problem]]]:
        """Return the value that the first fitting member reads and whether it is rounded; else all members' problems.

        Members that take the value as it is written are tried before those that take ``5.0`` as an int.
        """
        refused: list[list[Problem]] = []
        rounded: list[Any] = []
        for member in members:
            nested = self.nested()
            made = nested.walk(member, value)
            if nested.problems:
                refused.append(nested.problems)
            elif nested.is_rounded:
                rounded.append(made)
            else:
                return made, False, []
        return (rounded[0], True, []) if rounded else (BAD, False, refused)
