"""HTML mail as plain text that a reader, human or machine, can follow."""

from itertools import groupby

from noinfra.mail.html_lines import html_lines, quoted


def to_text(html: str) -> str:
    """The text of the first two million characters of an HTML mail. It never raises.

    A link is followed by its address, an image is its alternative text, a blockquote
    has "> " before its lines, cells of a row have tabs between them. What the mail does
    not show (styles, comments, hidden previews) is left out.
    """
    lines = [quoted(line) for line in html_lines(html, addresses=True)]
    kept: list[str] = []
    for blank, group in groupby(lines, key=lambda line: not line.strip("> ")):
        run = list(group)
        kept.extend([min(run, key=len)] if blank else run)
    return "\n".join(kept).strip("\n")
