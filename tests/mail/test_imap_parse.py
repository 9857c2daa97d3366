"""Commands: what they mean, and that nothing but a refusal comes of what is none."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.imap.append import (
    AppendPiece,
    announced,
    append_goes_on,
    append_mailbox,
    append_piece,
)
from noinfra.mail.imap.commands import (
    Authenticate,
    Copy,
    Enable,
    Id,
    List,
    Login,
    OneMailbox,
    Plain,
    Qresync,
    Rename,
    Select,
    Status,
    Store,
)
from noinfra.mail.imap.fetch import Data, Fetch, Section
from noinfra.mail.imap.parse import (
    PARSERS,
    SEARCHES,
    parse_arguments,
    parse_head,
    tag_of,
)
from noinfra.mail.imap.scanner import ImapSyntaxError
from noinfra.mail.imap.search import BadCharset, Search, Sort, Thread
from noinfra.mail.imap.sets import SequenceSet, parse_set
from noinfra.mail.imap_search import (
    All,
    And,
    Arrived,
    Flag,
    Header,
    Modseq,
    Not,
    Or,
    Saved,
    SentOn,
    Size,
    SortKey,
    Text,
    Uids,
    Within,
)
from tests.pace import within

PIECES = [
    *(b" ", b"  ", b"(", b")", b"*", b"%", b'"', b"\\", b"{3}\r\n", b"{3+}\r\nabc"),
    *(b"~{2}\r\n\0\0", b"NIL", b"1", b"1:*", b"$", b"<0.5>", b"[", b"]", b"\r\n"),
    *(b"FLAGS", b"BODY[", b"HEADER.FIELDS", b"BODY.PEEK[1.2.MIME]", b"BINARY[1]"),
    *(b"OR", b"NOT", b"SEEN", b"CHARSET", b"utf-8", b"RETURN", b"(MIN)", b"SINCE"),
    *(b"1-Jan-2020", b"CHANGEDSINCE", b"VANISHED", b"QRESYNC", b"+FLAGS", b"STATUS"),
    *(b"\\Seen", b"$Forwarded", b"INBOX", b"&AOQ-", b"\xff", b"\xc3\xa4", b"\0"),
    *(b"MESSAGES", b"99999999999999999999", b"UID", b"PREVIEW", b"LAZY", b"DATE"),
]
VERBS = [verb.encode() for verb in (*PARSERS, *SEARCHES)]
COMMANDS = st.tuples(
    st.sampled_from(VERBS),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), max_size=12),
).map(lambda one: b"a " + one[0] + b" " + b"".join(one[1]))


def place(numbers: SequenceSet, uid: bool) -> Uids:
    return Uids(tuple(numbers.resolve(10)))


def read(octets: bytes, *, utf8: bool = False) -> object:
    return parse_arguments(parse_head(octets), place, utf8=utf8)


def fetch(items: bytes) -> tuple[object, ...]:
    command = read(b"a FETCH 1 " + items)
    assert isinstance(command, Fetch)
    return command.items


def program(keys: bytes) -> object:
    command = read(b"a SEARCH " + keys)
    assert isinstance(command, Search)
    return command.key


class AnyOctetsTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=1500)
    @given(st.one_of(COMMANDS, st.binary(max_size=60)), st.booleans())
    @example(b"a LOGIN {9999999999}\r\nx y", False)
    @example(b'a SEARCH HEADER "" ""', True)
    def test_commands(self, octets: bytes, utf8: bool) -> None:
        """Any octets are a command, or refused; and the text that says why is clean."""
        tag_of(octets)
        try:
            read(octets, utf8=utf8)
        except (ImapSyntaxError, BadCharset) as error:
            self.assertTrue(str(error).isprintable(), str(error))

    @settings(deadline=None, max_examples=500)
    @given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4))))
    def test_append(self, pieces: list[bytes]) -> None:
        """So are the pieces of APPEND."""
        octets = b"".join(pieces)
        announced(octets)
        for function in (append_mailbox, append_piece):
            try:
                function(octets)
            except ImapSyntaxError as error:
                self.assertTrue(str(error).isprintable())

    def test_nesting(self) -> None:
        """Neither depth nor number of what is nested harms."""
        start = time.perf_counter()
        for octets in (
            b"a SEARCH " + b"(" * 30_000,
            b"a SEARCH " + b"NOT " * 15_000 + b"ALL",
            b"a SEARCH " + b"OR " * 15_000 + b"ALL",
            b"a SEARCH " + b"ALL " * 15_000 + b"ALL",
            b"a FETCH 1 (" + b"FLAGS " * 10_000 + b"FLAGS)",
            b"a FETCH 1 BODY[" + b"1." * 20_000 + b"1]",
            b"a STORE 1 FLAGS " + b"x " * 20_000 + b"x",
            b"a ENABLE " + b"x " * 20_000 + b"x",
            b'a LIST "" (' + b"x " * 20_000 + b"x)",
            b'a LOGIN "' + b"\\" * 40_001,
        ):
            with self.assertRaises(ImapSyntaxError):
                read(octets)
        self.assertLess(time.perf_counter() - start, within(2.0))


class ArgumentTests(SynchronousTestCase):
    def test_strings(self) -> None:
        """Atoms, quoted strings with escapes, and literals of either kind."""
        for octets in (
            b"a LOGIN joe p\\w",
            b'a LOGIN "joe" "p\\w"',
            b"a LOGIN joe p w",
            b'a LOGIN joe "p',
            b"a LOGIN joe {3}\r\npw",
            b"a LOGIN joe {3}\r\np\0w",
        ):
            with self.assertRaises(ImapSyntaxError, msg=repr(octets)):
                read(octets)
        wanted = Login(user=b"joe", password=b'p"\\w')
        self.assertEqual(read(b'a LOGIN joe "p\\"\\\\w"'), wanted)
        self.assertEqual(read(b'a LOGIN {3}\r\njoe {4+}\r\np"\\w'), wanted)
        self.assertEqual(read(b"a login joe ]x"), Login(user=b"joe", password=b"]x"))

    def test_secrets(self) -> None:
        """Passwords are not shown."""
        self.assertNotIn("hunter2", repr(read(b"a LOGIN joe hunter2")))
        self.assertNotIn("aGk", repr(read(b"a AUTHENTICATE PLAIN aGk=")))

    def test_head(self) -> None:
        """Tag and verb are found in any case; UID is a part of the verb."""
        head = parse_head(b"A1.x uid fetch 1 FLAGS")
        self.assertEqual((head.tag, head.verb), (b"A1.x", "UID FETCH"))
        for octets in (
            b"",
            b" a NOOP",
            b"+ NOOP",
            b"a",
            b"a  NOOP",
            b"( NOOP",
            b"a UID",
        ):
            with self.assertRaises(ImapSyntaxError, msg=repr(octets)):
                parse_head(octets)
        self.assertEqual(tag_of(b"x1 ???"), b"x1")
        self.assertIsNone(tag_of(b"{5}"))

    def test_plain(self) -> None:
        """What stands alone stands alone, but for blanks at its end."""
        self.assertEqual(read(b"a NOOP"), Plain())
        self.assertEqual(read(b"a EXPUNGE "), Plain())
        for octets in (b"a NOOP x", b"a XYZZY", b"a UID NOOP", b"a LOGIN"):
            with self.assertRaises(ImapSyntaxError):
                read(octets)

    def test_session(self) -> None:
        """The commands around login."""
        self.assertEqual(
            read(b"a AUTHENTICATE plain ="),
            Authenticate(mechanism=b"PLAIN", initial=b"="),
        )
        self.assertEqual(
            read(b"a ENABLE condstore X"), Enable(capabilities=(b"CONDSTORE", b"X"))
        )
        self.assertEqual(read(b"a ID NIL"), Id(parameters=()))
        self.assertEqual(
            read(b'a ID ("name" "x" "os" NIL)'),
            Id(parameters=((b"name", b"x"), (b"os", None))),
        )

    def test_names(self) -> None:
        """Mailbox names in both encodings, INBOX in any case."""
        self.assertEqual(read(b"a CREATE Entw&APw-rfe"), OneMailbox(mailbox="Entwürfe"))
        self.assertEqual(
            read('a CREATE "Entwürfe"'.encode(), utf8=True),
            OneMailbox(mailbox="Entwürfe"),
        )
        self.assertEqual(read(b"a CREATE a&b", utf8=True), OneMailbox(mailbox="a&b"))
        self.assertEqual(read(b"a RENAME inbox x"), Rename(old="INBOX", new="x"))
        for octets in (
            b"a CREATE a&b",
            b"a CREATE a*",
            b'a CREATE "\xff"',
            b"a CREATE",
        ):
            with self.assertRaises(ImapSyntaxError):
                read(octets)

    def test_select(self) -> None:
        """SELECT with what a client remembers."""
        self.assertEqual(
            read(b"a EXAMINE x (CONDSTORE)"),
            Select(mailbox="x", read_only=True, condstore=True),
        )
        for text, known, match in (
            (b"7 9", None, None),
            (b"7 9 1:5", b"1:5", None),
            (b"7 9 (1:2 3:4)", None, (b"1:2", b"3:4")),
            (b"7 9 1:5 (1:2 3:4)", b"1:5", (b"1:2", b"3:4")),
        ):
            wanted = Qresync(
                uidvalidity=7,
                modseq=9,
                known=parse_set(known) if known else None,
                match=(parse_set(match[0]), parse_set(match[1])) if match else None,
            )
            self.assertEqual(
                read(b"a SELECT x (QRESYNC (%b))" % text),
                Select(mailbox="x", read_only=False, qresync=wanted),
            )
        for octets in (b"(QRESYNC (7 9 *))", b"(QRESYNC (0 1))", b"()", b"(X)"):
            with self.assertRaises(ImapSyntaxError):
                read(b"a SELECT x " + octets)

    def test_list(self) -> None:
        """LIST in its basic and its extended form."""
        self.assertEqual(read(b'a LIST "" *'), List(reference="", patterns=("*",)))
        self.assertEqual(
            read(
                b'a LIST (subscribed) "" (a% b) RETURN (CHILDREN STATUS (MESSAGES SIZE))'
            ),
            List(
                reference="",
                patterns=("a%", "b"),
                selecting=frozenset((b"SUBSCRIBED",)),
                returning=frozenset((b"CHILDREN",)),
                status=(b"MESSAGES", b"SIZE"),
                extended=True,
            ),
        )
        for octets in (
            b'(RECURSIVEMATCH) "" *',
            b'(X) "" *',
            b'"" * RETURN (X)',
            b'"" ()',
            b'"" * X',
        ):
            with self.assertRaises(ImapSyntaxError):
                read(b"a LIST " + octets)

    def test_status(self) -> None:
        """STATUS items, each once."""
        self.assertEqual(
            read(b"a STATUS x (MESSAGES unseen MESSAGES)"),
            Status(mailbox="x", items=(b"MESSAGES", b"UNSEEN")),
        )
        with self.assertRaises(ImapSyntaxError):
            read(b"a STATUS x (FOO)")

    def test_store(self) -> None:
        """STORE in its forms."""
        for octets, how, silent, flags in (
            (b"FLAGS ()", "replace", False, ()),
            (b"+FLAGS.SILENT (\\Seen $X)", "add", True, ("\\Seen", "$X")),
            (b"-flags \\Seen \\Flagged", "remove", False, ("\\Seen", "\\Flagged")),
        ):
            command = read(b"a UID STORE 1 (UNCHANGEDSINCE 5) " + octets)
            assert isinstance(command, Store)
            self.assertEqual(
                (command.how, command.silent, command.flags), (how, silent, flags)
            )
            self.assertEqual((command.uid, command.unchanged_since), (True, 5))
        for octets in (
            b"+-FLAGS x",
            b"FLAG x",
            b"(X 1) FLAGS x",
            b"FLAGS",
            b"FLAGS (x",
        ):
            with self.assertRaises(ImapSyntaxError):
                read(b"a STORE 1 " + octets)

    def test_copy(self) -> None:
        """COPY, and MOVE of the saved result."""
        self.assertEqual(
            read(b"a UID MOVE $ x"),
            Copy(set=SequenceSet(saved=True), uid=True, mailbox="x"),
        )


class FetchTests(SynchronousTestCase):
    def test_items(self) -> None:
        """Macros, single items, lists."""
        fast = (Data("FLAGS"), Data("INTERNALDATE"), Data("RFC822.SIZE"))
        self.assertEqual(fetch(b"fast"), fast)
        self.assertEqual(fetch(b"(UID flags UID)"), (Data("UID"), Data("FLAGS")))
        self.assertEqual(fetch(b"BODY"), (Data("BODY"),))
        self.assertEqual(fetch(b"PREVIEW (LAZY)"), (Data("PREVIEW"),))
        for octets in (
            b"(ALL)",
            b"()",
            b"X",
            b"FLAGS)",
            b"(FLAGS",
            b"PREVIEW (X)",
            b"",
        ):
            with self.assertRaises(ImapSyntaxError, msg=repr(octets)):
                fetch(octets)

    def test_sections(self) -> None:
        """Every form of a section, and what the answer calls it."""
        for octets, label, part, text in (
            (b"body[]", b"BODY[]", "", ""),
            (b"BODY[1.2]", b"BODY[1.2]", "1.2", ""),
            (b"BODY[1.mime]", b"BODY[1.MIME]", "1", "MIME"),
            (b"BODY[header]", b"BODY[HEADER]", "", "HEADER"),
            (b"BODY[3.TEXT]", b"BODY[3.TEXT]", "3", "TEXT"),
            (b"RFC822", b"RFC822", "", ""),
            (b"RFC822.TEXT", b"RFC822.TEXT", "", "TEXT"),
        ):
            wanted = Section(label=label, part=part, text=text)
            self.assertEqual(fetch(octets), (wanted,))
        for octets in (
            *(
                b"BODY[",
                b"BODY[0]",
                b"BODY[1.]",
                b"BODY[.1]",
                b"BODY[MIME]",
                b"BODY[1.X]",
            ),
            *(b"BODY[HEADER.FIELDS]", b"BODY[HEADER.FIELDS ()]", b"BODY[1]<5>"),
            *(b"BODY[1]<5.0>", b"BINARY[HEADER]", b"BINARY.SIZE[1]<0.1>", b"BODY[01]"),
        ):
            with self.assertRaises(ImapSyntaxError, msg=repr(octets)):
                fetch(octets)

    def test_fields(self) -> None:
        """Names of fields in any form; the answer has them as they were asked for."""
        (item,) = fetch(b'BODY.PEEK[1.HEADER.FIELDS.NOT (To "x y" {2}\r\ncc)]<3.10>')
        self.assertEqual(
            item,
            Section(
                label=b'BODY[1.HEADER.FIELDS.NOT (To "x y" cc)]',
                part="1",
                text="HEADER.FIELDS.NOT",
                fields=frozenset(("to", "x y", "cc")),
                partial=(3, 10),
                peek=True,
            ),
        )

    def test_binary(self) -> None:
        """BINARY and its size."""
        self.assertEqual(
            fetch(b"(BINARY.PEEK[1]<0.5> BINARY.SIZE[1])"),
            (
                Section(
                    label=b"BINARY[1]", part="1", partial=(0, 5), peek=True, binary=True
                ),
                Section(
                    label=b"BINARY.SIZE[1]",
                    part="1",
                    peek=True,
                    binary=True,
                    size_only=True,
                ),
            ),
        )

    def test_modifiers(self) -> None:
        """CHANGEDSINCE brings the modseq, VANISHED needs it; UID brings the UID."""
        command = read(b"a UID FETCH 1:* FLAGS (CHANGEDSINCE 12 VANISHED)")
        assert isinstance(command, Fetch)
        self.assertEqual(command.items, (Data("UID"), Data("FLAGS"), Data("MODSEQ")))
        self.assertEqual((command.changed_since, command.vanished), (12, True))
        for octets in (
            b"a FETCH 1 FLAGS (CHANGEDSINCE 12 VANISHED)",
            b"a UID FETCH 1 FLAGS (VANISHED)",
            b"a FETCH 1 FLAGS (X)",
            b"a FETCH 1 FLAGS ()",
        ):
            with self.assertRaises(ImapSyntaxError):
                read(octets)


class SearchTests(SynchronousTestCase):
    def test_keys(self) -> None:
        """Each key, as it is asked of the store."""
        day, next_day = date(2026, 2, 1), date(2026, 2, 2)
        for octets, key in (
            (b"ALL", All()),
            (b"seen", Flag("\\Seen")),
            (b"UNDELETED", Not(Flag("\\Deleted"))),
            (b"NEW", Not(All())),
            (b"OLD", All()),
            (b"KEYWORD $X", Flag("$X")),
            (b"UNKEYWORD x", Not(Flag("x"))),
            (b"2:4,9", Uids(((2, 4), (9, 9)))),
            (b"UID *", Uids(((10, 10),))),
            (b'SUBJECT "a b"', Header("subject", "a b")),
            (b'HEADER X-Y ""', Header("x-y", "")),
            (b"TEXT x", Text("x")),
            (b"BEFORE 1-Feb-2026", Arrived(before=day)),
            (b"ON 1-feb-2026", Arrived(since=day, before=next_day)),
            (b'SENTSINCE "1-Feb-2026"', SentOn(since=day)),
            (b"SAVEDON 1-Feb-2026", Saved(since=day, before=next_day)),
            (b"LARGER 5", Size(larger=5)),
            (b"SMALLER 5", Size(smaller=5)),
            (b"OLDER 60", Within(older=60)),
            (b"YOUNGER 60", Within(younger=60)),
            (b'MODSEQ "/flags/\\\\draft" all 7', Modseq(7)),
            (
                b"OR SEEN (FROM x TO y)",
                Or(Flag("\\Seen"), And((Header("from", "x"), Header("to", "y")))),
            ),
            (b"NOT NOT ALL", Not(Not(All()))),
            (b"ALL ALL", And((All(), All()))),
        ):
            self.assertEqual(program(octets), key, octets)
        for octets in (
            *(b"", b"X", b"SEEN x", b"OR SEEN", b"NOT", b"()", b"ON 31-Feb-2026"),
            *(
                b"BEFORE today",
                b"LARGER -1",
                b"HEADER x",
                b"ON 31-Dec-9999",
                b"SENTX y",
            ),
        ):
            with self.assertRaises(ImapSyntaxError, msg=repr(octets)):
                program(octets)

    def test_charset(self) -> None:
        """Strings are decoded; without a charset they are UTF-8."""
        koi8 = "мир".encode("koi8-r")
        self.assertEqual(
            program(b'CHARSET KOI8-R SUBJECT "%b"' % koi8), Header("subject", "мир")
        )
        self.assertEqual(program("TEXT {2}\r\nä".encode()), Text("ä"))
        with self.assertRaises(BadCharset):
            program(b"CHARSET x-klingon ALL")
        with self.assertRaises(ImapSyntaxError):
            program(b"TEXT {1}\r\n\xff")

    def test_return(self) -> None:
        """What the answer shall tell."""
        for octets, returning in (
            (b"ALL", None),
            (b"RETURN () ALL", {b"ALL"}),
            (b"RETURN (min COUNT) ALL", {b"MIN", b"COUNT"}),
        ):
            command = read(b"a SEARCH " + octets)
            assert isinstance(command, Search)
            self.assertEqual(command.returning, returning)
        with self.assertRaises(ImapSyntaxError):
            read(b"a SEARCH RETURN (X) ALL")

    def test_modseq(self) -> None:
        """A program that asks for a modseq is known by it."""
        for octets, modseq in ((b"ALL", False), (b"OR ALL (NOT MODSEQ 3)", True)):
            command = read(b"a SEARCH " + octets)
            assert isinstance(command, Search)
            self.assertEqual(command.modseq, modseq)

    def test_sort_and_thread(self) -> None:
        """SORT and THREAD, which name their charset always."""
        self.assertEqual(
            read(b"a UID SORT (REVERSE DATE SUBJECT) UTF-8 ALL"),
            Sort(
                uid=True,
                returning=None,
                by=(SortKey("date", True), SortKey("subject")),
                key=All(),
                modseq=False,
            ),
        )
        self.assertEqual(
            read(b"a THREAD references US-ASCII SEEN"),
            Thread(uid=False, algorithm="REFERENCES", key=Flag("\\Seen")),
        )
        for octets in (b"SORT () UTF-8 ALL", b"SORT (X) UTF-8 ALL", b"SORT (DATE) ALL"):
            with self.assertRaises((ImapSyntaxError, BadCharset)):
                read(b"a " + octets)


class AppendTests(SynchronousTestCase):
    def test_announced(self) -> None:
        """A literal at the end of a line, and whether it waits."""
        self.assertIsNone(announced(b"a NOOP"))
        self.assertIsNone(announced(b"a {3} x"))
        found = announced(b"a APPEND x ~{12+}")
        assert found is not None
        self.assertEqual((found.size, found.waits, found.binary), (12, False, True))
        self.assertEqual(found.length, len("~{12+}"))

    def test_pieces(self) -> None:
        """Flags, date and form of each message."""
        self.assertEqual(append_mailbox(b" inbox (x) "), ("INBOX", b" (x) "))
        moment = datetime(2026, 7, 17, 0, 44, 25, tzinfo=UTC)
        self.assertEqual(
            append_piece(b' (\\Seen $X) "17-Jul-2026 02:44:25 +0200" '),
            AppendPiece(flags=("\\Seen", "$X"), date=moment, utf8=False),
        )
        self.assertEqual(
            append_piece(b" UTF8 ("), AppendPiece(flags=(), date=None, utf8=True)
        )
        for octets in (b"", b" x", b" (x)", b' "17-Jul-2026" ', b" UTF8 ", b"  "):
            with self.assertRaises(ImapSyntaxError, msg=repr(octets)):
                append_piece(octets)

    def test_utf8(self) -> None:
        """UTF8 (…) is closed behind its literal."""
        piece = append_piece(b" UTF8 (")
        self.assertEqual(append_goes_on(b") (x) ", piece), b" (x) ")
        with self.assertRaises(ImapSyntaxError):
            append_goes_on(b"", piece)
