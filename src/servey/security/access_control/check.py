"""The access check of an action or a subscription, and its summary for documents."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from servey.action.context import CURRENT_CALL, CallContext
from servey.errors import CallError, InternalError
from servey.ports import AccessControl, ScopeBased
from servey.security.access_control.constants import ALLOW_ALL

_log = logging.getLogger("servey.operation")

_OWN = "servey.security.access_control."


class AccessSummary(msgspec.Struct, frozen=True):
    """The access rule of an action, for documents, lists and the banner.

    Args:
        text: The rule in words: ``scope root`` or ``any token``, for example.
        scopes: The sets of scopes of which one is enough; empty if the access control does not name scopes.
        is_open: Whether callers need no token.
    """

    text: str
    scopes: tuple[frozenset[str], ...]
    is_open: bool

    @classmethod
    def of(cls, control: AccessControl, *, needs_caller: bool) -> AccessSummary:
        """Return the summary of an access control; even if it is open, the function may need a caller."""
        is_open = control is ALLOW_ALL
        text = "any token" if is_open and needs_caller else described(control)
        return cls(text, scopes_of(control), is_open and not needs_caller)

    def __str__(self) -> str:
        return self.text


def described(control: AccessControl) -> str:
    """Return the `repr` of servey's own access controls, and the class name of others.

    The `repr` of a user's class may show secrets, such as the URL of a database with its password.

    Example:
        >>> from types import SimpleNamespace
        >>> from servey.security.access_control import AnyOf, ScopeAccessControl
        >>> described(AnyOf(ScopeAccessControl("root"), SimpleNamespace(check=print)))
        'scope root or SimpleNamespace'
    """
    cls = type(control)
    return repr(control) if cls.__module__.startswith(_OWN) else cls.__name__


def scopes_of(control: object) -> tuple[frozenset[str], ...]:
    """Return the sets of scopes of which an access control needs one; none if it does not name scopes."""
    return tuple(control.required_scopes()) if isinstance(control, ScopeBased) else ()


async def check_access(
    control: AccessControl,
    context: CallContext,
    within_deadline: Callable[[Awaitable[Any], CallContext], Awaitable[Any]],
) -> None:
    """Return if an access control accepts the caller of `context`.

    Args:
        control: The access control of the action or the subscription.
        context: The call, with its service and the name of its action; the access control runs inside of it.
        within_deadline: Awaits an asynchronous access control until the deadline of the call.

    Raises:
        CallError: The access control refuses the caller. An access control that fails, or returns a value, refuses
            all callers: an `InternalError`, and a line in the log.
    """
    token = CURRENT_CALL.set(context)
    try:
        outcome: Any = control.check(context.authorization)
        if outcome is not None and inspect.isawaitable(outcome):
            outcome = await within_deadline(outcome, context)
    except CallError:
        raise
    except BaseException as error:
        raise _defect(error, context, "the access control failed") from error
    finally:
        CURRENT_CALL.reset(token)
    if outcome is not None:
        try:
            expect_none(outcome)
        except TypeError as error:
            raise _defect(None, context, str(error)) from error


def _defect(error: BaseException | None, context: CallContext, message: str) -> InternalError:
    from servey.action.defect import defect  # imports asyncio, which `import servey` does not need

    return defect(error, message, log=_log, request_id=context.request_id, action=context.action)


def expect_none(outcome: Any) -> None:
    """Raise `TypeError` if an access control returned a value: False may be meant as a refusal."""
    if outcome is not None:
        raise TypeError(f"an access control returned {outcome!r}; it must raise or return None")
