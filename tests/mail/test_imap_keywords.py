"""Labels as keywords: any label has one, and any keyword is one label."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.imap_keywords import (
    HIDDEN,
    keyword_of,
    label_of,
    rendered,
    system_flag,
)

ATOM = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
TRICKY = st.text(st.sampled_from('=3DC9A20Fé €%\\"]a'), min_size=1, max_size=12)
LABELS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), TRICKY
)
KEYWORDS = st.text(st.sampled_from("=3DC9A20FEab$"), min_size=1, max_size=20)


class KeywordTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """What is an atom already stays as it is."""
        for name in ("$Forwarded", "NonJunk", "urgent", "a=b", "x:y", "p}"):
            self.assertEqual(keyword_of(name), name)
            self.assertEqual(label_of(name), name)

    def test_escaped(self) -> None:
        """What cannot stand in an atom is written in the octets of its UTF-8."""
        self.assertEqual(keyword_of("to do"), "to=20do")
        self.assertEqual(keyword_of("façade"), "fa=C3=A7ade")
        self.assertEqual(keyword_of("\\Seen"), "=5CSeen")
        self.assertEqual(keyword_of("50=20"), "50=3D20")

    def test_hidden(self) -> None:
        """The labels that are flags, or the server's own, are no keywords."""
        for name in HIDDEN:
            self.assertIsNone(keyword_of(name))
            self.assertIsNone(label_of(name))

    def test_registered(self) -> None:
        """A registered keyword has one form, however a client writes it."""
        self.assertEqual(label_of("$FORWARDED"), "$Forwarded")
        self.assertEqual(label_of("$label1"), "$Label1")

    def test_too_long(self) -> None:
        """No keyword makes a label that the API would not take."""
        self.assertEqual(label_of("a" * 100), "a" * 100)
        self.assertIsNone(label_of("a" * 101))

    @settings(deadline=None, max_examples=500)
    @given(LABELS)
    def test_label_returns(self, label: str) -> None:
        """Every label comes back from its keyword, which is a legal atom."""
        keyword = keyword_of(label)
        if label in HIDDEN or keyword is None:
            return
        self.assertTrue(ATOM.fullmatch(keyword), keyword)
        if keyword.lower()[:1] != "$":
            self.assertEqual(label_of(keyword), label)

    @settings(deadline=None, max_examples=500)
    @given(KEYWORDS)
    def test_keyword_returns(self, keyword: str) -> None:
        """Every keyword comes back from its label."""
        label = label_of(keyword)
        if label is not None:
            self.assertEqual(keyword_of(label), keyword)

    def test_rendered(self) -> None:
        """Flags and labels together make FLAGS."""
        self.assertEqual(rendered(["received", "unread"], []), b"()")
        self.assertEqual(
            rendered(["starred", "to do"], ["\\Deleted", "\\Answered"]),
            b"(\\Answered \\Deleted \\Flagged \\Seen to=20do)",
        )

    def test_system_flag(self) -> None:
        """System flags are known in any case; others are not kept."""
        self.assertEqual(system_flag("\\sEEN"), "\\Seen")
        self.assertIsNone(system_flag("\\Recent"))
        self.assertIsNone(system_flag("Seen"))
