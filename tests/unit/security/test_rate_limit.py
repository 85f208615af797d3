"""The notation of rate limits, and whose calls are counted together."""

import pytest

from servey import Authorization, CallContext, Origin
from servey.action.action import action
from servey.errors import DefinitionError, SettingsError
from servey.security.rate_limit.call_counter import MOST_CALLS, parse_rate_limit
from servey.security.rate_limit.caller import caller_of, network_of, warn_of_no_address
from servey.servey_redis.redis_rate_limit_storage import RedisRateLimitStorage
from servey.servey_redis.redis_result_store import RedisResultStore
from servey.service import Service
from servey.settings import Settings


def context(client: str = "", authorization: Authorization | None = None) -> CallContext:
    return CallContext(Origin.NETWORK, "test", "1", authorization, client=client)


def test_several_limits_are_ordered_by_their_time():
    limits = parse_rate_limit("100/hour; 10 per minute;3/5 seconds", "f")
    assert [(limit.amount, limit.get_expiry()) for limit in limits] == [(3, 5), (10, 60), (100, 3600)]


@pytest.mark.parametrize(
    "text",
    [
        *("", "ten/minute", "10", "10/fortnight", "/minute", "10/minute;", "-1/minute", "1.5/minute", "9" * 5000),
        *("0/minute", "10/0 minutes", "10/minute;5/60 seconds", f"{MOST_CALLS + 1}/day", 10, ("10/minute",)),
    ],
)
def test_what_is_no_rate_limit_is_an_error_at_start_with_place_and_fix(text):
    @action(rate_limit=text)
    def f() -> None: ...

    with pytest.raises(DefinitionError) as raised:
        Service([f])
    assert raised.value.where == (f.__servey_action__.where,)
    assert "10/minute" in raised.value.fix


def test_every_wrong_rate_limit_is_told_at_once():
    @action(rate_limit="often")
    def f() -> None: ...

    @action(rate_limit="rarely")
    def g() -> None: ...

    with pytest.raises(DefinitionError) as raised:
        Service([f, g])
    assert len(raised.value.joined) == 2


def test_a_store_that_is_none_stops_the_start_and_is_not_repeated():
    @action(rate_limit="1/minute")
    def f() -> None: ...

    with pytest.raises(SettingsError, match="SERVEY_RATE_LIMITS") as raised:
        Service([f], settings=Settings(rate_limits="amqp://me:secret@host"))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("option", ["foo=bar", "decode_responses=true", "encoding=utf-16", "db=x"])
def test_an_option_that_no_store_has_or_that_changes_its_answers_stops_the_start(option):
    for of in (lambda url: RedisRateLimitStorage(url, 1.0), RedisResultStore):
        with pytest.raises(SettingsError, match="SERVEY_R") as raised:
            of(f"redis://:secret@127.0.0.1:1/0?{option}")
        assert "secret" not in str(raised.value)
        of("redis://127.0.0.1:1/0?health_check_interval=5")


@pytest.mark.parametrize("url", ["redis://host", "redis://:secret@host:6379/1", "rediss://host", "unix:///run/v.sock"])
def test_a_store_is_named_as_its_client_names_it(url):
    assert Service([], settings=Settings(rate_limits=url)).stores.call_counter.is_shared


@pytest.mark.parametrize(
    "same",
    [
        ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207", "64:ff9b::192.0.2.7"),
        ("2001:db8:0:1::1", "2001:DB8:0:1:ffff::2", "2001:db8:0:1::1%eth0"),
        ("",),
        ("testclient",),
    ],
    ids=str,
)
def test_one_caller_has_many_addresses(same):
    assert len({network_of(address) for address in same}) == 1


def test_other_networks_are_other_callers():
    addresses = ["192.0.2.7", "192.0.2.8", "2001:db8:0:1::1", "2001:db8:0:2::1", "", "testclient", "::1"]
    assert len({network_of(address) for address in addresses}) == len(addresses)


def test_what_a_proxy_makes_up_is_kept_short():
    assert len(network_of("x" * 10_000)) < 100


def test_that_callers_have_no_address_is_logged_once_and_only_where_it_matters(caplog):
    warn_of_no_address.cache_clear()
    caller_of(context("192.0.2.7"))
    caller_of(context("", Authorization("me")))
    assert caplog.records == []
    assert caller_of(context()) == caller_of(context()) == "nobody"
    (record,) = caplog.records
    assert "FORWARDED_ALLOW_IPS=*" in record.getMessage()


def test_a_network_of_ipv6_may_be_taken_wider():
    assert network_of("2001:db8:1:2::7", 48) == network_of("2001:db8:1:3::8", 48) == "2001:db8:1::/48"
    assert network_of("192.0.2.7", 48) == network_of("::ffff:192.0.2.7", 48) == "192.0.2.7"


def test_a_verified_caller_is_the_same_from_everywhere_and_with_every_token():
    first = Authorization("me", frozenset({"a"}), "here", claims={"auth_time": 1, "sid": "x"})
    second = Authorization("me", frozenset(), "here", claims={"auth_time": 2, "sid": "y"})
    assert caller_of(context("192.0.2.7", first)) == caller_of(context("192.0.2.8", second))


def test_other_subjects_and_those_of_other_issuers_are_other_callers():
    callers = [
        *(Authorization("me", issuer="here"), Authorization("you", issuer="here"), Authorization("me", issuer="there")),
        *(Authorization("me"), Authorization(claims={"a": 1}), Authorization(claims={"a": 2}), None),
    ]
    assert len({caller_of(context("192.0.2.7", caller)) for caller in callers}) == len(callers)


def test_nobody_can_be_somebody_else_by_a_name():
    known = Authorization("192.0.2.7")
    assert caller_of(context("x", known)) != caller_of(context("192.0.2.7"))
    assert caller_of(context(caller_of(context("", known)))) != caller_of(context("", known))


def test_callers_whom_nobody_can_tell_apart_are_counted_together():
    class Session(Authorization, frozen=True):
        opened: object = None

    first, second = (
        CallContext(Origin.NETWORK, "rest", "1", authorization=Session(opened=open_)) for open_ in (len, print)
    )
    assert caller_of(first) == caller_of(second)
