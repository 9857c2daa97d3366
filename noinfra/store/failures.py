"""What PostgreSQL can answer instead of rows, in words that name no driver.

`translate` turns the driver's exception into one of ours. What it leaves alone (a
syntax error, a broken row-level policy, a missing table) is a bug in a statement of
ours.
"""

from __future__ import annotations

import psycopg2

from noinfra.errors import Invalid, TemporaryFailure


class Unavailable(TemporaryFailure):
    """The database cannot do it now: it is away, busy, or the transaction lost a race.

    When it was lost in the middle of a commit, nobody knows whether the commit
    happened.
    """


class RowNotFound(LookupError):
    """The statement was to give exactly one row, and gave none."""


class TooManyRows(LookupError):
    """The statement was to give at most one row, and gave more."""


class SilentRollback(RuntimeError):
    """COMMIT was answered with ROLLBACK: an error was swallowed in the transaction."""


class Unstorable(Invalid, ValueError):
    """A text holds what PostgreSQL cannot: NUL, or half of a surrogate pair."""


class ConstraintViolation(Exception):
    """A row breaks a rule of the schema.

    :ivar constraint: the name of the rule.
    """

    def __init__(self, constraint: str, text: str = "") -> None:
        super().__init__(text or constraint)
        self.constraint = constraint


class UniqueViolation(ConstraintViolation):
    """There is such a row already."""


class ForeignKeyViolation(ConstraintViolation):
    """The row that this one refers to is missing, or others refer to this one."""


class CheckViolation(ConstraintViolation):
    """A column holds what the table does not allow."""


_VIOLATIONS: dict[str, type[ConstraintViolation]] = {
    "23503": ForeignKeyViolation,
    "23505": UniqueViolation,
    "23514": CheckViolation,
}

_BUSY = "The database could not do it now: {}. Nothing was changed; try again."
_LOST = "The connection to the database was lost: {}. Try again in a moment."
# PostgreSQL's documentation, appendix A. By class: connection, serialisation and
# deadlock, resources, operator intervention (shutdown, timeouts), system errors.
_PASSING_CLASSES = frozenset({"08", "40", "53", "57", "58"})
# Idle too long in a transaction; a standby after a failover; a lock not to be had.
_PASSING_CODES = frozenset({"25P03", "25P04", "25006", "55P03"})
# A character that the encoding or jsonb cannot hold.
_UNSTORABLE_CODES = frozenset({"22021", "22P05"})


def translate(error: Exception) -> Exception:
    """Our exception for the driver's, or the same when it is a bug, or ours already."""
    ours = _ours(error) if isinstance(error, psycopg2.Error) else None
    if ours is None:
        return error
    ours.__cause__ = error
    return ours


def _ours(error: psycopg2.Error) -> Exception | None:
    code = error.pgcode or ""
    text = reason(error)
    if code in _VIOLATIONS:
        return _VIOLATIONS[code](error.diag.constraint_name or "", text)
    if code[:2] in _PASSING_CLASSES or code in _PASSING_CODES:
        return Unavailable(_BUSY.format(text))
    if code in _UNSTORABLE_CODES:
        return Unstorable(text)
    if not code and isinstance(
        error, psycopg2.OperationalError | psycopg2.InterfaceError
    ):
        return Unavailable(_LOST.format(text))
    return None


def reason(error: BaseException | None) -> str:
    """The first line of an error's text, without the full stop."""
    if isinstance(error, psycopg2.Error) and error.diag.message_primary:
        return error.diag.message_primary.rstrip(".")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
