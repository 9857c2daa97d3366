"""Migrations, on a real server."""

from __future__ import annotations

from pathlib import Path
from unittest import skipUnless

from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from noinfra.store.dump import SCHEMA, dump_schema, normalised
from noinfra.store.failures import Unavailable
from noinfra.store.migrate import (
    Migration,
    MigrationFailed,
    SchemaTooNew,
    migrate,
    migrations,
)
from tests.postgres import DatabaseTest, administer, reactor

FIRST = "create table a (n int); insert into a values (1)"
SECOND = "alter table a add m int default 5; -- 100 %, no parameters"
THIRD = "create table b (n int)"


class MigrateTests(DatabaseTest):
    schema = Path(__file__).parent / "schema"

    async def setUp(self) -> None:
        await super().setUp()
        self.empty = f"{parse_dsn(self.dsn)['dbname']}_empty"
        administer(f"create database {self.empty}")
        self.addCleanup(administer, f"drop database {self.empty} with (force)")
        self.dsn = make_dsn(self.dsn, dbname=self.empty)
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.told: list[str] = []

    def files(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.directory / f"{name[1:]}.sql").write_text(text)

    async def migrate(self) -> list[str]:
        """The names of the steps that were taken."""
        steps = await migrate(reactor(), self.dsn, self.told.append, self.directory)
        return [step.name for step in steps]

    async def look(self, sql: str) -> list[tuple[object, ...]]:
        pool = self.new_pool(dsn=self.dsn, size=1)
        await pool.start()
        connection = await pool.acquire()
        cursor = await connection.execute(sql)
        found = list(cursor.fetchall())
        await pool.close()
        return found

    async def test_forward(self) -> None:
        """Each file is run once, in order; the next release takes the next steps."""
        self.files(_0001_first=FIRST, _0002_second=SECOND)
        self.assertEqual(await self.migrate(), ["first", "second"])
        self.assertEqual(len(self.told), 2)
        self.assertEqual(await self.migrate(), [])
        self.files(_0003_third=THIRD)
        self.assertEqual(await self.migrate(), ["third"])
        self.assertEqual(await self.look("select n, m from a"), [(1, 5)])
        done = await self.look("select number, name from schema_migration order by 1")
        self.assertEqual(done, [(1, "first"), (2, "second"), (3, "third")])

    async def test_many_at_once(self) -> None:
        """Of many daemons that start at once, one migrates, and all go on."""
        self.files(_0001_first=FIRST + "; select pg_sleep(0.1)", _0002_second=SECOND)
        steps = await gatherResults(
            [Deferred.fromCoroutine(self.migrate()) for _ in range(6)]
        )
        self.assertEqual(sorted(steps), [[]] * 5 + [["first", "second"]])

    async def test_failure(self) -> None:
        """A step that fails leaves no trace, names its line, and can be tried again."""
        self.files(_0001_first=FIRST, _0002_second="create table c ();\nalter tabel a")
        with self.assertRaisesRegex(MigrationFailed, r"0002_second.sql.*LINE 2"):
            await self.migrate()
        self.assertEqual(await self.look("select to_regclass('c')"), [(None,)])
        self.files(_0002_second=SECOND)
        self.assertEqual(await self.migrate(), ["second"])

    async def test_failed_constraint(self) -> None:
        """A step that the present rows do not allow is a failed step."""
        self.files(_0001_first=FIRST, _0002_second="alter table a add check (n > 1)")
        with self.assertRaisesRegex(MigrationFailed, "violated"):
            await self.migrate()

    async def test_own_commit(self) -> None:
        """A file that commits by itself is refused."""
        self.files(_0001_first=FIRST + "; commit")
        with self.assertRaisesRegex(MigrationFailed, "ends the transaction"):
            await self.migrate()

    async def test_too_new(self) -> None:
        """An older release does not touch a newer schema, and says what is needed."""
        self.files(_0001_first=FIRST, _0002_second=SECOND)
        await self.migrate()
        (self.directory / "0002_second.sql").unlink()
        with self.assertRaisesRegex(SchemaTooNew, r"schema 2 \(second\).*knows 1"):
            await self.migrate()

    async def test_changed_file(self) -> None:
        """A file that was changed after its release is not run again."""
        self.files(_0001_first=FIRST)
        await self.migrate()
        self.files(_0001_first=FIRST + " -- changed")
        self.assertEqual(await self.migrate(), [])

    async def test_away(self) -> None:
        """Without a server it is Unavailable."""
        self.dsn = "host=/nonexistent"
        with self.assertRaises(Unavailable):
            await self.migrate()


class SchemaTests(DatabaseTest):
    @skipUnless(SCHEMA.exists(), "bin/schema has not written noinfra/store/schema.sql")
    async def test_fresh(self) -> None:
        """noinfra/store/schema.sql is what the numbered files come to."""
        written = SCHEMA.read_text().splitlines()
        found = (await dump_schema(reactor(), self.dsn)).splitlines()
        if found[0] != written[0]:
            raise SkipTest("It was written by another version of PostgreSQL.")
        self.assertEqual(found, written, "Run bin/schema.")


class FilesTests(SynchronousTestCase):
    def test_own(self) -> None:
        """The project's own files are numbered without a gap."""
        self.assertEqual(migrations()[0].number, 1)

    def test_gap(self) -> None:
        """A missing and a doubled number are refused; other files are not looked at."""
        for names in (["0001_a", "0003_b"], ["0001_a", "0001_b"], ["0002_a"]):
            directory = Path(self.mktemp())
            directory.mkdir()
            for name in names:
                (directory / f"{name}.sql").write_text("select 1")
            (directory / "README").write_text("")
            self.assertRaises(ValueError, migrations, directory)

    def test_digest(self) -> None:
        """The digest is that of the text."""
        one, two = (Migration(number=1, name="a", sql=text) for text in ("x", "y"))
        self.assertNotEqual(one.sha256, two.sha256)

    def test_normalised(self) -> None:
        """What pg_dump says about itself does not stay."""
        dump = "--\n-- Dumped from database version 18.4\n\\restrict abc\n\n\nSET x = 1;\n\ncreate a;\n\n\n\nb;\n"
        self.assertTrue(normalised(dump).endswith("\n\ncreate a;\n\nb;\n"))
        self.assertIn("PostgreSQL 18", normalised(dump))
