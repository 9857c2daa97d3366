"""SEARCH, SORT and THREAD over a folder."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.app.mailbox_append import Appended
from noinfra.app.mailbox_finding import display_of, mailbox_of
from noinfra.errors import Invalid
from noinfra.mail.imap_search import (
    All,
    And,
    Arrived,
    Body,
    EmailId,
    Flag,
    Header,
    Key,
    Modseq,
    Not,
    Or,
    Saved,
    SentOn,
    Size,
    SortKey,
    Text,
    ThreadId,
    Uids,
    Within,
)
from noinfra.mail.threading import render
from noinfra.store.mailbox_search import compiled
from tests.app.mailbox import MailboxTest
from tests.app.world import mail

DAY = timedelta(days=1)


class SearchTests(MailboxTest):
    async def found(self, key: Key) -> list[int]:
        """The UIDs that match."""
        return (await self.finding.search(self.who, await self.folder_id(), key)).uids

    async def check(self, *pairs: tuple[Key, list[int]]) -> None:
        """Each key finds its UIDs, and its contrary all others."""
        uids = list((await self.opened()).uids)
        for key, wanted in pairs:
            self.assertEqual(await self.found(key), wanted, key)
            others = [uid for uid in uids if uid not in wanted]
            self.assertEqual(await self.found(Not(key)), others, key)

    async def test_flags(self) -> None:
        """Flags and keywords, and what they are made of."""
        await self.append(mail(), flags=["\\Seen", "\\Flagged"])
        await self.append(mail(), flags=["\\Deleted", "to=20do", "$FORWARDED"])
        await self.append(mail())
        await self.check(
            (Flag("\\seen"), [1]),
            (Flag("\\Flagged"), [1]),
            (Flag("\\Deleted"), [2]),
            (Flag("\\Answered"), []),
            (Flag("to=20do"), [2]),
            (Flag("$forwarded"), [2]),
            (Flag("unread"), []),
            (All(), [1, 2, 3]),
            (And(()), [1, 2, 3]),
            (And((Not(Flag("\\Seen")), Not(Flag("\\Deleted")))), [3]),
            (Or(Flag("\\Seen"), Flag("\\Deleted")), [1, 2]),
        )

    async def test_numbers(self) -> None:
        """UIDs, sizes, modseqs and identifiers."""
        await self.append(*[mail(body="x" * n) for n in (1, 1000, 2000)])
        rows = await self.fetch()
        size = rows[1].size
        await self.check(
            (Uids(((1, 1), (3, 9))), [1, 3]),
            (Uids(((2, 2**32 - 1),)), [2, 3]),
            (Uids(()), []),
            (Size(larger=size), [3]),
            (Size(smaller=size), [1]),
            (Size(larger=size - 1, smaller=size + 1), [2]),
            (Size(larger=2**63), []),
            (Modseq(rows[1].modseq), [2, 3]),
            (Modseq(2**63 - 1), []),
            (EmailId(rows[0].email_id), [1]),
            (EmailId("x1"), []),
            (ThreadId(rows[2].thread_id), [3]),
        )
        found = await self.finding.search(
            self.who, await self.folder_id(), Uids(((1, 2),))
        )
        self.assertEqual(found.modseq, rows[1].modseq)

    async def test_dates(self) -> None:
        """Arrival by day; the Date field by the day that it names, in its own zone."""
        noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
        dates = (
            "Date: Fri, 1 Mar 2024 23:59:00 -1200\r\n",
            "Date: Sat, 2 Mar 2024 00:01:00 +1400\r\n",
            "Date: 31 Foo 2024\r\n",
        )
        for number, header in enumerate(dates):
            await self.appending.append(
                self.who,
                "INBOX",
                [
                    Appended(
                        octets=mail(header=header), internaldate=noon + number * DAY
                    )
                ],
            )
        first = date(2024, 3, 1)
        await self.check(
            (Arrived(since=first), [2, 3]),
            (Arrived(before=first), [1]),
            (Arrived(since=first, before=first + DAY), [2]),
            (SentOn(since=first, before=first + DAY), [1]),
            (SentOn(since=first + DAY, before=first + 2 * DAY), [2, 3]),
            (Saved(before=first), []),
            (Saved(since=first), [1, 2, 3]),
            (Within(older=3600), [1, 2, 3]),
            (Within(younger=3600), []),
            (Within(older=2**62), []),
        )

    async def test_header(self) -> None:
        """Fields by name and by any part of their value, in any case."""
        await self.append(
            mail(
                "=?utf-8?q?Gr=C3=BC=C3=9Fe?= aus Berlin",
                from_='"Müller, Ada" <ada@example.com>',
                message_id="one@example.com",
                header="X-Note: first\r\n  and SECOND\r\nX-Path: c:\\dir (a.b)\r\n",
            ),
            mail("Other", header="Cc: Team: bob@example.com;\r\nX-Empty:\r\n"),
        )
        await self.check(
            (Header("Subject", "GRÜ"), [1]),
            (Header("subject", "berlin"), [1]),
            (Header("subject", ""), [1, 2]),
            (Header("from", "müller, ada"), [1]),
            (Header("from", "MÜLLER"), [1]),
            (Header("from", "da@EXAMPLE"), [1, 2]),
            (Header("cc", "team"), [2]),
            (Header("cc", "bob@"), [2]),
            (Header("cc", ""), [2]),
            (Header("x-note", "first and second"), []),
            (Header("x-note", "first  and second"), [1]),
            (Header("X-PATH", "C:\\DIR (A.B)"), [1]),
            (Header("x-path", "a.*b"), []),
            (Header("x-empty", ""), [2]),
            (Header("x-empty", "x"), []),
            (Header("x-none", ""), []),
            (Header("message-id", "<ONE@example.com>"), [1]),
            (Header("message-id", "one@"), [1]),
            (Header("x-note", "second\r\nx-path"), []),
            (Header("x-\0", "a"), []),
        )

    async def test_text(self) -> None:
        """A string anywhere, in the middle of a word too."""
        await self.append(
            mail("Plan", body="The swordfish is 100% Ärger.\r\n"),
            mail(
                "Page",
                header="MIME-Version: 1.0\r\nContent-Type: text/html\r\n",
                body="<p>Some <b>bold</b> claim</p>\r\n",
            ),
            mail("Sword", header="X-Odd: swordfish\r\n"),
            mail(
                header="MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n"
                "Content-Type: text/plain; charset=utf-8\r\n",
                body="aGlkZGVuIHN3b3Jk\r\n",
            ),
        )
        await self.check(
            (Body("WORDFI"), [1]),
            (Text("wordfi"), [1, 3]),
            (Body("sword"), [1, 4]),
            (Text("sword"), [1, 3, 4]),
            (Body("ärger"), [1]),
            (Body("0% ä"), [1]),
            (Text("ada@example"), [1, 2, 3, 4]),
            (Body("ada@example"), []),
            (Body("some bold claim"), [2]),
            (Text(""), [1, 2, 3, 4]),
            (Text("a\0b"), []),
            (And((Text("sword"), Uids(((2, 3),)))), [3]),
        )

    async def test_other_folders(self) -> None:
        """What is elsewhere is not found."""
        await self.append(mail("here"))
        await self.append(mail("here"), name="Archive")
        self.assertEqual(await self.found(Header("subject", "here")), [1])
        found = await self.finding.search(self.stranger, await self.folder_id(), All())
        self.assertEqual((found.uids, found.modseq), ([], None))

    async def test_sort_groups(self) -> None:
        """A field that begins with a group is sorted by the group's name."""
        await self.append(
            mail(to="m@example.com", header="Cc: b@example.com\r\n"),
            mail(to="Zoo: a@example.com;", header="Cc: c@example.com\r\n"),
            mail(to="=?utf-8?q?a_b?=:;", header="Cc: a@example.com, z:;\r\n"),
        )
        folder_id = await self.folder_id()
        for name, wanted in (
            *(("to", [3, 1, 2]), ("displayto", [3, 1, 2])),
            *(("cc", [3, 1, 2]), ("from", [1, 2, 3])),
        ):
            found = await self.finding.sort(self.who, folder_id, All(), [SortKey(name)])
            self.assertEqual(found.uids, wanted, name)

    async def test_sort(self) -> None:
        """By each key, backwards, and by UID where all is equal."""
        await self.append(
            mail("Re: beta", from_="Zoe <b@example.com>", to="c@example.com"),
            mail("alpha", from_='"Ann" <c@example.com>', to="X <a@example.com>"),
            mail(
                "[list] Beta", from_="a@example.com", to="b@example.com", body="x" * 99
            ),
        )
        folder_id = await self.folder_id()
        for keys, wanted in (
            ([SortKey("subject")], [2, 1, 3]),
            ([SortKey("subject", reverse=True)], [1, 3, 2]),
            ([SortKey("subject"), SortKey("arrival", reverse=True)], [2, 3, 1]),
            ([SortKey("from")], [3, 1, 2]),
            ([SortKey("to")], [2, 3, 1]),
            ([SortKey("displayfrom")], [3, 2, 1]),
            ([SortKey("displayto")], [3, 1, 2]),
            ([SortKey("size", reverse=True)], [3, 2, 1]),
            ([SortKey("cc")], [1, 2, 3]),
            ([SortKey("date")], [1, 2, 3]),
            ([], [1, 2, 3]),
        ):
            found = await self.finding.sort(self.who, folder_id, All(), keys)
            self.assertEqual(found.uids, wanted, keys)
        with self.assertRaises(Invalid):
            await self.finding.sort(self.who, folder_id, All(), [SortKey("colour")])

    async def test_thread(self) -> None:
        """By references, and by subject."""
        await self.append(
            mail("Plan", message_id="a@x"),
            mail("Other", message_id="b@x"),
            mail("Re: Plan", message_id="c@x", header="In-Reply-To: <a@x>\r\n"),
        )
        folder_id = await self.folder_id()
        for algorithm in ("REFERENCES", "orderedsubject"):
            roots = await self.finding.thread(self.who, folder_id, All(), algorithm)
            self.assertEqual(sorted(render(roots).split("(")), ["", "1 3)", "2)"])
        roots = await self.finding.thread(
            self.who, folder_id, Uids(((2, 2),)), "REFERENCES", {2: 77}.__getitem__
        )
        self.assertEqual(render(roots), "(77)")
        with self.assertRaises(Invalid):
            await self.finding.thread(self.who, folder_id, All(), "GUESS")

    async def test_any_key(self) -> None:
        """No string breaks the statement, or finds what is not there."""
        await self.append(mail("plain"))
        for text in (
            "%",
            "%(p1)s",
            "'",
            "\\",
            "\\000",
            "(",
            "[a",
            "*",
            "\n",
            "é\\",
            "$1",
        ):
            for key in (Text(text), Header("x-a", text), Header(text, "a"), Body(text)):
                await self.found(key)


class PeopleTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Local part and name, of mailboxes in header form."""
        for person, local, display in (
            ("Ada <ada@example.com>", "ADA", "ADA"),
            ('"Love, A \\"x\\"" <"a b"@example.com>', "A B", 'LOVE, A "X"'),
            ("bob@example.com", "BOB", "BOB@EXAMPLE.COM"),
            (None, "", ""),
        ):
            self.assertEqual(mailbox_of(person), local)
            self.assertEqual(display_of(person), display)


KEYS = st.recursive(
    st.one_of(
        st.just(All()),
        st.builds(Flag, st.sampled_from(["\\Seen", "\\Deleted", "x"])),
        st.builds(Text, st.text(max_size=5)),
        st.builds(Header, st.text(max_size=5), st.text(max_size=5)),
        st.builds(Uids, st.lists(st.tuples(st.integers(1, 9), st.integers(9, 20)))),
    ),
    lambda keys: st.one_of(
        st.builds(Not, keys),
        st.builds(Or, keys, keys),
        st.builds(lambda some: And(tuple(some)), st.lists(keys, max_size=3)),
    ),
)


class CompiledTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(KEYS)
    def test_no_text_in_sql(self, key: Key) -> None:
        """What a client wrote is a parameter, and never a part of the statement."""
        where, parameters = compiled(key, 1, "inb_1")
        self.assertEqual(where.count("%("), where.count("%"))
        for name in parameters:
            self.assertIn(f"%({name})s", where)
