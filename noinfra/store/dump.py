"""The whole schema in one text, for readers: what all the migrations come to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from twisted.internet.interfaces import IReactorProcess
from twisted.internet.utils import getProcessOutputAndValue

from noinfra.errors import ConfigurationError
from noinfra.store.programs import candidates

SCHEMA = Path(__file__).parent / "schema.sql"
_HEADER = """\
-- The schema that the numbered files come to, as PostgreSQL {} tells it. For reading:
-- bin/schema writes this, a test compares it, and nothing runs it.
"""
_SERVER = re.compile(r"^-- Dumped from database version (\d+)", re.M)
# What pg_dump says about itself and its session: comments, settings, its guard lines.
_NOISE = re.compile(r"^(--.*|SET .*;|SELECT pg_catalog\.set_config.*;|\\.*)$", re.M)


async def dump_schema(
    reactor: IReactorProcess, dsn: str, environment: Mapping[str, str] = os.environ
) -> str:
    """The schema of a migrated database, by the newest pg_dump that is to be found.

    :raises ConfigurationError: there is no pg_dump, or it fails.
    """
    found = [each / "pg_dump" for each in candidates(environment)]
    program = next((each for each in found if each.is_file()), None)
    if program is None:
        raise ConfigurationError("There is no pg_dump beside PostgreSQL's programs.")
    arguments = ["--schema-only", "--no-owner", "--exclude-table=schema_migration"]
    out, errors, code = await getProcessOutputAndValue(
        os.fsencode(program),
        [*arguments, f"--dbname={dsn}"],
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        reactor=reactor,
    )
    if code != 0:
        raise ConfigurationError(f"pg_dump: {errors.decode(errors='replace')}")
    return normalised(out.decode())


def normalised(dump: str) -> str:
    """Without what changes from one pg_dump to the next, and without gaps."""
    kept = re.sub(r"\n{2,}", "\n\n", _NOISE.sub("", dump)).strip()
    server = _SERVER.search(dump)
    return f"{_HEADER.format(server[1] if server else '?')}\n{kept}\n"
