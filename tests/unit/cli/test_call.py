"""`servey call`: flags from a signature, events, results and errors."""

import json
import re
import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, NewType
from uuid import UUID

import msgspec
import pytest

from servey.action.action import action
from servey.action.context import CallContext
from servey.action.example import Example
from servey.action.reply import Reply
from servey.cli.flags import command_line, flags_of
from servey.errors import ConflictError, NotFoundError
from servey.security.access_control import ALLOW_NONE
from servey.security.authorization import Authorization
from servey.service import Service


class Color(Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Item:
    sku: str
    qty: Annotated[int, msgspec.Meta(ge=1)] = 1


@dataclass
class NumberStats:
    value: int

    @action
    async def doubled(self) -> int:
        """Double it."""
        return 2 * self.value


@dataclass
class Weight:
    grams: int

    @action
    def doubled(self) -> int:
        return 2 * self.grams

    @action
    def tripled(self) -> int:
        return 3 * self.grams


@action
def number_stats(value: int) -> NumberStats:
    return NumberStats(value)


@action
def weigh() -> Weight:
    return Weight(1)


@action(
    examples=(
        Example("plain", "One\n of each", {"name": "O'Brien", "tags": ["a b", "-c"], "loud": False, "level": 2}),
        Example("deep", params={"name": "x", "tags": [1.0], "items": [Item("x")]}, error="invalid"),
        Example("empty", params={"name": "x", "tags": [], "since": None}),
        Example("secret", params={"name": "hidden", "tags": ["x"]}, include_in_schema=False),
    )
)
def order(
    name: str,
    tags: list[str],
    color: Color = Color.GREEN,
    level: Literal[1, 2] = 1,
    loud: bool = True,
    items: list[Item] = [],  # noqa: B006
    since: datetime | None = None,
    wait: timedelta = timedelta(seconds=90),
    id: UUID | None = None,
    size: Annotated[float, msgspec.Meta(gt=0, lt=10)] = 1.5,
    path: Path = Path(),
) -> dict[str, object]:
    """Order things.

    They come by post.

    Args:
        name: Who
            orders.
        items: What is ordered.

    Returns:
        All of it.
    """
    return {"name": name, "tags": tags, "color": color.value, "level": level, "loud": loud, "size": size}


@action
def awkward(event: str, help: bool = False, loud: bool = False, no_loud: int = 3, _x: int = 1, h: str = "") -> str:
    return f"{event} {help} {loud} {no_loud} {_x} {h}"


def test_flags_give_the_arguments(servey):
    done = servey(
        *("call", "order", "--name", "Ann", "--tags", "a", "--tags=-b", "--color", "red", "--level", "2"),
        *("--no-loud", "--size", "2.5"),
        actions=[order],
    )
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "name": "Ann",
        "tags": ["a", "-b"],
        "color": "red",
        "level": 2,
        "loud": False,
        "size": 2.5,
    }
    assert done.out.endswith("}\n")
    assert "\n" not in done.out[:-1]


def test_a_negative_number_is_a_value_and_no_flag(servey):
    assert servey("call", "number_stats", "--value", "-5", actions=[number_stats]) == (0, '{"value":-5}\n', "")


@pytest.mark.parametrize("name", ["number_stats", "number-stats"])
def test_an_action_is_found_with_dashes_too(servey, name):
    assert servey("call", name, "--value=1", actions=[number_stats]).code == 0


def test_every_problem_is_told_with_its_flag(servey):
    done = servey(
        *("call", "order", "--color", "blue", "--level", "9", "--size", "20", "--size", "1", "--id", "x"),
        *("--items", '[{"sku": 1, "qty": 0}, {}]', "--wait", "[", "--no-loud"),
        actions=[order],
    )
    assert (done.code, done.out) == (65, "")
    assert done.err.startswith("Error: invalid")
    assert sorted(line.split(":")[0].strip() for line in done.err.splitlines()[1:]) == sorted(
        [
            *("--name", "--tags", "--color", "--level", "--size", "--id", "--wait"),
            *("--items at /0/sku", "--items at /0/qty", "--items at /1/sku"),
        ]
    )


def test_help_shows_types_defaults_limits_and_examples(servey):
    done = servey("call", "order", "--help", actions=[order])
    assert (done.code, done.err) == (0, "")
    text = re.sub(r"\s+", " ", done.out)
    for part in (
        "Usage: servey call order [OPTIONS] Order things. They come by post.",
        "--name TEXT Who orders. [required]",
        "--tags TEXT [repeatable; required]",
        "--color [red|green] [default: green]",
        "--level [1|2] [default: 1]",
        "--loud / --no-loud [default: true]",
        "--items JSON What is ordered. [default: []]",
        "--since DATETIME --wait DURATION [default: PT90S] --id UUID",
        "--size NUMBER [more than 0; less than 10; default: 1.5]",
        "--path PATH [default: .]",
        "Returns: All of it.",
        "# One of each servey call order --name 'O'\"'\"'Brien' --tags 'a b' --tags -c --no-loud --level 2",
    ):
        assert part in text
    assert "hidden" not in text


Size = NewType("Size", Literal["s", "m"])  # type: ignore[valid-newtype]


def test_the_values_of_an_annotated_or_named_literal_are_shown(servey):
    @action
    def pack(size: Size, fold: Annotated[Literal[True, "auto"], msgspec.Meta(description="How.")]) -> str:
        return f"{size} {fold}"

    text = re.sub(r"\s+", " ", servey("call", "pack", "--help", actions=[pack]).out)
    assert "--size [s|m] [required] --fold [true|auto] [required]" in text
    assert servey("call", "pack", "--size=m", "--fold=true", actions=[pack]).out == '"m True"\n'


@pytest.mark.parametrize("number", [0, 2, 3])
def test_an_example_is_a_command_line_that_works(servey, number):
    example = Service([order]).operation("order").examples[number]
    line = command_line(flags_of(Service([order]).operation("order"), ()), example.params)
    done = servey("call", "order", *shlex.split(line), actions=[order])
    assert (done.code, done.err) == (0, "")
    assert {name: json.loads(done.out)[name] for name in ("name", "tags")} == {
        name: example.params[name] for name in ("name", "tags")
    }


def test_parameters_that_collide_with_the_commands_options_have_flags_of_their_own(servey):
    done = servey(
        *("call", "awkward", "--param-event", "e", "--param-help", "--loud", "true", "--no-loud", "5", "--_x", "7"),
        *("--h", "H"),
        actions=[awkward],
    )
    assert done == (0, '"e True True 5 7 H"\n', "")


def test_an_event_reaches_them_by_their_own_names(servey):
    done = servey("call", "awkward", "--event", '{"event": "e", "help": true}', actions=[awkward])
    assert done == (0, '"e True False 3 1 "\n', "")


def test_no_event_means_an_empty_object(servey):
    @action
    def tick() -> None:
        """Do nothing."""

    assert servey("call", "tick", actions=[tick]) == (0, "null\n", "")


def test_an_event_is_strict_and_told_by_json_pointers(servey):
    done = servey("call", "number_stats", "--event", '{"value": "5", "valeu": 1}', actions=[number_stats])
    assert (done.code, done.out) == (65, "")
    assert [line.split(":")[0].strip() for line in done.err.splitlines()[1:]] == ["/value", "/valeu"]


def test_flags_give_what_the_event_leaves_out(servey):
    done = servey(
        "call", "order", "--event", '{"name": "Ann", "level": 2}', "--tags", "a", "--tags", "b", actions=[order]
    )
    assert done.code == 0
    assert json.loads(done.out)["tags"] == ["a", "b"]


def test_what_flags_and_event_both_give_is_refused(servey):
    done = servey(
        *("call", "order", "--event", '{"name": "Ann", "tags": []}', "--tags", "a", "--name", "Bob"), actions=[order]
    )
    assert (done.code, done.out) == (64, "")
    assert "--name, --tags" in done.err


def test_problems_of_flags_beside_an_event_name_the_flags(servey):
    done = servey("call", "order", "--event", '{"name": 1, "tags": []}', "--level", "9", "--size", "x", actions=[order])
    assert done.code == 65
    assert sorted(line.split(":")[0].strip() for line in done.err.splitlines()[1:]) == ["--level", "--size", "/name"]


@pytest.mark.parametrize("event", ["{", "", "\udc80", "@", "[" * 2000])
def test_an_event_that_is_no_json_is_malformed(servey, event):
    done = servey("call", "number_stats", "--event", event, actions=[number_stats])
    assert done.code == (66 if event == "@" else 65)
    assert "Traceback" not in done.err


def test_an_event_that_is_no_object_is_invalid(servey):
    assert servey("call", "number_stats", "--event", "[1]", actions=[number_stats]).code == 65


def test_an_event_comes_from_a_file_with_or_without_a_byte_order_mark(servey, tmp_path):
    for mark in (b"", b"\xef\xbb\xbf"):
        (tmp_path / "event.json").write_bytes(mark + b'{"value": 5}')
        done = servey("call", "number_stats", "--event", f"@{tmp_path / 'event.json'}", actions=[number_stats])
        assert done == (0, '{"value":5}\n', "")


def test_a_file_that_is_not_there_is_66(servey):
    done = servey("call", "number_stats", "--event", "@nowhere.json", actions=[number_stats])
    assert (done.code, done.out) == (66, "")
    assert "nowhere.json" in done.err


def test_two_events_are_refused(servey):
    assert servey("call", "number_stats", "--event={}", "--event={}", actions=[number_stats]).code == 64


def test_a_nested_action_takes_self_and_is_found_by_its_bare_name(servey):
    done = servey("call", "doubled", "--self", '{"value": 5}', actions=[number_stats])
    assert done == (0, "10\n", "")
    told = servey("call", "number_stats_doubled", "--help", actions=[number_stats])
    assert "--self JSON" in told.out
    assert "The NumberStats that it is called on." in told.out


def test_a_bare_name_that_several_share_is_told_with_their_full_names(servey):
    done = servey("call", "doubled", actions=[number_stats, weigh])
    assert (done.code, done.out) == (64, "")
    assert "number_stats_doubled, weight_doubled" in done.err
    assert servey("call", "tripled", "--self", '{"grams": 2}', actions=[number_stats, weigh]).out == "6\n"


def test_an_unknown_action_is_told_the_nearest(servey):
    done = servey("call", "numberstats", "--value=1", actions=[number_stats])
    assert (done.code, done.out) == (64, "")
    assert "Did you mean 'number_stats'?" in done.err


@pytest.mark.parametrize(
    "words", [["--valeu=1"], ["5"], ["--value"], ["--no-value"], ["--value=1", "--unknown", "--event", "{}"]]
)
def test_a_wrong_flag_is_a_usage_error(servey, words):
    done = servey("call", "number_stats", *words, actions=[number_stats])
    assert (done.code, done.out) == (64, "")
    assert "Error:" in done.err


def test_call_without_an_action_lists_them(servey):
    done = servey("call", actions=[number_stats])
    assert (done.code, done.out) == (64, "")
    assert "number_stats_doubled  Double it." in done.err
    assert servey("call", "--help", actions=[number_stats]).code == 0


class QuotaError(Exception):
    """Used up."""

    code, status, exit_code = "quota", 429, 42


@action(errors=(QuotaError,))
def fail(how: str) -> str:
    """Fail."""
    if how == "quota":
        raise QuotaError("no more today")
    if how == "exit":
        raise SystemExit(3)
    raise {"missing": NotFoundError("none", data={"id": 5}), "conflict": ConflictError()}.get(
        how, RuntimeError("s3cret")
    )


@pytest.mark.parametrize(
    ("how", "code", "lines"),
    [
        ("missing", 66, ["Error: not_found: none", "  id = 5"]),
        ("conflict", 73, ["Error: conflict"]),
        ("quota", 42, ["Error: quota: no more today"]),
    ],
)
def test_an_actions_own_error_is_told_with_its_code(servey, how, code, lines):
    done = servey("call", "fail", "--how", how, actions=[fail])
    assert (done.code, done.out, done.err.splitlines()) == (code, "", lines)


@pytest.mark.parametrize("how", ["crash", "exit"])
def test_a_defect_is_70_and_names_the_request_that_the_log_knows(servey, caplog, how):
    done = servey("call", "fail", "--how", how, actions=[fail])
    assert (done.code, done.out) == (70, "")
    assert "s3cret" not in done.err
    assert caplog.records[-1].request_id in done.err


def test_access_control_is_not_asked_and_the_context_says_cli(servey):
    @action(access_control=ALLOW_NONE)
    def transport(context: CallContext) -> str:
        return f"{context.transport} {context.origin.value}"

    assert servey("call", "transport", actions=[transport]) == (0, '"cli system"\n', "")


def test_an_action_that_needs_a_caller_says_so(servey):
    @action
    def whoami(authorization: Authorization) -> str:
        return "?"

    done = servey("call", "whoami", actions=[whoami])
    assert (done.code, done.out) == (77, "")
    assert "--token" in done.err


def test_what_an_action_prints_is_no_part_of_the_result(servey):
    @action
    def noisy() -> str:
        print("noise")
        return "result"

    assert servey("call", "noisy", actions=[noisy]) == (0, '"result"\n', "noise\n")


def test_a_reply_is_answered_with_its_value(servey):
    @action
    def made() -> Reply[str]:
        return Reply("it", status=201)

    assert servey("call", "made", actions=[made]).out == '"it"\n'


def test_a_deprecated_action_says_so_and_works(servey):
    @action(deprecated=True)
    def old() -> int:
        return 1

    done = servey("call", "old", actions=[old])
    assert (done.code, done.out) == (0, "1\n")
    assert "deprecated" in done.err
