"""Mail addresses: strict on the envelope, lenient in header fields."""

from collections.abc import Iterator
from time import perf_counter
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.address import (
    Address,
    AddressError,
    Group,
    Mailbox,
    mailboxes,
    parse_address_list,
    parse_mailbox,
    parse_path,
    parse_reverse_path,
)
from noinfra.mail.addresslist import Reader, read_usual
from tests.mail.corpora import corpus
from tests.pace import within


def box(name: str, address: str) -> Mailbox:
    local, _, domain = address.rpartition("@")
    return Mailbox(name=name, address=Address(local=local, domain=domain))


class PathTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Local part and domain are kept as they were written."""
        self.assertEqual(
            parse_path("Joe.Q@Example.COM"),
            Address(local="Joe.Q", domain="Example.COM"),
        )

    def test_quoted(self) -> None:
        """A quoted local part loses its quotes, and gets them back where it needs them."""
        address = parse_path('"a b\\"c"@example.com')
        self.assertEqual(address.local, 'a b"c')
        self.assertEqual(str(address), '"a b\\"c"@example.com')
        self.assertEqual(str(parse_path('"plain"@example.com')), "plain@example.com")
        self.assertEqual(str(parse_path('""@example.com')), '""@example.com')

    def test_literals(self) -> None:
        """Domain literals are addresses of IPv4 or IPv6, and nothing else."""
        self.assertEqual(parse_path("a@[192.0.2.1]").domain, "[192.0.2.1]")
        self.assertEqual(
            parse_path("a@[IPv6:2001:DB8::1]").canonical, "a@[ipv6:2001:db8::1]"
        )
        for literal in ("[256.1.1.1]", "[IPv6:1::2::3]", "[x]", "[IPv6:fe80::1%eth0]"):
            self.assertRaises(AddressError, parse_path, f"a@{literal}")

    def test_source_route(self) -> None:
        """A source route is accepted and dropped."""
        self.assertEqual(
            str(parse_path("@a.example,@b.example:c@d.example")), "c@d.example"
        )

    def test_limits(self) -> None:
        """64 octets before the @, 63 to a label and 255 to a domain are the most."""
        label = "a" * 63
        longest = ".".join([label, label, label, label])
        parse_path("a" * 64 + "@b.example")
        parse_path(f"a@{longest}")
        for text in (
            "a" * 65 + "@b.example",
            "é" * 33 + "@b.example",
            f"a@{label}a.example",
            f"a@{longest}.b",
        ):
            self.assertRaises(AddressError, parse_path, text)

    def test_errors_say_where(self) -> None:
        """An error names the position, counted from one."""
        for text, words in (
            ("a..b@c.example", "position 2"),
            ("a b@c.example", "position 2"),
            ("@c.example", "position 1"),
            ("a@", "position 3"),
            ("a", "at the end"),
            ('"a@b.example', "position 1"),
        ):
            error = self.assertRaises(AddressError, parse_path, text)
            self.assertIn(words, str(error))

    def test_injection(self) -> None:
        """No control character passes, quoted or not."""
        for text in (
            "a\r\n@b.example",
            '"a\r\nb"@c.example',
            "a@b.example\r\n",
            "a@b\0",
        ):
            self.assertRaises(AddressError, parse_path, text)

    def test_international(self) -> None:
        """Non-ASCII addresses need SMTPUTF8, and their domains have an A-label form."""
        address = parse_path("用户@Bücher.example")
        self.assertEqual(address.ascii_domain, "xn--bcher-kva.example")
        self.assertFalse(address.is_ascii)
        self.assertRaises(AddressError, parse_path, "用户@b.example", smtputf8=False)
        self.assertRaises(AddressError, parse_path, "a@☃-.example")

    def test_canonical(self) -> None:
        """Spellings of one address have one canonical form."""
        self.assertEqual(
            parse_path("JOE@BÜCHER.example").canonical, "joe@xn--bcher-kva.example"
        )
        self.assertEqual(
            parse_path("e\u0301@b.example").canonical,
            parse_path("É@b.example").canonical,
        )

    def test_tag(self) -> None:
        """What follows the first plus is the tag."""
        address = parse_path("me+news+more@b.example")
        self.assertEqual(
            (address.tag, str(address.base)), ("news+more", "me@b.example")
        )
        self.assertIsNone(parse_path("+me@b.example").tag)
        self.assertEqual(parse_path("me+@b.example").tag, "")

    def test_null(self) -> None:
        """The null reverse-path is None."""
        self.assertIsNone(parse_reverse_path(""))
        self.assertEqual(str(parse_reverse_path("a@b.example")), "a@b.example")

    @settings(deadline=None, max_examples=300)
    @given(st.text(max_size=80))
    def test_any_text(self, text: str) -> None:
        """Any text is an address or an AddressError; an address parses back to itself."""
        try:
            address = parse_path(text)
        except AddressError:
            return
        self.assertEqual(parse_path(str(address)), address)
        self.assertTrue(address.canonical.isprintable())

    @settings(deadline=None, max_examples=300)
    @given(
        st.text(
            st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12
        )
    )
    def test_quoting(self, local: str) -> None:
        """Any printable local part can be written, and is read back."""
        address = Address(local=local, domain="b.example")
        self.assertEqual(parse_path(str(address)), address)


class MailboxTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """The forms that people type."""
        for text, expected in (
            ("a@b.example", box("", "a@b.example")),
            ("<a@b.example>", box("", "a@b.example")),
            ("Ann <a@b.example>", box("Ann", "a@b.example")),
            ('"Doe, Ann" <a@b.example>', box("Doe, Ann", "a@b.example")),
            ("Doe, Ann <a@b.example>", box("Doe, Ann", "a@b.example")),
            ("Zoë Ü <a@b.example>", box("Zoë Ü", "a@b.example")),
            ("a@b.example (Ann (B))", box("Ann (B)", "a@b.example")),
            ("=?utf-8?q?Zo=C3=AB?= <a@b.example>", box("Zoë", "a@b.example")),
        ):
            self.assertEqual(parse_mailbox(text), expected)

    def test_refused(self) -> None:
        """What is not exactly one sound mailbox is refused."""
        for text in (
            "",
            "Ann",
            "a@b.example, c@d.example",
            "Ann <a@b.example> Bob",
            "Ann <a@b.example",
            'Ann" <a@b.example>',
            "Ann <a b@c.example>",
            "Ann <>",
            "<a@b@c.example>",
            "g: a@b.example;",
            "a..b@c.example",
            "@c.example",
            'x"y"@c.example',
            "Ann <a@b.example>\r\nBcc: c@d.example",
            "A" * 1000 + " <a@b.example>",
        ):
            self.assertRaises(AddressError, parse_mailbox, text)

    def test_header_form(self) -> None:
        """A name is quoted where a phrase may not hold it, or where it would decode."""
        for name in ("Ann", "Doe, Ann", 'A "B" C', "a\\b", "=?utf-8?q?x?=", "Zoë"):
            mailbox = box(name, "a@b.example")
            [found] = mailboxes(str(mailbox))
            self.assertEqual(found.address, mailbox.address)
        self.assertEqual(
            str(box("Doe, Ann", "a@b.example")), '"Doe, Ann" <a@b.example>'
        )
        self.assertNotIn("\n", str(box("a\r\nBcc: x", "a@b.example")))

    @settings(deadline=None, max_examples=200)
    @given(
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1)
    )
    def test_names(self, name: str) -> None:
        """Any printable name is read back from its header form, unless it is encoded."""
        mailbox = box(name, "a@b.example")
        if "=?" not in name:
            self.assertEqual(parse_mailbox(str(mailbox)), mailbox)


class ListTests(SynchronousTestCase):
    def test_group(self) -> None:
        """Groups keep their names; mailboxes() takes what is in them."""
        value = "Team: Ed <ed@x.example>, joe@y.example;, z@z.example"
        ed, joe = box("Ed", "ed@x.example"), box("", "joe@y.example")
        last = box("", "z@z.example")
        self.assertEqual(
            parse_address_list(value), (Group(name="Team", mailboxes=(ed, joe)), last)
        )
        self.assertEqual(mailboxes(value), (ed, joe, last))
        self.assertEqual(mailboxes("undisclosed-recipients:;"), ())

    def test_lenient(self) -> None:
        """What real mail holds is made the most of."""
        for value, expected in (
            (
                "Doe, John <j@x.example>, b@c.example",
                ["Doe, John|j@x.example", "|b@c.example"],
            ),
            ('"Joe <a@b.example>, c@d.example', ["Joe|a@b.example", "|c@d.example"]),
            ("<@a.example,@b.example:c@d.example>", ["|c@d.example"]),
            ("(c) x @ y . example", ["c|x@y.example"]),
            ("John Doe j@x.example", ["John Doe|j@x.example"]),
            ("mailto:a@b.example", ["|a@b.example"]),
            ("a@b.example; c@d.example", ["|a@b.example", "|c@d.example"]),
            ("a@b.example c@d.example", ["|a@b.example", "|c@d.example"]),
            ("A <a@b.example> B <c@d.example>", ["A|a@b.example", "B|c@d.example"]),
            ("<<a@b.example>>", ["|a@b.example"]),
            ("Foo [x] <a@b.example>", ["Foo [x]|a@b.example"]),
            ("Re: John <a@b.example>", ["John|a@b.example"]),
            ('<"a@b.example">', ["|a@b.example"]),
            ("'a@b.example' <a@b.example>", ["'a@b.example'|a@b.example"]),
            ("=?utf-8?q?a,b=40c?= <r@x.example>", ["a,b@c|r@x.example"]),
            ('"first"."last"@x.example', ["|first.last@x.example"]),
            ("<a@b.example> Ann", ["Ann|a@b.example"]),
            ("root (Cron)", ["Cron|root"]),
            ("a@b.example,\r\n\tc@d.example", ["|a@b.example", "|c@d.example"]),
            ("John Doe", []),
            ("<>", []),
            ("", []),
        ):
            found = [f"{one.name}|{one.address}" for one in mailboxes(value)]
            self.assertEqual(found, expected, value)

    def test_no_address(self) -> None:
        """An entry without an address shows its name, and is no mailbox to write to."""
        [entry] = parse_address_list("(not telling)")
        self.assertEqual(entry, box("not telling", ""))
        self.assertEqual(mailboxes("(not telling)"), ())

    def test_undecoded(self) -> None:
        """Encoded words stay as they are when asked for."""
        [entry] = parse_address_list("=?utf-8?q?Zo=C3=AB?= <a@b.example>", decode=False)
        self.assertEqual(entry, box("=?utf-8?q?Zo=C3=AB?=", "a@b.example"))

    @settings(deadline=None, max_examples=500)
    @given(
        st.text(max_size=60)
        | st.lists(st.sampled_from('<>@,;:"()\\[] .ab\r\n')).map("".join)
    )
    def test_total(self, value: str) -> None:
        """Any text yields entries that can be stored and written on one line."""
        for entry in parse_address_list(value):
            text = str(entry)
            text.encode()
            self.assertFalse(set("\r\n\0") & set(text))

    @settings(deadline=None, max_examples=1000)
    @given(
        st.lists(
            st.sampled_from([*'<>@,"? =\\', "a.b", "Ann ", "=?utf-8?q?", "?=", ", "])
            | st.sampled_from(["a@b.example", "<a@b.example>", '"A. B" '])
        ).map("".join),
        st.booleans(),
    )
    def test_usual(self, value: str, decode: bool) -> None:
        """Lists of the usual forms are read as those with oddities are."""
        usual = read_usual(value, decode=decode)
        if usual is not None:
            self.assertEqual(usual, Reader(value, decode=decode).entries())

    def test_is_usual(self) -> None:
        """Nearly all lists are of the usual forms."""
        for value in (
            "a@b.example",
            "<bounce+a=b.example@c.example>",
            'Ann Lee <a@b.example>, "Lee, Ann" <a@b.example>,c@d.example',
            "=?utf-8?q?Zo=C3=AB?= =?utf-8?b?TGVl?= <a@b.example>",
        ):
            self.assertIsNotNone(read_usual(value, decode=True), value)

    def test_linear(self) -> None:
        """Hostile fields take time in proportion to their length."""
        for unit in (
            '"\\', "(", "()", '"', ",", "<", "@", "a,", "a <b@c>, ", ":", "a:b;", "x@",
            "a, b", "[", "(\\", "a b ", ". ", "<@a,", '"a" ', "a@b ", "x <a@b> y@z ",
        ):  # fmt: skip
            started = perf_counter()
            parse_address_list(unit * (100_000 // len(unit)))
            self.assertLess(perf_counter() - started, within(3), unit)


def isemail() -> Iterator[tuple[str, bool]]:
    """The judged addresses of both isemail suites, and whether they are usable."""
    usable = {"ISEMAIL_VALID_CATEGORY", "ISEMAIL_DNSWARN", "ISEMAIL_RFC5321"}
    for name in ("isemail-tests.xml", "tests-original.xml"):
        for test in ElementTree.parse(corpus("address") / name).iter("test"):
            category = test.findtext("category") or ""
            text = "".join(
                chr(ord(one) - 0x2400) if "\u2400" <= one <= "\u2421" else one
                for one in test.findtext("address") or ""
            )
            if category in usable or category == "ISEMAIL_ERR":
                yield text, category in usable


class CommentTests(SynchronousTestCase):
    """Comments that stand where an address could."""

    def test_in_group(self) -> None:
        """A comment alone is nobody within a group (RFC 5322, 3.4: CFWS)."""
        self.assertEqual(
            parse_address_list("group2: (foo) ;"), (Group(name="group2", mailboxes=()),)
        )


class CorpusTests(SynchronousTestCase):
    def test_isemail(self) -> None:
        """Of isemail's addresses, all that are judged come out right."""
        total = wrong = 0
        for text, usable in isemail():
            total += 1
            try:
                parse_path(text)
                wrong += not usable
            except AddressError:
                wrong += usable
        print(f"isemail: {total - wrong} of {total}")
        self.assertEqual(wrong, 0)

    def test_flanker(self) -> None:
        """Of flanker's valid mailboxes, at most one is refused (a ! in its domain)."""
        lines = (
            (corpus("address") / "mailbox_valid.txt").read_text("utf-8").splitlines()
        )
        valid = [line for line in lines if line and not line.startswith("#")]
        refused = []
        for line in valid:
            try:
                parse_mailbox(line)
            except AddressError:
                refused.append(line)
        print(f"flanker: {len(valid) - len(refused)} of {len(valid)}")
        self.assertLessEqual(len(refused), 1)
