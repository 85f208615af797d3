"""The cache controls that servey has, and those of a user's own beside them."""

from collections import namedtuple
from datetime import UTC, datetime, timedelta

import pytest

from servey import DefinitionError
from servey.cache_control import (
    CacheHeader,
    CombinedCacheControl,
    SecureHashCacheControl,
    TimestampCacheControl,
    TtlCacheControl,
)
from servey.ports import CacheControl

THEN = datetime(2026, 3, 1, tzinfo=UTC)
Row = namedtuple("Row", "updated_at")


class Mine:
    def cache_header(self, result, content):
        return CacheHeader(max_age=5, etag="mine")

    def current_etag(self, params):
        return "now"


@pytest.mark.parametrize("ttl", [30, 30.0, timedelta(seconds=30)])
def test_a_time_to_live_is_in_seconds_or_a_timedelta(ttl):
    assert TtlCacheControl(ttl).cache_header(None, b"") == CacheHeader(max_age=30)
    assert SecureHashCacheControl(ttl).cache_header(None, b"").max_age == 30
    assert TimestampCacheControl("updated_at", ttl).cache_header(None, b"").max_age == 30


@pytest.mark.parametrize(
    "control", [TtlCacheControl, SecureHashCacheControl, lambda ttl: TimestampCacheControl("x", ttl)]
)
@pytest.mark.parametrize(
    "ttl", [-1, 1.5, float("nan"), float("inf"), 2**31, "30", True, timedelta(milliseconds=1500), timedelta(-1), [], 1j]
)
def test_a_time_that_cannot_be_is_refused(control, ttl):
    with pytest.raises(DefinitionError):
        control(ttl)


def test_a_time_to_live_has_to_be_given():
    with pytest.raises(DefinitionError):
        TtlCacheControl(None)


@pytest.mark.parametrize("control", [lambda **given: TtlCacheControl(1, **given), SecureHashCacheControl])
@pytest.mark.parametrize("public", [1, "yes", None])
def test_public_is_a_bool(control, public):
    with pytest.raises(DefinitionError):
        control(public=public)


@pytest.mark.parametrize("of", ["", "not a name", "a.b", None, 5, datetime])
def test_a_date_is_that_of_a_field_or_of_a_function(of):
    with pytest.raises(DefinitionError):
        TimestampCacheControl(of)


def test_public_is_said_only_where_it_is_declared():
    for control in (TtlCacheControl(1), SecureHashCacheControl(), TimestampCacheControl("x")):
        assert not control.cache_header(None, b"").public
    for control in (
        TtlCacheControl(1, public=True),
        SecureHashCacheControl(public=True),
        TimestampCacheControl("x", public=True),
    ):
        assert control.public
        assert control.cache_header(None, b"").public


def test_a_hash_is_one_of_the_content():
    one, same, other = (SecureHashCacheControl().cache_header(None, content) for content in (b"1", b"1", b"2"))
    assert one == same
    assert one.etag != other.etag
    assert one.max_age is None
    assert len(one.etag) == 32


@pytest.mark.parametrize("result", [{"updated_at": THEN}, Row(THEN)])
def test_a_date_is_taken_from_an_object_or_a_dict(result):
    assert TimestampCacheControl("updated_at").cache_header(result, b"") == CacheHeader(last_modified=THEN)


def test_a_date_is_taken_from_a_function():
    control = TimestampCacheControl(lambda rows: max(row.updated_at for row in rows))
    assert control.cache_header([Row(THEN), Row(THEN - timedelta(1))], b"").last_modified == THEN


def test_a_date_may_be_unknown():
    assert TimestampCacheControl("updated_at").cache_header(Row(None), b"") == CacheHeader()
    assert TimestampCacheControl("updated_at").cache_header(None, b"") == CacheHeader()
    assert TimestampCacheControl(lambda result: None).cache_header(1, b"") == CacheHeader()


@pytest.mark.parametrize("result", [Row("yesterday"), {}, object()])
def test_a_result_without_a_date_is_a_defect(result):
    with pytest.raises((ValueError, KeyError, AttributeError)):
        TimestampCacheControl("updated_at").cache_header(result, b"")


def test_controls_are_combined_with_each_other_and_with_ones_own():
    both = TtlCacheControl(30, public=True) & TimestampCacheControl("updated_at")
    assert both.cache_header(Row(THEN), b"") == CacheHeader(30, None, THEN, public=True)
    assert both.public
    for mixed in (both & Mine(), CombinedCacheControl(both, Mine())):
        assert mixed.cache_header(Row(THEN), b"") == CacheHeader(5, "mine", THEN)
        assert mixed.current_etag({}) == "now"
    assert (Mine() & TtlCacheControl(1)).cache_header(None, b"").max_age == 1
    assert not hasattr(both, "current_etag")


def test_a_combination_of_combinations_is_flat_and_says_what_it_is():
    all_of_them = (TtlCacheControl(30) & SecureHashCacheControl()) & TimestampCacheControl("x", 5, public=True)
    assert len(all_of_them.controls) == 3
    assert repr(all_of_them) == (
        "CombinedCacheControl(TtlCacheControl(30), SecureHashCacheControl(), "
        "TimestampCacheControl('x', 5, public=True))"
    )


@pytest.mark.parametrize("parts", [(), (TtlCacheControl(1),), (TtlCacheControl(1), 5), (TtlCacheControl(1), Mine)])
def test_only_cache_controls_are_combined(parts):
    with pytest.raises(DefinitionError):
        CombinedCacheControl(*parts)


def test_all_of_them_are_cache_controls():
    controls = (TtlCacheControl(1), SecureHashCacheControl(), TimestampCacheControl("x"), TtlCacheControl(1) & Mine())
    assert all(isinstance(control, CacheControl) for control in controls)
