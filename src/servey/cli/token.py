"""``servey token``: a token for trials, signed with the configured key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from servey.cli.errors import EX_CONFIG, CommandError, scope_of
from servey.cli.output import write
from servey.cli.project import project_of
from servey.security.authorization import Authorization
from servey.security.authorizer.jwt_authorizer import RESERVED_CLAIMS, JwtIssuer
from servey.security.settings import HOW_TO_MAKE_A_SECRET


@click.command("token")
@click.option("--subject", metavar="NAME", help="The subject of the token.")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="A scope of the token. Repeatable.")
@click.option(
    "--expires-in",
    type=click.IntRange(1, 10 * 365 * 86400),
    metavar="SECONDS",
    help="How long the token is valid, instead of SERVEY_JWT_LIFETIME.",
)
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another claim. The value is read as JSON; if it is not JSON, it is text. Repeatable.",
)
@click.pass_context
def print_token(
    context: click.Context, subject: str | None, scopes: Sequence[str], expires_in: int | None, claims: Sequence[str]
) -> None:
    """Print a token that the service accepts, signed with the service's own key.

    The key is that of a plugin, SERVEY_JWT_PRIVATE_KEY or JWT_SECRET_KEY. This command does not know a secret that a
    server has generated: log in there, or set JWT_SECRET_KEY for both.
    """
    service = project_of(context).service
    issuer = service.authentication.token_issuer
    if issuer is None or (isinstance(issuer, JwtIssuer) and "JWT_SECRET_KEY" in service.settings.generated):
        raise CommandError(
            f"there is no key to sign with: set JWT_SECRET_KEY ({HOW_TO_MAKE_A_SECRET}) for the server and "
            "for this command, or SERVEY_JWT_PRIVATE_KEY",
            EX_CONFIG,
        )
    service.authentication.check_keys()  # a token that no server takes, since none starts with such a key, is of no use
    lifetime = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
    authorization = Authorization(
        subject=subject,
        scopes=frozenset(scope_of("--scope", item) for item in scopes),
        expires_at=lifetime,
        claims=dict(map(_claim, claims)),
    )
    try:
        write(issuer.issue(authorization))
    except ValueError as error:
        raise click.UsageError(f"the token cannot be made: {error}") from error


def _claim(given: str) -> tuple[str, Any]:
    name, equals, text = given.partition("=")
    if not name or not equals:
        raise click.UsageError(f"--claim {given!r} is no NAME=VALUE.")
    if name in RESERVED_CLAIMS:
        raise click.UsageError(f"--claim: {name} is set by the other options and the settings.")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
