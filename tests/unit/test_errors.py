"""The error tree: one table of what each error means, and what a caller gets to see of it."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from servey import errors
from servey.errors import (
    CALL_ERRORS,
    CallError,
    ConflictError,
    DefinitionError,
    ErrorMapping,
    ForbiddenError,
    InternalError,
    InvalidError,
    MethodNotAllowedError,
    MissingExtraError,
    NotFoundError,
    OverloadedError,
    Problem,
    ServeyError,
    SettingsError,
    TooManyRequestsError,
    UnauthorizedError,
    located,
)
from servey.schema.graphql.errors import GRAPHQL_ERRORS

TREE = {
    # class: code, status, exit code (sysexits.h), close code (RFC 6455 §7.4)
    "MalformedError": ("malformed", 400, 65, 1007),
    "UnauthorizedError": ("unauthorized", 401, 77, 4401),
    "ForbiddenError": ("forbidden", 403, 77, 4403),
    "NotFoundError": ("not_found", 404, 66, 4404),
    "MethodNotAllowedError": ("method_not_allowed", 405, 64, 1008),
    "ConflictError": ("conflict", 409, 73, 4409),
    "InProgressError": ("in_progress", 409, 75, 1013),
    "GoneError": ("gone", 410, 66, 4410),
    "PreconditionError": ("precondition_failed", 412, 75, 4412),
    "TooLargeError": ("too_large", 413, 65, 1009),
    "UriTooLongError": ("uri_too_long", 414, 65, 1009),
    "UnsupportedMediaError": ("unsupported_media_type", 415, 65, 1003),
    "InvalidError": ("invalid", 422, 65, 1007),
    "TooManyRequestsError": ("too_many_requests", 429, 75, 1013),
    "InternalError": ("internal_error", 500, 70, 1011),
    "OverloadedError": ("overloaded", 503, 69, 1013),
    "DeadlineError": ("timeout", 504, 75, 1013),
}

TITLES = {
    # RFC 9110 §15 and RFC 6585, whatever Python's http module calls them
    **{400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"},
    **{409: "Conflict", 410: "Gone", 412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long"},
    **{415: "Unsupported Media Type", 422: "Unprocessable Content", 429: "Too Many Requests"},
    **{500: "Internal Server Error", 503: "Service Unavailable", 504: "Gateway Timeout"},
}


def made(kind, **parts):
    return kind(["GET"], **parts) if kind is MethodNotAllowedError else kind("what happened", **parts)


def test_every_error_of_the_module_is_in_the_table():
    classes = {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, CallError)}
    assert set(CALL_ERRORS) == classes - {CallError}
    assert len(CALL_ERRORS) == len(set(CALL_ERRORS))


def test_the_table_is_the_table():
    assert {kind.__name__: row(kind) for kind in CALL_ERRORS} == TREE


def test_the_errors_of_graphql_have_the_status_of_what_they_are():
    assert {kind.__name__: row(kind) for kind in GRAPHQL_ERRORS} == {
        "UnknownDocumentError": ("persisted_query_not_found", 400, 65, 1007),
        "IntRangeError": ("int_range", 500, 70, 1011),
    }


def row(kind):
    return kind.code, kind.status, kind.exit_code, kind.close_code


def test_codes_and_statuses_are_unique():
    every = (*CALL_ERRORS, *GRAPHQL_ERRORS)
    assert len({kind.code for kind in every}) == len(every)
    direct = [kind for kind in CALL_ERRORS if kind.__base__ is CallError]  # what is more special has its base's status
    assert len({kind.status for kind in direct}) == len(direct)
    assert all(kind.status == kind.__base__.status for kind in CALL_ERRORS if kind not in direct)


def test_the_tree_in_the_docstring_lists_every_class_with_its_status():
    drawn = dict(re.findall(r"── (\w+Error)\s+(\d{3})?", errors.__doc__))
    classes = {
        node.name: "" for node in ast.parse(inspect.getsource(errors)).body if isinstance(node, ast.ClassDef)
    } | {kind.__name__: str(kind.status) for kind in CALL_ERRORS}
    del classes["ServeyError"], classes["Problem"], classes["ErrorMapping"], classes["ErrorParts"]
    assert drawn == classes


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_a_problem_has_the_members_of_rfc_9457_and_the_code(kind):
    error = made(kind)
    assert error.problem("r-1") == {
        "type": "about:blank",
        "title": TITLES[kind.status],
        "status": kind.status,
        "code": kind.code,
        "detail": error.detail,
        "request_id": "r-1",
    }


def test_a_problem_without_detail_or_request_id_leaves_them_out():
    assert InternalError().problem() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal_error",
    }


def test_a_problem_lists_every_single_problem_with_its_pointer():
    error = InvalidError("two things", errors=[Problem("/a", "expected int"), Problem("", "missing b")])
    assert error.problem()["errors"] == [
        {"path": "/a", "message": "expected int"},
        {"path": "", "message": "missing b"},
    ]


def test_data_adds_members_and_overwrites_none():
    error = ConflictError(
        "taken",
        data={"owner": "me", "type": "x", "title": "x", "status": 200, "code": "x", "detail": "x", "request_id": "x"},
    )
    assert error.problem("r-1") == {
        "owner": "me",
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "conflict",
        "detail": "taken",
        "request_id": "r-1",
    }


def test_a_problem_is_a_copy():
    error = ConflictError(data={"owner": "me"})
    error.problem()["owner"] = "you"
    assert error.problem()["owner"] == "me"


def test_an_error_reads_as_its_detail_or_its_title():
    assert [str(NotFoundError("no such parcel")), str(NotFoundError())] == ["no such parcel", "Not Found"]


def test_a_class_of_ones_own_may_have_a_status_that_nobody_registered():
    class OddError(CallError):
        code, status = "odd", 499

    assert OddError().problem() == {"type": "about:blank", "title": "Error", "status": 499, "code": "odd"}


@pytest.mark.parametrize(
    "row",
    [
        {"status": 200},
        {"status": 999},
        {"status": None},
        {"status": 404.0},
        {"code": ""},
        {"code": "Not so"},
        {"exit_code": 0},
        {"close_code": 1000},
    ],
)
def test_a_class_of_ones_own_has_what_an_error_can_have(row):
    with pytest.raises(DefinitionError) as caught:
        type("OddError", (CallError,), row)
    assert "OddError" in caught.value.message
    assert caught.value.fix


def test_a_detail_is_a_text():
    assert NotFoundError(KeyError("a")).problem()["detail"] == "'a'"


@pytest.mark.parametrize("wrong", ["name", ["name"], [("/name",)], [("/name", 5)], [("/name", "is wrong", 1)], [None]])
def test_what_is_no_problem_is_refused_where_it_is_made(wrong):
    with pytest.raises(TypeError):
        InvalidError("no", errors=wrong)


def test_no_token_is_challenged_without_an_error_code():
    assert UnauthorizedError("who are you?").headers == {"WWW-Authenticate": "Bearer"}


def test_a_bad_token_is_challenged_with_its_error_code():
    assert UnauthorizedError("expired", error="invalid_token").headers == {
        "WWW-Authenticate": 'Bearer error="invalid_token", error_description="expired"'
    }


def test_a_lacking_scope_is_named():
    assert ForbiddenError(scope="root admin").headers == {
        "WWW-Authenticate": 'Bearer error="insufficient_scope", scope="root admin"'
    }
    assert ForbiddenError("no").headers == {}


@pytest.mark.parametrize("nasty", ['a"b', "a\\b", "a\r\nSet-Cookie: x=1", "a\x00b", "aéb", "a\u2028b"])
def test_nothing_breaks_out_of_a_challenge(nasty):
    headers = [UnauthorizedError(nasty, error="invalid_token").headers, ForbiddenError(scope=nasty).headers]
    for header in headers:
        value = header["WWW-Authenticate"]
        quoted = re.findall(r'"([^"]*)"', value)
        assert len(quoted) == 2
        assert re.fullmatch(r"[\x20-\x7e]*", value)
        assert "\\" not in value


@pytest.mark.parametrize("kind", [CallError, *CALL_ERRORS])
def test_every_error_takes_problems_headers_and_data(kind):
    problems = [Problem("/lines/0", "is gone")]
    error = made(kind, errors=problems, headers={"X-Why": "that"}, data={"left": 3})
    plain = made(kind)
    assert error.headers == {"X-Why": "that", **plain.headers}
    assert error.problem() == {
        **plain.problem(),
        "left": 3,
        "errors": [{"path": "/lines/0", "message": "is gone"}],
    }


@pytest.mark.parametrize("kind", [CallError, *CALL_ERRORS])
def test_a_header_that_an_error_has_by_itself_is_the_callers_to_set(kind):
    own = {name.lower(): "mine" for name in made(kind).headers}
    assert made(kind, headers=own).headers == own


def test_a_challenge_may_be_another_scheme():
    error = ForbiddenError("no", scope="read", headers={"www-authenticate": "DPoP"})
    assert error.headers == {"www-authenticate": "DPoP"}


def test_a_header_has_a_question_mark_for_what_it_cannot_hold():
    assert CallError(headers={"X-File": "caf\udce9 \u20ac 10 \xe9"}).headers == {"X-File": "caf? ? 10 \xe9"}
    assert CallError(headers={"X-A": "1\r\nSet-Cookie: x=1\0"}).headers == {"X-A": "1??Set-Cookie: x=1?"}


@pytest.mark.parametrize("headers", [{"X A": "1"}, {"": "1"}, {"X\u20ac": "1"}])
def test_a_header_that_is_none_is_refused(headers):
    with pytest.raises(ValueError, match="not a valid header field"):
        CallError("no", headers=headers)


def test_headers_that_belong_to_the_status_are_set():
    assert TooManyRequestsError(retry_after=7).headers == {"Retry-After": "7"}
    assert OverloadedError().headers == {"Retry-After": "1"}
    assert MethodNotAllowedError(["GET", "HEAD"]).headers == {"Allow": "GET, HEAD"}


def test_everything_is_a_servey_error():
    assert all(
        issubclass(kind, ServeyError) for kind in (*CALL_ERRORS, DefinitionError, SettingsError, MissingExtraError)
    )


def test_a_missing_extra_is_an_import_error_with_the_pip_command():
    error = MissingExtraError("starlette", "server")
    assert isinstance(error, ImportError)
    assert str(error) == "'starlette' is not installed; run pip install 'servey[server]'"
    assert MissingExtraError.command("server") == "pip install 'servey[server]'"


def test_a_definition_error_tells_what_where_and_how_to_mend():
    error = DefinitionError("two actions are called 'f'", where=["a.py:1", "b.py:2"], fix="rename one")
    assert str(error) == "two actions are called 'f'\n  at a.py:1\n  at b.py:2\n  fix: rename one"
    assert str(DefinitionError("wrong")) == "wrong"
    assert DefinitionError("wrong", where="a.py:1").where == ("a.py:1",)


def test_joined_definition_errors_tell_all():
    one, two = DefinitionError("one", where="a.py:1", fix="mend one"), DefinitionError("two", where="b.py:2")
    joined = DefinitionError.join([one, two])
    assert str(joined) == "2 definitions are wrong:\n\none\n  at a.py:1\n  fix: mend one\n\ntwo\n  at b.py:2"
    assert joined.where == ("a.py:1", "b.py:2")
    assert DefinitionError.join([one]) is one


def test_joining_joined_errors_counts_every_one():
    one, two, three = (DefinitionError(name) for name in ("one", "two", "three"))
    joined = DefinitionError.join([DefinitionError.join([one, two]), three])
    assert str(joined).splitlines()[0] == "3 definitions are wrong:"
    assert [str(joined).count(name) for name in ("one", "two", "three", "definitions")] == [1, 1, 1, 1]


class ParcelLostError(Exception):
    pass


class HTTPGatewayError(Exception):
    code, status, exit_code, close_code = "gateway", 502, 69, 4502


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ParcelLostError", "parcel_lost"),
        ("HTTPGatewayError", "http_gateway"),
        ("Error", "error"),
        ("Stale", "stale"),
        ("OAuth2TokenError", "o_auth2_token"),
    ],
)
def test_a_code_is_the_class_name_in_snake_case(name, code):
    assert ErrorMapping(type(name, (Exception,), {})).code == code


def test_a_mapping_takes_the_attributes_of_the_class():
    assert ErrorMapping.of(HTTPGatewayError) == ErrorMapping(HTTPGatewayError, 502, "gateway", 69, 4502)
    assert ErrorMapping.of(ParcelLostError) == ErrorMapping(ParcelLostError, 400, "parcel_lost", 65, 1008)


def test_a_mapping_stays_itself_and_cannot_be_changed():
    mapping = ErrorMapping(ParcelLostError, status=410)
    assert ErrorMapping.of(mapping) is mapping
    with pytest.raises(AttributeError):
        mapping.status = 200


def test_an_error_of_ones_own_that_is_401_says_how_to_be_let_in():
    error = ErrorMapping(ParcelLostError, 401).call_error(ParcelLostError("who is it for?"))
    assert (error.status, error.detail, error.headers) == (401, "who is it for?", {"WWW-Authenticate": "Bearer"})
    assert ErrorMapping(ParcelLostError, 403).call_error(ParcelLostError()).headers == {}

    class ExpiredError(CallError):
        code, status = "expired", 401

    assert ExpiredError("too late").headers == {"WWW-Authenticate": "Bearer"}
    assert ExpiredError(headers={"www-authenticate": "DPoP"}).headers == {"www-authenticate": "DPoP"}


def test_a_mapped_exception_has_a_row_of_its_own():
    error = ErrorMapping(ParcelLostError, 410, "lost", 66, 4410).call_error(ParcelLostError("it is gone"))
    assert (type(error), error.exit_code, error.close_code) == (CallError, 66, 4410)
    assert error.problem() == {
        "type": "about:blank",
        "title": "Gone",
        "status": 410,
        "code": "lost",
        "detail": "it is gone",
    }
    assert (CallError.code, CallError.status) == ("error", 400)


def test_a_call_error_is_its_own_mapping():
    error = NotFoundError("no")
    assert ErrorMapping.of(NotFoundError).call_error(error) is error


@pytest.mark.parametrize(
    "arguments",
    [
        {"status": 200},
        {"status": 399},
        {"status": 600},
        {"status": 499},
        {"status": "404"},
        {"code": 7},
        {"code": "Not Found"},
        {"exit_code": 0},
        {"exit_code": 126},
        {"close_code": 1000},
        {"close_code": 1005},
        {"close_code": 5000},
    ],
)
def test_a_mapping_checks_itself(arguments):
    with pytest.raises(DefinitionError) as caught:
        ErrorMapping(ParcelLostError, **arguments)
    assert "ParcelLostError" in str(caught.value)
    assert repr(next(iter(arguments.values()))) in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("wrong", ["ParcelLostError", ParcelLostError("x"), int, KeyboardInterrupt, None])
def test_a_mapping_is_of_an_exception_class(wrong):
    with pytest.raises(DefinitionError) as caught:
        ErrorMapping.of(wrong)
    assert caught.value.fix


def test_a_place_is_relative_where_it_is_below_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert located(str(tmp_path / "work" / "app" / "actions.py"), 3) == f"{Path('app', 'actions.py')}:3"
    assert located(str(tmp_path / "other.py"), 3) == f"{tmp_path / 'other.py'}:3"
