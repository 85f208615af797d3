import pytest
from hypothesis import given
from hypothesis import strategies as st

from servey.cache_control.http_date import format_http_date
from servey.cache_control.preconditions import Conditions, Current, EntityTags, Outcome

PROCEED, NOT_MODIFIED, FAILED = Outcome.PROCEED, Outcome.NOT_MODIFIED, Outcome.FAILED

CHANGED = 1_000_000_000
THEN = format_http_date(CHANGED)
BEFORE = format_http_date(CHANGED - 1)
AFTER = format_http_date(CHANGED + 1)
NOW = CHANGED + 1000.0

THERE = Current('"a"', CHANGED + 0.25)


def outcome(*lines, current=THERE, reads=True, now=NOW):
    headers = [(name.encode(), value.encode("latin-1")) for name, value in lines]
    return Conditions.of(headers, now).evaluate(current, reads=reads, now=now)


TAGS = {
    # header: (the tags, any, readable)
    '"a"': (('"a"',), False, True),
    'W/"a"': (('W/"a"',), False, True),
    '"a", "b"': (('"a"', '"b"'), False, True),
    '"a","b"': (('"a"', '"b"'), False, True),
    '"a" ,\t"b"  ': (('"a"', '"b"'), False, True),
    '"a,b"': (('"a,b"',), False, True),
    '"a, W/b", "c"': (('"a, W/b"', '"c"'), False, False),  # a space may not be in a tag
    '"\x80\xff"': (('"\x80\xff"',), False, True),
    '""': (('""',), False, True),
    '"\\"': (('"\\"',), False, True),  # no escapes: the backslash is the tag
    '"W/a"': (('"W/a"',), False, True),
    ',"a",,"b",': (('"a"', '"b"'), False, True),
    ' , "a" , ': (('"a"',), False, True),
    '"*"': (('"*"',), False, True),
    "*": ((), True, True),
    " * ": ((), True, True),
    '*, "a"': ((), False, False),
    "*,*": ((), False, False),
    "": ((), False, False),
    ",": ((), False, False),
    "a": ((), False, False),
    '"a': ((), False, False),
    'a"': ((), False, False),
    '"a" "b"': ((), False, False),
    '"a";"b"': ((), False, False),
    'w/"a"': ((), False, False),
    'W/ "a"': ((), False, False),
    '"a", b': ((), False, False),
    '"\x7f"': ((), False, False),
    "'a'": ((), False, False),
}


@pytest.mark.parametrize("value", TAGS)
def test_every_form_of_entity_tags_is_read_or_is_not(value):
    tags, whatever, readable = TAGS[value]
    assert EntityTags.parse(value) == (EntityTags(tags, whatever, True) if readable else EntityTags(readable=False))


@pytest.mark.parametrize(
    ("sent", "there", "strong", "weak"),
    [
        # the table of RFC 9110 §8.8.3.2
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', 'W/"1"', False, True),
        ('"1"', '"1"', True, True),
        ("*", '"1"', True, True),
        ("*", 'W/"1"', True, True),
        ("*", None, False, False),
        ('"1"', None, False, False),
        ('"1', '"1"', False, False),
        ('"A"', '"a"', False, False),
    ],
)
def test_tags_are_compared_strongly_and_weakly(sent, there, strong, weak):
    tags = EntityTags.parse(sent)
    assert (tags.has(there), tags.has_like(there)) == (strong, weak)


IF_NONE_MATCH = {
    # header: (GET, another method)
    '"a"': (NOT_MODIFIED, FAILED),
    'W/"a"': (NOT_MODIFIED, FAILED),
    '"b"': (PROCEED, PROCEED),
    '"b", , "a"': (NOT_MODIFIED, FAILED),
    '"b,a"': (PROCEED, PROCEED),
    "*": (NOT_MODIFIED, FAILED),
    '"*"': (PROCEED, PROCEED),
    # what cannot be read saves no answer, and lets nothing be changed
    "a": (PROCEED, FAILED),
    '*, "b"': (PROCEED, FAILED),
    "": (PROCEED, FAILED),
    '"b" "a"': (PROCEED, FAILED),
}


@pytest.mark.parametrize("value", IF_NONE_MATCH)
def test_if_none_match(value):
    told = tuple(outcome(("if-none-match", value), reads=reads) for reads in (True, False))
    assert told == IF_NONE_MATCH[value]


IF_MATCH = {
    '"a"': PROCEED,
    '"b", "a"': PROCEED,
    "*": PROCEED,
    'W/"a"': FAILED,
    '"b"': FAILED,
    "a": FAILED,
    "": FAILED,
    '*, "a"': FAILED,
}


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("value", IF_MATCH)
def test_if_match(value, reads):
    assert outcome(("if-match", value), reads=reads) is IF_MATCH[value]


@pytest.mark.parametrize("value", ['"a"', "*", "a"])
def test_nothing_there_fails_every_if_match(value):
    assert outcome(("if-match", value), current=None, reads=False) is FAILED


@pytest.mark.parametrize("value", ['"a"', "*"])
def test_nothing_there_meets_every_if_none_match(value):
    assert outcome(("if-none-match", value), current=None, reads=False) is PROCEED


def test_several_lines_of_one_name_are_one_list():
    assert outcome(("if-none-match", '"b"'), ("if-none-match", '"a"')) is NOT_MODIFIED
    assert outcome(("if-match", '"b"'), ("if-match", '"a"'), reads=False) is PROCEED
    assert outcome(("if-none-match", "*"), ("if-none-match", '"b"')) is PROCEED


@pytest.mark.parametrize(
    ("since", "told"),
    [
        (THEN, NOT_MODIFIED),
        (AFTER, NOT_MODIFIED),
        (BEFORE, PROCEED),
        ("Sunday, 09-Sep-01 01:46:40 GMT", NOT_MODIFIED),
        ("Sun Sep  9 01:46:40 2001", NOT_MODIFIED),
        ("Sun Sep  9 01:46:39 2001", PROCEED),
        ("2001-09-09T01:46:40Z", PROCEED),
        ("0", PROCEED),
        ("", PROCEED),
    ],
)
def test_if_modified_since(since, told):
    assert outcome(("if-modified-since", since)) is told


def test_if_modified_since_is_for_get_and_head_alone():
    assert outcome(("if-modified-since", THEN), reads=False) is PROCEED


@pytest.mark.parametrize("tags", ['"b"', "a", ""])
def test_if_modified_since_is_ignored_beside_if_none_match(tags):
    assert outcome(("if-modified-since", AFTER), ("if-none-match", tags)) is PROCEED


@pytest.mark.parametrize("name", ["if-modified-since", "if-unmodified-since"])
def test_two_dates_are_no_date(name):
    assert outcome((name, AFTER), (name, AFTER)) is PROCEED
    assert outcome((name, BEFORE), (name, BEFORE)) is PROCEED


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize(
    ("since", "told"), [(THEN, PROCEED), (AFTER, PROCEED), (BEFORE, FAILED), ("yesterday", PROCEED)]
)
def test_if_unmodified_since(since, told, reads):
    assert outcome(("if-unmodified-since", since), reads=reads) is told


def test_if_unmodified_since_is_ignored_beside_if_match():
    assert outcome(("if-unmodified-since", BEFORE), ("if-match", '"a"'), reads=False) is PROCEED


@pytest.mark.parametrize("current", [None, Current('"a"')])
def test_dates_are_ignored_where_no_date_is_known(current):
    assert outcome(("if-unmodified-since", BEFORE), current=current, reads=False) is PROCEED
    assert outcome(("if-modified-since", AFTER), current=current) is PROCEED


def test_a_date_of_this_very_second_is_too_weak_to_save_an_answer_or_to_allow_a_change():
    just_now = THERE.last_modified + 0.5
    assert outcome(("if-modified-since", THEN), now=just_now) is PROCEED
    assert outcome(("if-unmodified-since", THEN), now=just_now, reads=False) is FAILED
    assert outcome(("if-modified-since", THEN), now=just_now + 1) is NOT_MODIFIED


def test_if_match_is_asked_before_if_none_match():
    assert outcome(("if-match", '"b"'), ("if-none-match", '"a"')) is FAILED
    assert outcome(("if-match", '"a"'), ("if-none-match", '"a"')) is NOT_MODIFIED
    assert outcome(("if-unmodified-since", BEFORE), ("if-none-match", '"a"')) is FAILED
    assert outcome(("if-unmodified-since", AFTER), ("if-modified-since", AFTER)) is NOT_MODIFIED


def test_without_conditions_everything_is_done():
    assert outcome(("accept", "*/*")) is PROCEED


@given(st.text(st.characters(max_codepoint=255), max_size=50))
def test_nothing_that_is_sent_makes_the_reading_of_tags_fail(value):
    tags = EntityTags.parse(value)
    assert all(tag in value for tag in tags.tags)
    assert tags.readable == bool(tags.tags or tags.any)


etagc = st.characters(
    min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"' + "".join(map(chr, range(0x7F, 0x80)))
)


@given(st.lists(st.builds(lambda weak, tag: f'{weak}"{tag}"', st.sampled_from(["", "W/"]), st.text(etagc)), min_size=1))
def test_what_is_written_as_a_list_is_read_as_it_was(tags):
    assert EntityTags.parse(", ".join(tags)).tags == tuple(tags)


def test_a_long_list_takes_no_long_time():
    assert not EntityTags.parse('"' + "a" * 1_000_000).readable
    assert not EntityTags.parse(" " * 100_000 + "x").readable
    assert len(EntityTags.parse(",".join(['"a"'] * 100_000)).tags) == 100_000
