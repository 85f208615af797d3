"""The errors of servey, and one table with their meaning in every transport.

    ServeyError
    ├── DefinitionError            a declaration is wrong; raised at start, names file:line and the fix
    ├── SettingsError              a setting (environment variable) is wrong or contradicts another
    ├── ResourceError              a resource of the service cannot be opened; the service does not start
    ├── MissingExtraError          an optional dependency is not installed; has the pip command
    ├── NoServiceError             code needs a running service, and none runs
    └── CallError                  one call failed; has `code`, `status`, `exit_code`, `close_code`
        ├── MalformedError         400  the request cannot be read at all (syntax, encoding)
        ├── UnauthorizedError      401  no token, or a bad token
        ├── ForbiddenError         403  the caller is known, but not allowed
        ├── NotFoundError          404
        ├── MethodNotAllowedError  405
        ├── ConflictError          409
        │   └── InProgressError    409  the same call runs already (idempotency)
        ├── GoneError              410
        ├── PreconditionError      412
        ├── TooLargeError          413
        ├── UriTooLongError        414
        ├── UnsupportedMediaError  415
        ├── InvalidError           422  well-formed, but not valid for the action; lists all problems
        ├── TooManyRequestsError   429
        ├── InternalError          500  a defect of the service; the caller gets no details
        ├── OverloadedError        503
        └── DeadlineError          504  the call's deadline passed

An action may raise any `CallError`, or an exception that the action or a plugin declares (`ErrorMapping`). Any other
exception is an `InternalError` for the caller, with a traceback in the log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypedDict, Unpack

import msgspec


class ServeyError(Exception):
    """The base class of all errors of servey."""


class DefinitionError(ServeyError):
    """A wrong declaration, found when the service is built.

    Args:
        message: What is wrong and why.
        where: The place in the user's source, as ``file:line`` (several for a duplicate).
        fix: What to write instead.

    Attributes:
        joined: The single errors, if `join` made this one.
    """

    joined: tuple[DefinitionError, ...] = ()

    def __init__(self, message: str, *, where: str | Sequence[str] = (), fix: str = "") -> None:
        self.message = message
        self.where = (where,) if isinstance(where, str) and where else tuple(where)
        self.fix = fix
        lines = [message]
        lines += [f"  at {place}" for place in self.where if place]
        if fix:
            lines.append(f"  fix: {fix}")
        super().__init__("\n".join(lines))

    @classmethod
    def join(cls, errors: Sequence[DefinitionError]) -> DefinitionError:
        """Return one error with all of `errors`, so that a user can fix them together."""
        if len(errors) == 1:
            return errors[0]
        each = [single for error in errors for single in error.joined or (error,)]
        joined = cls(f"{len(each)} definitions are wrong:\n\n" + "\n\n".join(map(str, each)))
        joined.joined = tuple(each)
        joined.where = tuple(place for error in each for place in error.where)
        return joined


class SettingsError(ServeyError):
    """A setting is wrong; the message names the environment variable and its valid values."""


class ResourceError(ServeyError):
    """A resource of scope ``"service"`` cannot be opened; the original error is the ``__cause__``.

    Args:
        name: The name of the resource's function.
        where: Its ``file:line``, and the place in that file where it failed.
        cause: The original error.
    """

    def __init__(self, name: str, where: Sequence[str], cause: BaseException) -> None:
        self.where = tuple(dict.fromkeys(where))
        lines = [f"the resource {name!r} cannot be opened: {type(cause).__name__}: {cause}"]
        super().__init__("\n".join([*lines, *(f"  at {place}" for place in self.where)]))


class MissingExtraError(ServeyError, ImportError):
    """A package that an optional part of servey needs is not installed.

    Args:
        package: The missing distribution.
        extra: The extra of servey that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{package!r} is not installed; run {self.command(extra)}")

    @staticmethod
    def command(extra: str) -> str:
        """Return the command that installs an extra."""
        return f"pip install 'servey[{extra}]'"


class NoServiceError(ServeyError):
    """Code that needs a running service, such as `servey.cache`, is called while none runs."""

    def __init__(self) -> None:
        super().__init__(
            "no service is running here: call this in an action, inside `async with service.running():`, or in a "
            "process whose service comes from Service.from_settings()"
        )


class Problem(NamedTuple):
    """One problem of an input: its path (a JSON pointer, RFC 6901) and a message."""

    path: str
    message: str


_EX_USAGE, _EX_DATAERR, _EX_NOINPUT, _EX_UNAVAILABLE = 64, 65, 66, 69
_EX_SOFTWARE, _EX_CANTCREAT, _EX_TEMPFAIL, _EX_NOPERM = 70, 73, 75, 77
"""Exit codes of ``sysexits.h``; `os.EX_*` exists only on POSIX."""


_PHRASES = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""The phrases of RFC 9110 for which `http.HTTPStatus` has older names before Python 3.13."""


# compiled at first use: this takes longer than the rest of the import
_CODE = r"[a-z][a-z0-9_]*\Z"
_CLOSE_CODES = frozenset((1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)))


def _check_row(name: str, row: Any, *, registered: bool) -> None:
    """Check the table row of an error: the attributes of a `CallError` class or an `ErrorMapping`.

    Raises:
        DefinitionError: An attribute is not valid.
    """
    status, statuses = row.status, "a registered status" if registered else "a status"
    is_status = isinstance(status, int) and 400 <= status <= 599 and (not registered or phrase(status) != "")
    for part, valid, fix in (
        ("status", is_status, f"use {statuses} from 400 to 599"),
        ("code", isinstance(row.code, str) and re.match(_CODE, row.code), "use snake case, as in 'parcel_lost'"),
        ("exit_code", row.exit_code in range(1, 126), "use 1 to 125; sysexits.h has the usual ones"),
        ("close_code", row.close_code in _CLOSE_CODES, "use 1008, or your own code from 4000 to 4999"),
    ):
        if not valid:
            raise DefinitionError(f"the error {name} cannot have the {part} {getattr(row, part)!r}", fix=fix)


class ErrorParts(TypedDict, total=False):
    """The keyword arguments of every `CallError`."""

    errors: Sequence[Problem]
    headers: Mapping[str, str] | None
    data: Mapping[str, Any] | None


class CallError(ServeyError):
    """One call failed, and the caller may know the reason.

    The class attributes of a subclass are its meaning in every transport: `code` (stable, snake case), `status` (HTTP,
    RFC 9110), `exit_code` (sysexits) and `close_code` (websocket, RFC 6455).

    Args:
        detail: The reason, in words for the caller.
        errors: The single problems, if there are several.
        headers: HTTP headers of the answer. Characters of a value that are not in Latin-1 become ``?``.
        data: Further members for the caller (a problem's extension members, RFC 9457 §3.2).

    Raises:
        ValueError: A header is not valid.
        TypeError: An item of `errors` is not a pair of texts.
        DefinitionError: A class attribute of a subclass is not valid; see `ErrorMapping`.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    exit_code: ClassVar[int] = _EX_DATAERR
    close_code: ClassVar[int] = 1008

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _check_row(cls.__name__, cls, registered=False)

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        given: Any = detail  # users write `NotFoundError(error)`, too
        self.detail = "" if given is None else str(given)
        self.errors = tuple(map(_problem, errors))
        if self.status == 401:  # RFC 9110 §15.5.2: a 401 needs a challenge
            headers = _with_default(headers, "WWW-Authenticate", "Bearer")
        self.headers = checked_headers({name: _latin_1(value) for name, value in (headers or {}).items()})
        self.data: dict[str, Any] = dict(data or {})
        super().__init__(detail or self.title)

    @property
    def title(self) -> str:
        """The standard phrase of the status (RFC 9110 §15); "Error" for an unregistered status."""
        return phrase(self.status) or "Error"

    def problem(self, request_id: str = "", types: str = "") -> dict[str, Any]:
        """Return the problem details of this error (RFC 9457), which all transports show.

        Args:
            request_id: The id of the request.
            types: The prefix of ``type``, before the code; empty for ``about:blank``.
        """
        members: dict[str, Any] = {
            **self.data,
            "type": f"{types}{self.code}" if types else "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            members["detail"] = self.detail
        if self.errors:
            members["errors"] = [{"path": path, "message": message} for path, message in self.errors]
        if request_id:
            members["request_id"] = request_id
        return members


def _problem(given: Any) -> Problem:
    match given:
        case (str(path), str(message)):
            return Problem(path, message)
        case _:
            raise TypeError(f"{given!r} is not a Problem: a JSON pointer and a message")


class MalformedError(CallError):
    """The request cannot be read: its syntax or its encoding is wrong."""

    code, status, exit_code, close_code = "malformed", 400, _EX_DATAERR, 1007


class UnauthorizedError(CallError):
    """The request has no token, but the action needs a caller; or its token is not valid.

    Args:
        error: The error code of RFC 6750 §3.1; empty if the request has no token.
    """

    code, status, exit_code, close_code = "unauthorized", 401, _EX_NOPERM, 4401

    def __init__(self, detail: str = "", *, error: str = "", **parts: Unpack[ErrorParts]) -> None:
        challenge = "Bearer"
        if error:
            challenge += f' error="{error}"'
            if detail:
                challenge += f', error_description="{_quoted(detail)}"'
        parts["headers"] = _with_default(parts.get("headers"), "WWW-Authenticate", challenge)
        super().__init__(detail or "the caller must be known: send a bearer token", **parts)


class ForbiddenError(CallError):
    """The caller is known, but may not do this.

    Args:
        scope: The scopes that the token lacks, separated by spaces (RFC 6750 §3.1); the error is `insufficient_scope`.
    """

    code, status, exit_code, close_code = "forbidden", 403, _EX_NOPERM, 4403

    def __init__(self, detail: str = "", *, scope: str = "", **parts: Unpack[ErrorParts]) -> None:
        if scope:
            challenge = f'Bearer error="insufficient_scope", scope="{_quoted(scope)}"'
            parts["headers"] = _with_default(parts.get("headers"), "WWW-Authenticate", challenge)
        super().__init__(detail, **parts)


class NotFoundError(CallError):
    """The requested object does not exist."""

    code, status, exit_code, close_code = "not_found", 404, _EX_NOINPUT, 4404


class MethodNotAllowedError(CallError):
    """The path does not support this method; `allow` lists its methods (RFC 9110 §15.5.6)."""

    code, status, exit_code, close_code = "method_not_allowed", 405, _EX_USAGE, 1008

    def __init__(self, allow: Sequence[str], detail: str = "", **parts: Unpack[ErrorParts]) -> None:
        methods = ", ".join(allow)
        parts["headers"] = _with_default(parts.get("headers"), "Allow", methods)
        super().__init__(detail or f"use one of: {methods}", **parts)


class ConflictError(CallError):
    """The call conflicts with the current state."""

    code, status, exit_code, close_code = "conflict", 409, _EX_CANTCREAT, 4409


class InProgressError(ConflictError):
    """The same call, by its idempotency key, runs already.

    Args:
        retry_after: Whole seconds after which a retry makes sense (RFC 9110 §10.2.3).
    """

    code, status, exit_code, close_code = "in_progress", 409, _EX_TEMPFAIL, 1013

    def __init__(self, detail: str = "", *, retry_after: int = 1, **parts: Unpack[ErrorParts]) -> None:
        parts["headers"] = _with_default(parts.get("headers"), "Retry-After", str(retry_after))
        super().__init__(detail, **parts)


class GoneError(CallError):
    """The requested object existed, but does not exist any more."""

    code, status, exit_code, close_code = "gone", 410, _EX_NOINPUT, 4410


class PreconditionError(CallError):
    """A condition of the request (RFC 9110 §13) does not hold."""

    code, status, exit_code, close_code = "precondition_failed", 412, _EX_TEMPFAIL, 4412


class TooLargeError(CallError):
    """The body of the request is larger than the limit."""

    code, status, exit_code, close_code = "too_large", 413, _EX_DATAERR, 1009


class UriTooLongError(CallError):
    """The query string of the request is longer than the limit."""

    code, status, exit_code, close_code = "uri_too_long", 414, _EX_DATAERR, 1009


class UnsupportedMediaError(CallError):
    """The body of the request has a content type that the service does not read."""

    code, status, exit_code, close_code = "unsupported_media_type", 415, _EX_DATAERR, 1003


class InvalidError(CallError):
    """The input is well-formed, but not valid for the action; `errors` lists all problems."""

    code, status, exit_code, close_code = "invalid", 422, _EX_DATAERR, 1007


class TooManyRequestsError(CallError):
    """The caller has made too many calls for now.

    Args:
        retry_after: Whole seconds after which a retry makes sense (RFC 9110 §10.2.3).
    """

    code, status, exit_code, close_code = "too_many_requests", 429, _EX_TEMPFAIL, 1013

    def __init__(self, detail: str = "", *, retry_after: int = 1, **parts: Unpack[ErrorParts]) -> None:
        parts["headers"] = _with_default(parts.get("headers"), "Retry-After", str(retry_after))
        super().__init__(detail, **parts)


class InternalError(CallError):
    """The service has a defect. The log has the details; the caller gets only the request id."""

    code, status, exit_code, close_code = "internal_error", 500, _EX_SOFTWARE, 1011


class OverloadedError(CallError):
    """The service cannot take the call now.

    Args:
        retry_after: Whole seconds after which a retry makes sense (RFC 9110 §10.2.3).
    """

    code, status, exit_code, close_code = "overloaded", 503, _EX_UNAVAILABLE, 1013

    def __init__(self, detail: str = "", *, retry_after: int = 1, **parts: Unpack[ErrorParts]) -> None:
        parts["headers"] = _with_default(parts.get("headers"), "Retry-After", str(retry_after))
        super().__init__(detail, **parts)


class DeadlineError(CallError):
    """The deadline of the call passed before its end."""

    code, status, exit_code, close_code = "timeout", 504, _EX_TEMPFAIL, 1013


CALL_ERRORS: tuple[type[CallError], ...] = (
    *(MalformedError, UnauthorizedError, ForbiddenError, NotFoundError, MethodNotAllowedError),
    *(ConflictError, InProgressError, GoneError, PreconditionError, TooLargeError, UriTooLongError),
    *(UnsupportedMediaError, InvalidError, TooManyRequestsError, InternalError, OverloadedError, DeadlineError),
)
"""All errors of the table above, except `CallError`; the more general one of two with the same status is first.

`CallError.__subclasses__()` would also contain imported classes of users.
"""


class ErrorMapping(msgspec.Struct, frozen=True):
    """Declares which error callers get for an exception class of the user.

    `@action(errors=(MyError,))` makes one from the class, with its attributes `code` and `status`; the defaults are the
    class name in snake case (without ``Error``) and 400.

    Args:
        type: The exception class; subclasses match, too.
        status: The HTTP status, 400 to 599.
        code: The stable code, snake case.
        exit_code: The exit code of the command line, 1 to 125.
        close_code: The websocket close code: an error code that may be sent (RFC 6455 §7.4), or 3000 to 4999.

    Raises:
        DefinitionError: An argument is not valid.
    """

    type: type[Exception]
    status: int = 400
    code: str = ""
    exit_code: int = _EX_DATAERR
    close_code: int = 1008

    def __post_init__(self) -> None:
        if not (isinstance(self.type, type) and issubclass(self.type, Exception)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{self.type!r} is not an exception class", fix="name a subclass of Exception")
        if not self.code:
            msgspec.structs.force_setattr(self, "code", snake_case(self.type.__name__.removesuffix("Error") or "error"))
        _check_row(self.type.__name__, self, registered=True)

    @classmethod
    def of(cls, error: type[Exception] | ErrorMapping) -> ErrorMapping:
        """Return the mapping of an exception class, or the mapping itself."""
        if isinstance(error, ErrorMapping):
            return error
        # if an attribute of the class has another purpose, the checks report it
        return cls(
            error,
            status=getattr(error, "status", 400),
            code=getattr(error, "code", ""),
            exit_code=getattr(error, "exit_code", _EX_DATAERR),
            close_code=getattr(error, "close_code", 1008),
        )

    def call_error(self, exception: Exception) -> CallError:
        """Return the `CallError` for `exception`; its detail is the message of the exception."""
        if isinstance(exception, CallError):
            return exception
        error = CallError(str(exception), headers={"WWW-Authenticate": "Bearer"} if self.status == 401 else None)
        # the class attributes are the table; a mapped exception has its own row
        for name in ("code", "status", "exit_code", "close_code"):
            object.__setattr__(error, name, getattr(self, name))
        return error


_FIELD_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z"
_FIELD_VALUE = r"[\t\x20-\x7e\x80-\xff]*\Z"


_OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "transfer-encoding", "x-request-id"})


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `headers`.

    Raises:
        ValueError: A name or a value is not valid (RFC 9110 §5.1, §5.5): a line break would begin another header. Or
            the server sends this header itself.
    """
    for name, value in headers.items():
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"the server sends the header {name} itself")
        if not re.match(_FIELD_NAME, name) or not re.match(_FIELD_VALUE, value):
            raise ValueError(f"{name!r}: {value!r} is not a valid header field")
    return dict(headers)


def phrase(status: int) -> str:
    """Return the standard phrase of a registered status; empty for another one."""
    from http import HTTPStatus

    if status not in HTTPStatus._value2member_map_:
        return ""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def located(path: str, line: int) -> str:
    """Return ``file:line``; relative if the file is below the working directory."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive, on Windows
        relative = path
    return f"{path if relative.startswith('..') else relative}:{line}"


def raised_in(error: BaseException, file: str) -> str:
    """Return the innermost line of a file in the traceback of an error, as ``file:line``; empty if there is none."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            place = located(file, trace.tb_lineno)
        trace = trace.tb_next
    return place


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 action``, ``2 actions``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def nearest(name: object, names: Iterable[str]) -> str:
    """Return the most similar of `names`; empty if none is similar."""
    import difflib  # needed only for mistakes

    return next(iter(difflib.get_close_matches(str(name)[:200], list(names), 1)), "")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name; empty if no name is similar."""
    near = nearest(name, names)
    return f"; did you mean {near}?" if near else ""


def is_missing(module: str, error: ModuleNotFoundError) -> bool:
    """Return whether the import failed because `module` does not exist, not because of one of its own imports."""
    return error.name is not None and (module == error.name or module.startswith(error.name + "."))


def snake_case(name: str) -> str:
    """Return the name of a class in ``snake_case``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _with_default(headers: Mapping[str, str] | None, name: str, value: str) -> dict[str, str]:
    """Return headers with a header added, unless they have it already."""
    given = dict(headers or {})
    return given if any(other.lower() == name.lower() for other in given) else {**given, name: value}


def _latin_1(text: str) -> str:
    """Return a text with ``?`` for characters that a header value cannot contain (RFC 9110 §5.5)."""
    return re.sub(r"[^\t\x20-\x7e\x80-\xff]", "?", text)


def _quoted(text: str) -> str:
    """Return `text` for a quoted-string (RFC 9110 §5.6.4), with ``'`` for quotes, backslashes and unprintable text."""
    return re.sub(r"[^\x20-\x7e]|[\"\\]", "'", text)


def summary(error: CallError) -> str:
    """Return all problems of an error in one line."""
    if error.errors:
        return "; ".join(f"{path or 'the whole'}: {message}" for path, message in error.errors)
    return str(error)
