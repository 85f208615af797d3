"""Format and parse the dates of HTTP (RFC 9110 §5.6.7)."""

from __future__ import annotations

import re
import time
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# compiled at first use: this takes longer than the rest of the import
_DAY, _MONTH = f"(?:{'|'.join(_DAYS)})", f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = (
    rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT\Z",
    rf"(?:{_LONG_DAYS}), (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT\Z",
    rf"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})\Z",
)


def format_http_date(seconds: float) -> str:
    """Return a time as an ``IMF-fixdate``, without the fraction of a second.

    Args:
        seconds: Seconds since the epoch.

    Example:
        >>> format_http_date(784111777.9)
        'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    return _formatted(int(seconds))


@lru_cache(maxsize=64)
def _formatted(seconds: int) -> str:
    """Return a date; cached, because most answers need the date of this second, or one max-age later."""
    at = time.gmtime(seconds)  # not strftime, which takes the names of days and months from the locale
    date = f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d}"
    return f"{date} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"


def parse_http_date(text: str, now: float | None = None) -> int | None:
    """Return a date as seconds since the epoch; None if the text has none of the three formats.

    Args:
        text: An ``IMF-fixdate``, or an obsolete date of RFC 850 or of ``asctime()``.
        now: The current time in seconds since the epoch, for a year of two digits; default: the clock.

    Example:
        >>> parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT")
        784111777
        >>> parse_http_date("yesterday") is None
        True
    """
    found = next(filter(None, (re.match(form, text, re.ASCII) for form in _FORMS)), None)
    if found is None:
        return None
    month, day = _MONTHS.index(found["month"]) + 1, int(found["day"])
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _whole_year(year, (month, day, hour, minute, second), now)
    import calendar  # only if a client sends a date

    if year < 1 or not 1 <= day <= calendar.monthrange(year, month)[1] or hour > 23 or minute > 59 or second > 60:
        return None
    return calendar.timegm((year, month, day, hour, minute, min(second, 59), 0, 0, 0))


def _whole_year(digits: int, rest: tuple[int, ...], now: float | None) -> int:
    """Return the full year for two digits: at most 50 years in the future (RFC 9110 §5.6.7)."""
    at = time.gmtime(now)
    year = at.tm_year // 100 * 100 + digits
    while (year, *rest) > (at.tm_year + 50, *at[1:6]):
        year -= 100
    while (year + 100, *rest) <= (at.tm_year + 50, *at[1:6]):
        year += 100
    return year
