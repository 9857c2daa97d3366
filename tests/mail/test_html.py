"""HTML mail as plain text."""

import time
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.html import to_text
from noinfra.mail.html_lines import html_lines
from noinfra.mail.html_tokens import HTML_LIMIT, tokens, values
from tests.pace import within

ROW = (
    '<tr style="font-family:arial"><td class="x" style="padding:0 10px;color:#333333">'
    '<p style="margin:0">Some words of a newsletter &amp; more. <a style="color:red" '
    'href="https://example.com/track/{n}{pad}">Read more</a></p>'
    '<img src="https://example.com/{n}{pad}.png" width="1" alt=""></td></tr>\n'
)


def newsletter(size: int) -> str:
    row = ROW.format(n=1, pad="x" * 80)
    return f"<html><body><table>{row * (size // len(row))}</table></body></html>"


class TextTests(SynchronousTestCase):
    def assertText(self, html: str, text: str) -> None:
        self.assertEqual(to_text(html), text)

    def test_paragraphs(self) -> None:
        """Paragraphs have a blank line between them, lines end where the HTML says."""
        self.assertText(
            "<p>a</p><p>b<br>c</p><div>d</div><div>e</div>", "a\n\nb\nc\n\nd\ne"
        )
        self.assertText("<p>a<p>b", "a\n\nb")
        self.assertText("<div>a</div><div><br></div><div>b</div>", "a\n\nb")
        self.assertText("a<br><br><br><br>b", "a\n\nb")

    def test_white_space(self) -> None:
        """White space counts as one space, within and between elements."""
        self.assertText("  a \n\t b<b> c</b> <i>d</i>e&nbsp;&nbsp;f ", "a b c de f")

    def test_references(self) -> None:
        """Character references are resolved, the absurd ones too."""
        self.assertText(
            "&lt;b&gt; &amp;amp; &eacute;&#233;&#xe9; &copy", "<b> &amp; ééé ©"
        )
        self.assertText(
            f"a&#{'9' * 10_000};b&#x{'f' * 9};&bogus;", "a\ufffdb\ufffd&bogus;"
        )
        self.assertText("a&#0;b\0c", "a\ufffdbc")

    def test_links(self) -> None:
        """A link has its address behind it, unless it is its text."""
        self.assertText(
            '<a href="https://x.example/a?b&amp;c">go</a>!',
            "go (https://x.example/a?b&c)!",
        )
        self.assertText('<a href="https://www.x.example/">x.example</a>', "x.example")
        self.assertText('<a href="mailto:a@x.example">a@x.example</a>', "a@x.example")
        self.assertText('<a href="mailto:a@x.example">Ann</a>', "Ann (a@x.example)")
        self.assertText('<a href="#top">up</a><a href="javascript:x">x</a>', "upx")
        self.assertText(
            '<a href="https://x.example"><div>go</div></a>on',
            "go (https://x.example)\non",
        )
        self.assertText('<a href="https://x.example"><img src=x></a>on', "on")

    def test_images(self) -> None:
        """An image is its alternative text."""
        self.assertText(
            'a <img alt="the &quot;cat&quot;" src=x> b <img src=y>', 'a the "cat" b'
        )

    def test_lists(self) -> None:
        """Items have bullets or numbers, inner lists are indented."""
        self.assertText(
            "<ul><li>a<li>b<ol><li>c</li><li>d</li></ol></li></ul>e",
            "- a\n- b\n  1. c\n  2. d\n\ne",
        )
        self.assertText("<ul><li></li></ul>e", "e")

    def test_tables(self) -> None:
        """A row is a line; a layout table is its cells one after another."""
        self.assertText(
            "<table><tr><th>A<th>B</tr><tr><td>1</td><td></td><td>2</td></tr></table>",
            "A\tB\n1\t2",
        )
        self.assertText(
            "<table><tr><td><div>a</div></td><td><table><tr><td><p>b</p></td></tr></table>",
            "a\n\nb",
        )

    def test_quotes(self) -> None:
        """A blockquote has marks before its lines, one for each level."""
        self.assertText(
            "a<blockquote>b<p>c</p><blockquote>d</blockquote></blockquote>e",
            "a\n\n> b\n>\n> c\n>\n> > d\n\ne",
        )

    def test_preformatted(self) -> None:
        """Preformatted text keeps its lines and spaces."""
        self.assertText("a<pre>  b\n    c\n\nd</pre>e", "a\n\n  b\n    c\n\nd\n\ne")

    def test_not_shown(self) -> None:
        """What a mail client does not show is not text."""
        for hidden in (
            "<head><title>x</title><style>p > b {}</style></head>",
            "<script>if (a < b) x</script>",
            "<!-- x --><!--><!-- > x --><!DOCTYPE x><?xml x?><![if mso]>",
            "<!--[if mso]><p>x</p><![endif]-->",
            '<div style="DISPLAY: none !important">x<div>x</div>x</div>',
            '<span style="color:red;visibility:hidden">x</span>',
            "<p hidden>x</p>",
            '<div style="max-height:0px;overflow:hidden">x</div>',
            '<span style="font-size:0">x</span>',
            '<div style="opacity:0">x</div>',
            "&zwnj;&nbsp;&#8199;&shy;&zwnj;&#847;",
        ):
            with self.subTest(hidden):
                self.assertText(f"{hidden}<p>a</p>", "a")

    def test_gap_of_cells(self) -> None:
        """A cell of font-size 0 has content of its own size."""
        self.assertText(
            '<td style="font-size:0px"><div style="font-size:9px">a</div>', "a"
        )

    def test_broken(self) -> None:
        """Broken HTML gives what a browser would show of it."""
        self.assertText("a < b & c > d", "a < b & c > d")
        self.assertText("<p title='x > y'>a</p><p it's>b</p>", "a\n\nb")
        self.assertText("</p></div></blockquote></li></pre>a</table>", "a")
        self.assertText("<html><head><meta x><body>a", "a")
        self.assertText("a<p class='x", "a")
        self.assertText("a<!-- b", "a")
        self.assertText("", "")


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "<",
                ">",
                "<!--",
                "-->",
                "<!",
                "</",
                '"',
                "'",
                "=",
                "<a href=",
                "<p ",
                "&#",
            ),
            *(
                "<style>",
                "</style>",
                "<script",
                "<div hidden>",
                "</div>",
                "<td>",
                "<pre>",
            ),
            *(
                "\n",
                " ",
                "x",
                "&amp",
                "<li>",
                "<ol>",
                "<blockquote>",
                "<br/>",
                "\0",
                "é",
            ),
        ]
    ),
    max_size=40,
).map("".join)


class PropertyTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=300)
    @given(st.one_of(st.text(), PIECES))
    def test_total(self, html: str) -> None:
        """Any text is HTML; the result has no ends to strip and no triple line ends."""
        text = to_text(html)
        self.assertEqual(text, text.strip("\n"))

    @settings(deadline=None, max_examples=300)
    @given(st.one_of(st.text(), PIECES))
    def test_tokens_cover(self, html: str) -> None:
        """The tokens are the HTML, without gap or overlap."""
        found = list(tokens(html))
        self.assertEqual("".join(html[t.start : t.end] for t in found), html)
        self.assertTrue(all(a.end == b.start for a, b in pairwise(found)))

    @settings(deadline=None, max_examples=100)
    @given(st.one_of(st.text(), PIECES))
    def test_tokens_from(self, html: str) -> None:
        """From the beginning of a token on, or from within text, they are the same."""
        found = list(tokens(html))
        for number, token in enumerate(found):
            self.assertEqual(list(tokens(html, token.start)), found[number:])
            if not token.name:
                after = list(tokens(html, token.end - 1))[1:]
                self.assertEqual(after, found[number + 1 :])

    @settings(deadline=None, max_examples=100)
    @given(PIECES)
    def test_places(self, html: str) -> None:
        """Each line knows where it came from, in order."""
        for line in html_lines(html):
            self.assertTrue(0 <= line.start <= line.end <= len(html))

    @settings(deadline=None, max_examples=100)
    @given(st.text())
    def test_attributes(self, written: str) -> None:
        """Any attributes have values."""
        values(written)

    @settings(deadline=None, max_examples=100)
    @given(st.text("abc<>&\"' \n;é"))
    def test_escaped(self, text: str) -> None:
        """Escaped text comes back, but for its white space."""
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        self.assertEqual(to_text(f"<div>{escaped}</div>"), " ".join(text.split()))


class LimitTests(SynchronousTestCase):
    def assertFaster(self, html: str, milliseconds: float) -> None:
        """It takes less processor time, at the best of three."""
        spent = []
        for _ in range(3):
            start = time.process_time()
            to_text(html)
            spent.append((time.process_time() - start) * 1000)
            if spent[-1] < within(milliseconds):
                return
        self.fail(f"{min(spent):.1f} ms for {html[:30]!r}")

    def test_ordinary_speed(self) -> None:
        """5 KB take less than a millisecond, a newsletter of 500 KB less than 50."""
        small, large = newsletter(5_000), newsletter(500_000)
        self.assertGreater(len(to_text(large)), len(large) // 10)
        self.assertFaster(small, 1)
        self.assertFaster(large, 100)

    def test_hostile_speed(self) -> None:
        """Half a megabyte of anything takes less than a second (mostly a fifth)."""
        for piece in (
            *(
                "<div>",
                "<blockquote>x",
                "<ul><li>x",
                "<p>",
                "<br>",
                "<b> ",
                "<td>x",
                "<",
            ),
            *(
                "<!--",
                "<![",
                "<a ",
                '<a b="',
                "<a b='\">",
                '<a b=">" ',
                "<style>",
                "</p>",
            ),
            *("&amp", "&#", "&#9999999999;", "<pre>\n", "<table><tr><td>x", "</b><p>x"),
            *('<a href="https://x.example">y</a>', "<div hidden>", "<style><", "<!-"),
            *("<a =", '<p style="display:none', "\0", " ", "<img alt=x>", "<a href=x>"),
        ):
            with self.subTest(piece):
                self.assertFaster(piece * (500_000 // len(piece)), 1000)
        for html in (
            "<a " + "x=1 " * 120_000 + ">",
            "<a " + "x" * 500_000 + ">",
            "<a =" + " " * 500_000,
            "<!--" + "-" * 500_000,
            "&#" + "9" * 500_000,
            "&" + "a" * 500_000,
            "<div>" * 60_000 + "</p>" * 40_000,
            '<p style="' + "display:none;" * 40_000 + '">',
        ):
            with self.subTest(html[:20]):
                self.assertFaster(html, 1000)

    def test_depth(self) -> None:
        """A hundred thousand elements within each other hide no text, nor do quotes."""
        self.assertEqual(
            to_text("<div>" * 100_000 + "deep" + "</div>" * 100_000), "deep"
        )
        self.assertEqual(to_text("<blockquote>" * 9999 + "deep"), "> " * 8 + "deep")

    def test_size(self) -> None:
        """What is beyond two million characters is not looked at."""
        html = "x" * (HTML_LIMIT - 1) + "yz"
        self.assertEqual(to_text(html), "x" * (HTML_LIMIT - 1) + "y")
