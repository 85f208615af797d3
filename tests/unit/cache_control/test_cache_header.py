import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from servey.cache_control import CacheHeader, TimestampCacheControl
from servey.cache_control.answer_headers import answer_headers
from servey.cache_control.representation import Representation

THEN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "open_to_all", "private"),
    [
        (CacheHeader(), "no-cache", "private, no-cache"),
        (CacheHeader(max_age=30), "max-age=30", "private, max-age=30"),
        (CacheHeader(max_age=0), "max-age=0", "private, max-age=0"),
        (CacheHeader(max_age=30, public=True), "public, max-age=30", "private, max-age=30"),
        (CacheHeader(public=True), "public, no-cache", "private, no-cache"),
        (CacheHeader(max_age=30, public=True, no_store=True), "no-store", "no-store"),
    ],
)
def test_what_is_known_is_told_in_cache_control(header, open_to_all, private):
    assert header.directives(private=False) == open_to_all
    assert header.directives(private=True) == private


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_age": -1},
        {"max_age": 2**31},
        {"max_age": 1.5},
        {"max_age": True},
        {"max_age": "30"},
        {"etag": '"quoted"'},
        {"etag": "a b"},
        {"etag": "a\nb"},
        {"etag": "a\x7f"},
        {"etag": "€"},
        {"etag": b"bytes"},
        {"last_modified": "yesterday"},
        {"last_modified": 0},
    ],
)
def test_what_cannot_be_sent_is_refused(wrong):
    with pytest.raises(ValueError):
        CacheHeader(**wrong)


@pytest.mark.parametrize("etag", ["", "a", "!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "\x80\xff"])
def test_every_tag_that_rfc_9110_allows_is_taken(etag):
    assert CacheHeader(etag=etag).etag == etag


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone cannot be changed here")
def test_a_date_without_a_zone_is_in_local_time(monkeypatch):
    monkeypatch.setitem(os.environ, "TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert CacheHeader(last_modified=datetime(2026, 3, 1, 9)).last_modified == THEN
    finally:
        monkeypatch.undo()
        time.tzset()


def test_of_several_that_speak_of_one_result_the_strictest_counts():
    later = THEN + timedelta(days=1)
    said = [
        CacheHeader(max_age=60, public=True, last_modified=THEN),
        CacheHeader(etag="first", last_modified=later),
        CacheHeader(max_age=30, etag="second", public=True),
    ]
    assert CacheHeader.agreed(said) == CacheHeader(30, "first", later, public=True)
    assert CacheHeader.agreed([*said, CacheHeader(max_age=5)]).public is False
    assert CacheHeader.agreed([*said, CacheHeader(no_store=True)]).no_store
    assert CacheHeader.agreed([CacheHeader(), CacheHeader()]) == CacheHeader()
    assert CacheHeader.agreed([CacheHeader(public=True), CacheHeader()]).public is False
    assert CacheHeader.agreed([]) == CacheHeader()


def test_a_whole_is_fresh_while_all_its_parts_are():
    later = THEN + timedelta(days=1)
    long = CacheHeader(max_age=60, etag="a", public=True, last_modified=later)
    short = CacheHeader(max_age=30, etag="b", public=True, last_modified=THEN)
    assert CacheHeader.of_parts([long, short]) == CacheHeader(30, None, later, public=True)
    assert CacheHeader.of_parts([long, CacheHeader(max_age=90)]) == CacheHeader(60)
    assert CacheHeader.of_parts([long, CacheHeader(last_modified=THEN)]) == CacheHeader(last_modified=later)
    assert CacheHeader.of_parts([long, CacheHeader(no_store=True)]).no_store
    assert CacheHeader.of_parts([]) == CacheHeader()


@pytest.mark.parametrize("end", [datetime.min, datetime.max])
def test_a_local_time_at_the_end_of_time_is_not_known(end):
    told = TimestampCacheControl("at").cache_header({"at": end}, b"").last_modified
    assert told is None or told.tzinfo is not None
    made = Representation.of(b"", CacheHeader(last_modified=end), private=False, made_at=1e9)
    assert "last-modified" not in dict(answer_headers(made)) or told is not None
