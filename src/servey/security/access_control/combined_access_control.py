"""Combinations of access controls: all of them, or any."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Generator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import Any

from servey.errors import CallError, DefinitionError, ForbiddenError, UnauthorizedError
from servey.ports import AccessControl, ExampleCaller, ScopeBased
from servey.security.access_control.check import described, expect_none
from servey.security.authorization import Authorization

_MOST_ALTERNATIVES = 100
_EXAMPLE = Authorization(subject="example")

Steps = Generator[Awaitable[Any], Any, None]
"""A check in steps: it yields awaitables, and is sent their outcomes. Without asynchronous members, it yields none."""


class _Combined:
    """The members of a combination."""

    _word = ""

    def __init__(self, *members: AccessControl) -> None:
        if not members:
            raise DefinitionError(
                f"{type(self).__name__}() combines nothing", fix="give it access controls: AnyOf(one, other)"
            )
        for member in members:
            if isinstance(member, type) or not callable(getattr(member, "check", None)):
                raise DefinitionError(
                    f"{type(self).__name__} has {member!r}, which is not an access control",
                    fix="give it objects with a method check, as ScopeAccessControl('root')",
                )
        self.members = members

    def check(self, authorization: Authorization | None) -> Awaitable[None] | None:
        """Return if the combination accepts the caller; with an asynchronous member, resolve."""
        steps = self._steps(authorization)
        try:
            waiting = next(steps)
        except StopIteration:
            return None
        return _finished(steps, waiting)

    def _steps(self, authorization: Authorization | None) -> Steps:
        raise NotImplementedError

    @cached_property
    def _alternatives(self) -> tuple[frozenset[str], ...]:
        raise NotImplementedError

    def required_scopes(self) -> tuple[frozenset[str], ...]:
        """Return the alternatives, each a set of scopes that are all needed."""
        return self._alternatives

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Combined) and type(other) is type(self) and other.members == self.members

    def __hash__(self) -> int:
        return hash((type(self), self.members))

    def __repr__(self) -> str:
        return self._word.join(
            f"({described(item)})" if isinstance(item, _Combined) else described(item) for item in self.members
        )


class AllOf(_Combined):
    """Accept callers that every member accepts.

    The members are asked in order, up to the first refusal. An asynchronous member makes the combination asynchronous.

    Raises:
        DefinitionError: There is no member, or a member is not an access control.

    Example:
        >>> from servey.security.access_control import ScopeAccessControl
        >>> control = AllOf(ScopeAccessControl("read"), ScopeAccessControl("write"))
        >>> control.check(Authorization("me", frozenset({"read", "write"})))
        >>> control
        scope read and scope write
    """

    _word = " and "

    def _steps(self, authorization: Authorization | None) -> Steps:
        try:
            for member in self.members:
                yield from _asked(member, authorization)
        except ForbiddenError as error:
            raise _refusal(self, authorization, error) from error

    @cached_property
    def _alternatives(self) -> tuple[frozenset[str], ...]:
        # computed once, because every refusal names them
        found: tuple[frozenset[str], ...] = (frozenset(),)
        for member in self.members:
            further = _required_scopes(member)
            both = dict.fromkeys(one | other for one in found for other in further)
            found = tuple(islice(both, _MOST_ALTERNATIVES))
        return found

    def example_authorization(self) -> Authorization:
        """Return a caller with the scopes and claims of all the members' examples."""
        examples = [_example(member) for member in self.members]
        return Authorization(
            subject=next((item.subject for item in examples if item.subject != "example"), "example"),
            scopes=frozenset[str]().union(*(item.scopes for item in examples)),
            issuer=next((item.issuer for item in examples if item.issuer is not None), None),
            claims={name: value for item in examples for name, value in item.claims.items()},
        )


class AnyOf(_Combined):
    """Accept callers that at least one member accepts.

    The members are asked in order, up to the first that accepts. An asynchronous member makes the combination
    asynchronous. If a member fails by a defect, the combination refuses.

    Raises:
        DefinitionError: There is no member, or a member is not an access control.

    Example:
        >>> from servey.security.access_control import ScopeAccessControl
        >>> control = AnyOf(ScopeAccessControl("read"), ScopeAccessControl("root"))
        >>> control.check(Authorization("me", frozenset({"root"})))
        >>> control
        scope read or scope root
    """

    _word = " or "

    def _steps(self, authorization: Authorization | None) -> Steps:
        refusals: list[CallError] = []
        for member in self.members:
            try:
                yield from _asked(member, authorization)
                return
            except CallError as error:
                if error.status >= 500:
                    raise
                refusals.append(error)
        naming_scopes = [error for error in refusals if "WWW-Authenticate" in error.headers]
        raise _refusal(self, authorization, (naming_scopes or refusals)[0])

    @cached_property
    def _alternatives(self) -> tuple[frozenset[str], ...]:
        return tuple(dict.fromkeys(scopes for member in self.members for scopes in _required_scopes(member)))

    def example_authorization(self) -> Authorization:
        """Return the example of the first member that has one."""
        open_first = sorted(self.members, key=lambda member: not isinstance(member, ExampleCaller))
        return _example(open_first[0])


def _asked(member: AccessControl, authorization: Authorization | None) -> Steps:
    """Ask a member."""
    outcome: Any = member.check(authorization)
    if inspect.isawaitable(outcome):
        outcome = yield outcome
    expect_none(outcome)


async def _finished(steps: Steps, waiting: Awaitable[Any]) -> None:
    """Take the steps that follow the first one."""
    with suppress(StopIteration):
        while True:
            try:
                outcome = await waiting
            except BaseException as error:  # noqa: BLE001 - the steps decide on it
                waiting = steps.throw(error)
            else:
                waiting = steps.send(outcome)


def _refusal(control: AllOf | AnyOf, authorization: Authorization | None, first: CallError) -> CallError:
    """Return the most helpful error: it names the alternative with the fewest missing scopes.

    If a member refuses for another reason, its error is returned.
    """
    if authorization is None:
        return first if isinstance(first, UnauthorizedError) else UnauthorizedError()
    if "WWW-Authenticate" not in first.headers:
        return first
    lacking = [scopes for scopes in control.required_scopes() if scopes - authorization.scopes]
    if not lacking:
        return first
    scope = " ".join(sorted(min(lacking, key=lambda scopes: len(scopes - authorization.scopes))))
    # only scopes: documents are public, and members may contain secrets
    return ForbiddenError(f"this needs more than the token allows: scope {scope}", scope=scope)


def _required_scopes(member: AccessControl) -> tuple[frozenset[str], ...]:
    return tuple(member.required_scopes()) if isinstance(member, ScopeBased) else (frozenset[str](),)


def _example(member: AccessControl) -> Authorization:
    return member.example_authorization() if isinstance(member, ExampleCaller) else _EXAMPLE
