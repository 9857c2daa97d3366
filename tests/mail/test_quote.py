"""Subjects of replies and forwards, and quoted mail."""

from datetime import UTC, datetime
from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.encode import text_field
from noinfra.mail.quote import (
    Forwarded,
    attribution,
    forward_html,
    forward_subject,
    forward_text,
    html_body,
    quote_html,
    quote_text,
    reply_subject,
)
from tests.pace import within

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ORIGINAL = Forwarded(
    from_="Ann <ann@example.org>", date=NOON, subject="<b>Hi", to="bob@example.net"
)


class SubjectTests(SynchronousTestCase):
    def test_reply(self) -> None:
        """A mark is put before, unless one is there in any language."""
        for subject, reply in (
            ("Hi", "Re: Hi"),
            ("", "Re:"),
            ("RE: Hi", "RE: Hi"),
            ("AW: Hi", "AW: Hi"),
            ("Re[2]: Hi", "Re[2]: Hi"),
            ("[dev] Re: Hi", "[dev] Re: Hi"),
            ("回复：Hi", "回复：Hi"),
            ("Fwd: Hi", "Re: Fwd: Hi"),
            ("Regarding: Hi", "Re: Regarding: Hi"),
        ):
            self.assertEqual(reply_subject(subject), reply)

    def test_forward(self) -> None:
        """The same for forwards."""
        for subject, forward in (
            ("Hi", "Fwd: Hi"),
            ("WG: Hi", "WG: Hi"),
            ("fw: Hi", "fw: Hi"),
            ("転送: Hi", "転送: Hi"),
            ("Re: Hi", "Fwd: Re: Hi"),
        ):
            self.assertEqual(forward_subject(subject), forward)

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=60))
    def test_safe(self, subject: str) -> None:
        """Whatever the other side's subject held, ours can be sent, and is stable."""
        for made in (reply_subject, forward_subject):
            text_field("Subject", made(subject))
            self.assertEqual(made(made(subject)), made(subject))

    def test_hostile(self) -> None:
        """Long subjects and broken documents take no time."""
        for tag in ("<body", "<body>", "</body>", "<!doctype", "<html", "<"):
            began = perf_counter()
            html_body(tag * 100_000)
            self.assertLess(perf_counter() - began, within(1), tag)
        for piece in ("[", "re ", "[a] ", " "):
            began = perf_counter()
            reply_subject(piece * 100_000)
            self.assertLess(perf_counter() - began, within(1))


class QuoteTests(SynchronousTestCase):
    def test_attribution(self) -> None:
        """It says who and when, on one line."""
        self.assertEqual(
            attribution("Ann\r\n <ann@example.org>", NOON),
            "On 2026-06-01 at 12:00 +0000, Ann <ann@example.org> wrote:",
        )
        self.assertEqual(attribution("Ann", None), "Ann wrote:")

    def test_text(self) -> None:
        """Each line is marked once more; empty ones without a blank."""
        self.assertEqual(
            quote_text("one\r\n\r\n> two\r\n", "Ann wrote:"),
            "Ann wrote:\n\n> one\n>\n>> two\n",
        )

    def test_html(self) -> None:
        """The body of the document stands in a citation; names are escaped."""
        quoted = quote_html(
            "<!DOCTYPE html><html><head><style>p{}</style></head>"
            "<body class=x><p>Hi</p></body></html>",
            "<Ann> wrote:",
        )
        self.assertIn("<div>&lt;Ann&gt; wrote:</div>", quoted)
        self.assertIn(">\n<p>Hi</p>\n</blockquote>", quoted)
        self.assertNotIn("<body", quoted)

    def test_body(self) -> None:
        """A fragment is its own body; a document quoted within stays whole."""
        self.assertEqual(html_body("<p>Hi"), "<p>Hi")
        self.assertEqual(html_body("<body>a<body>b</body>c</body>d"), "abc")

    def test_forwards(self) -> None:
        """A forward has the note, the preamble, and then the message."""
        self.assertEqual(
            forward_text("See below", ORIGINAL, "Hello"),
            "See below\n\n---------- Forwarded message ---------\n"
            "From: Ann <ann@example.org>\nDate: Mon, 01 Jun 2026 12:00:00 +0000\n"
            "Subject: <b>Hi\nTo: bob@example.net\n\nHello",
        )
        html = forward_html("", ORIGINAL, "<html><body><p>Hello</p></body></html>")
        self.assertTrue(
            html.startswith("<div>---------- Forwarded message ---------<br>")
        )
        self.assertIn("<b>Subject:</b> &lt;b&gt;Hi<br>", html)
        self.assertTrue(html.endswith("<p>Hello</p>\n"))
