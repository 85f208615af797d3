"""A result with its headers, and with those of a reply."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from servey.cache_control import CacheHeader
from servey.cache_control.answer_headers import answer_headers, private_headers
from servey.cache_control.preconditions import Conditions, Current, Outcome
from servey.cache_control.reply_headers import cache_directives, seconds_in
from servey.cache_control.representation import Representation

MADE = 784111777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
IN_30 = "Sun, 06 Nov 1994 08:50:07 GMT"
AN_HOUR_BEFORE = "Sun, 06 Nov 1994 07:49:37 GMT"
THEN = datetime(1994, 11, 6, 7, 49, 37, tzinfo=UTC)


def made(cache=None, *, private=False, status=None, headers=None, content=b"1"):
    return Representation.of(
        content, cache or CacheHeader(max_age=30), private=private, status=status, headers=headers, made_at=MADE
    )


def headers_of(representation, **options):
    return dict(answer_headers(representation, **options))


def test_what_is_known_of_a_result_is_in_its_headers():
    told = headers_of(made(CacheHeader(max_age=30, etag="e", last_modified=THEN)))
    assert told == {"etag": '"e"', "last-modified": AN_HOUR_BEFORE, "cache-control": "max-age=30", "expires": IN_30}


def test_what_nobody_knows_is_not_told():
    assert headers_of(made(CacheHeader(etag="e"))) == {"etag": '"e"', "cache-control": "no-cache"}
    assert headers_of(made(CacheHeader(max_age=5, etag="e", no_store=True))) == {
        "etag": '"e"',
        "cache-control": "no-store",
    }


def test_what_is_private_says_so_and_whom_it_depends_on():
    told = headers_of(made(private=True))
    assert (told["cache-control"], told["vary"]) == ("private, max-age=30", "Authorization")
    assert headers_of(made(private=True), by_cookie=True)["vary"] == "Authorization, Cookie"


@pytest.mark.parametrize("later", [timedelta(0), timedelta(seconds=0.5), timedelta(days=365)])
def test_a_date_is_never_in_the_future_nor_of_the_second_in_which_it_may_change_again(later):
    changed = CacheHeader(last_modified=datetime.fromtimestamp(MADE, UTC) + later)
    assert "last-modified" not in headers_of(made(changed))
    assert made(changed).last_modified == MADE


@pytest.mark.parametrize("before", [0.1, 0.9, 1.0, 1.1, 1.9, 2.5])
def test_a_date_that_is_told_is_the_one_that_conditions_are_compared_with(before):
    changed = CacheHeader(last_modified=datetime.fromtimestamp(MADE - before, UTC))
    told = headers_of(made(changed)).get("last-modified")
    assert (told is not None) == (before >= 1)
    if told is not None:
        current = Current('"e"', made(changed).last_modified)
        for name, reads, expected in (
            (b"if-unmodified-since", False, Outcome.PROCEED),
            (b"if-modified-since", True, Outcome.NOT_MODIFIED),
        ):
            conditions = Conditions.of([(name, told.encode())], MADE)
            assert conditions.evaluate(current, reads=reads, now=MADE) is expected


def test_the_tag_is_one_of_the_content_unless_there_is_another():
    assert made().entity_tag == made().entity_tag != made(content=b"2").entity_tag
    assert made(CacheHeader(etag="e")).entity_tag == '"e"'


def test_the_tag_tells_apart_what_a_reply_says_of_the_content():
    plain = made().entity_tag
    assert made(status=200).entity_tag == plain
    assert made(headers={"Set-Cookie": "a=b", "Vary": "Accept"}).entity_tag == plain
    assert made(headers={"Content-Language": "de"}).entity_tag not in (plain, made(headers={"Link": "<x>"}).entity_tag)
    assert made(status=203).entity_tag != plain


def test_the_headers_of_a_reply_go_before_those_of_the_control():
    own = {
        "ETag": 'W/"v1"',
        "Last-Modified": AN_HOUR_BEFORE,
        "Cache-Control": "max-age=5, must-revalidate",
        "Link": "<x>",
    }
    representation = made(headers=own)
    assert representation.cache == CacheHeader(5, "v1", THEN)
    assert headers_of(representation) == {
        "etag": 'W/"v1"',
        "last-modified": AN_HOUR_BEFORE,
        "cache-control": "max-age=5, must-revalidate",
        "expires": "Sun, 06 Nov 1994 08:49:42 GMT",
        "link": "<x>",
    }


@pytest.mark.parametrize(("expires", "age"), [(IN_30, 30), (AN_HOUR_BEFORE, 0), ("0", 0), (DATE, 0)])
def test_an_expires_of_a_reply_sets_the_age(expires, age):
    representation = made(CacheHeader(max_age=600), headers={"Expires": expires})
    told = answer_headers(representation)
    assert dict(told)["cache-control"] == f"max-age={age}"
    assert [value for name, value in told if name == "expires"] == [expires]


@pytest.mark.parametrize(
    "headers",
    [
        {"Set-Cookie": "a=b"},
        {"set-cookie": "a=b"},
        {"Cache-Control": "no-store"},
        {"Cache-Control": "max-age=5, No-Store"},
        {"Cache-Control": 'private="X", max-age=5'},
        {"Vary": "Accept, *"},
    ],
)
def test_what_a_reply_does_not_want_kept_is_not(headers):
    assert made(headers=headers).cache.no_store


def test_a_cookie_goes_into_no_cache():
    assert headers_of(made(headers={"Set-Cookie": "a=b"}))["cache-control"] == "no-store"


@pytest.mark.parametrize("value", ["no-cache", 'no-cache="X", max-age=5', "must-revalidate", "max-age=soon"])
def test_without_an_age_of_its_own_a_reply_has_none(value):
    representation = made(headers={"Cache-Control": value})
    assert representation.cache.max_age is None
    assert "expires" not in headers_of(representation)


@pytest.mark.parametrize("value", ["public", "PUBLIC, max-age=5", "max-age=5, s-maxage=10", "x,,public"])
def test_a_private_result_is_shared_by_no_reply(value):
    for of in (
        lambda: made(private=True, headers={"Cache-Control": value}),
        lambda: private_headers({"cache-control": value}),
    ):
        with pytest.raises(ValueError):
            of()


def test_a_private_result_is_shared_by_no_cache_control():
    with pytest.raises(ValueError):
        made(CacheHeader(max_age=1, public=True), private=True)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("max-age=5", "private, max-age=5"),
        ("private, max-age=5", "private, max-age=5"),
        ('private="x", max-age=5', 'private, private="x", max-age=5'),
        ("no-store", "no-store"),
    ],
)
def test_what_a_reply_says_of_a_private_result_stays_private(value, sent):
    assert headers_of(made(private=True, headers={"Cache-Control": value}))["cache-control"] == sent
    assert dict(private_headers({"Cache-Control": value}))["cache-control"] == sent


def test_a_reply_adds_to_vary_and_takes_nothing_away():
    own = {"Vary": "accept-language, AUTHORIZATION"}
    assert headers_of(made(private=True, headers=own))["vary"] == "Authorization, accept-language"
    assert headers_of(made(headers=own))["vary"] == "accept-language, AUTHORIZATION"
    assert dict(private_headers(own))["vary"] == "Authorization, accept-language"
    assert headers_of(made(private=True, headers={"Vary": "*"}))["vary"] == "*"


@pytest.mark.parametrize(
    "headers", [{"ETag": "v1"}, {"ETag": '"a b"'}, {"ETag": '"a", "b"'}, {"Last-Modified": "2026-01-01"}]
)
def test_a_validator_of_a_reply_that_is_none_is_a_defect(headers):
    with pytest.raises(ValueError):
        made(headers=headers)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", {}),
        ("Max-Age=5,no-cache", {"max-age": "5", "no-cache": None}),
        (' private = "x" ', {}),
        ('private="a\\"b, public" , x=y', {"private": 'a"b, public', "x": "y"}),
        (",, no-store ,", {"no-store": None}),
        ("max-age=5 garbage, no-store", {"no-store": None}),
        ('"quoted", no-store', {"no-store": None}),
    ],
)
def test_directives_are_read(value, found):
    assert cache_directives(value) == found


@pytest.mark.parametrize(
    ("argument", "seconds"),
    [(None, None), ("", None), ("-1", None), ("1.5", None), ("٣", None), ("0", 0), ("30", 30), ("9" * 5000, 2**31 - 1)],
)
def test_seconds_are_read(argument, seconds):
    assert seconds_in(argument) == seconds


def test_what_adapters_make_of_it_is_not_a_part_of_it():
    representation = made()
    representation.renderings["x"] = 1
    assert representation.renderings == {"x": 1}
    assert representation == made()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(representation), type=Representation) == representation


def test_of_several_directives_of_one_name_the_first_counts():
    assert cache_directives("max-age=0, max-age=500") == {"max-age": "0"}
    assert made(headers={"Cache-Control": "max-age=0, max-age=500"}).cache.max_age == 0


def test_what_was_old_when_it_was_made_is_fresh_for_the_rest():
    assert made(headers={"Cache-Control": "max-age=50", "Age": "20"}).cache.max_age == 30
    assert made(headers={"Cache-Control": "max-age=50", "Age": "60"}).cache.max_age == 0
    assert made(headers={"Cache-Control": "max-age=50", "Age": "old"}).cache.max_age == 50
