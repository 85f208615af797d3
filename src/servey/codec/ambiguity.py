"""Whether the JSON of a value identifies the members of its unions.

Servey writes a union by the class of the value and reads it by trying its members. If two members have the same JSON,
it may read another member: a ``Dog`` as a ``Cat`` with the same members.
"""

from __future__ import annotations

import itertools

from servey.codec.node import Node
from servey.codec.scalars import json_kinds
from servey.codec.union import member_names, ordered


def is_ambiguous(root: Node) -> bool:
    """Return whether servey may read another value from the JSON of a value.

    It compares types only, with caution: of two classes, the names of members and the tags.

    Example:
        >>> from servey.codec import Codec
        >>> [is_ambiguous(Codec(tp).root) for tp in (int | str, int | None, list[str] | set[str])]
        [False, False, True]
    """
    seen: set[object] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.kind == "object":
            if node.identity in seen:
                continue
            seen.add(node.identity)
        if node.kind == "union" and any(itertools.starmap(_look_alike, itertools.combinations(ordered(node), 2))):
            return True
        waiting += [*node.items, *(field.node for field in node.fields)]
    return False


def _look_alike(first: Node, second: Node) -> bool:
    """Return whether two members of a union may be written alike."""
    if first.kind == second.kind == "object":
        return _classes_look_alike(first, second)
    kinds = json_kinds(first), json_kinds(second)
    return not all(kinds) or bool(kinds[0] & kinds[1])


def _classes_look_alike(first: Node, second: Node) -> bool:
    if first.tag is not None and second.tag is not None and first.tag[0] == second.tag[0]:
        return first.tag[1] == second.tag[1]
    (known, required), (others, other_required) = member_names(first), member_names(second)
    if any(node.tag is not None and node.tag[0] not in known & others for node in (first, second)):
        return False
    return required <= others and other_required <= known  # JSON may omit members with defaults
