"""The blocks of a page, and what is compared with them."""

import re
import shlex
from typing import NamedTuple

FENCE = re.compile(r"^(?:<!-- file: (?P<file>\S+) -->\n+)?```(?P<language>.*)\n(?P<text>(?:.*\n)*?)```$", re.M)


class Block(NamedTuple):
    file: str
    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    found = [
        Block(match["file"] or "", match["language"], match["text"], page.count("\n", 0, match.start()) + 1)
        for match in FENCE.finditer(page)
    ]
    fences = re.findall(r"^[ \t>]*(?:```|~~~)", page, re.M)
    assert fences == ["```"] * 2 * len(found), "every fence stands at the beginning of its line"
    return found


def matches(shown: str, actual: str) -> bool:
    """Whether a text is as shown: an ellipsis stands for anything in its line, and alone in a line for any lines."""
    lines = actual.replace("\r\n", "\n").strip().split("\n")
    places = {0}  # how many lines what is shown so far may stand for
    for wanted in shown.strip().split("\n"):
        if wanted.strip() == "…":
            places = set(range(min(places), len(lines) + 1))
        else:
            pattern = re.compile(re.escape(wanted).replace("…", ".*"))
            places = {at + 1 for at in places if at < len(lines) and pattern.fullmatch(lines[at])}
        if not places:
            return False
    return len(lines) in places


def commands_of(block: Block) -> list[tuple[str, str]]:
    """Return the commands with what each prints; a backslash or an open quote goes on in the next line."""
    parts = re.split(r"^\$ ", block.text, flags=re.M)
    assert parts[0] == "", f"line {block.line}: a command begins with a dollar sign"
    commands: list[tuple[str, str]] = []
    for part in parts[1:]:
        lines = part.splitlines()
        count = 1
        while lines[count - 1].endswith("\\") or not is_whole("\n".join(lines[:count])):
            count += 1
        commands.append(("\n".join(lines[:count]), "\n".join(lines[count:])))
    return commands


def is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True
