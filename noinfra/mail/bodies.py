"""Which parts of a mail are its text, and which are attachments (RFC 8621, 4.1.4)."""

from collections.abc import Iterator, Sequence

from attrs import frozen

from noinfra.mail.part import Message, Part

_SIGNATURES = frozenset(
    {"pgp-signature", "pkcs7-signature", "x-pkcs7-signature", "pgp-encrypted"}
)


@frozen(kw_only=True)
class BodyParts:
    """What a reader of text sees, and what a reader of HTML sees, in order.

    Where a mail has a part in one form only, that part stands in both.
    """

    text: tuple[Part, ...]
    html: tuple[Part, ...]


def is_plain(part: Part) -> bool:
    """Whether it is read as plain text; so is a multipart without a part."""
    return part.content_type == "text/plain" or (
        part.type == "multipart" and not part.children
    )


def is_html(part: Part) -> bool:
    """Whether it is read as HTML."""
    return part.content_type == "text/html"


def body_parts(message: Message) -> BodyParts:
    """The parts that are shown as the message itself."""
    root = message.root
    if root.type == "text" and root.disposition != "attachment":
        # Alone, any text is the text: a calendar's, or one in Markdown.
        return BodyParts(text=(root,), html=(root,))
    text: list[Part] = []
    html: list[Part] = []
    _collect((root,), "mixed", alternative=False, text=text, html=html)
    return BodyParts(text=tuple(text), html=tuple(html))


def _collect(
    parts: Sequence[Part],
    within: str,
    *,
    alternative: bool,
    text: list[Part] | None,
    html: list[Part] | None,
) -> None:
    """Add the shown ones among the parts of one multipart.

    Below an alternative a branch that turned out to be of one form takes no part in the
    other: that list is None.
    """
    texts, htmls = len(text or ()), len(html or ())
    for number, part in enumerate(parts):
        if part.is_multipart:
            below = alternative or part.subtype == "alternative"
            _collect(
                part.children, part.subtype, alternative=below, text=text, html=html
            )
        elif not _is_shown(part, within, first=number == 0):
            continue
        elif within == "alternative":
            chosen = html if is_html(part) else text
            if chosen is not None:
                chosen.append(part)
        else:
            if alternative and is_plain(part):
                html = None
            elif alternative:
                text = None
            for chosen in (text, html):
                if chosen is not None:
                    chosen.append(part)
    if within == "alternative" and text is not None and html is not None:
        if len(text) == texts:
            text += html[htmls:]
        elif len(html) == htmls:
            html += text[texts:]


def _is_shown(part: Part, within: str, *, first: bool) -> bool:
    if part.disposition == "attachment" or not (is_plain(part) or is_html(part)):
        return False
    # A named text after the first is a file that somebody attached.
    return first or (within != "related" and part.filename is None)


def attachments(message: Message) -> tuple[Part, ...]:
    """What a reader would list beside the text, in order.

    Every leaf that is not shown as text: files, images (is_inline says whether the text
    shows them), invitations, and forwarded messages, each as a whole. Not the
    signatures of S/MIME and PGP, nor empty parts without a name.
    """
    shown = body_parts(message)
    bodies = {part.path for part in shown.text + shown.html}
    return tuple(
        part
        for part in _leaves(message.root)
        if part.path not in bodies and not _is_hidden(part)
    )


def _leaves(part: Part) -> Iterator[Part]:
    """The leaves of this message, not those of a message in it."""
    if part.is_multipart:
        for child in part.children:
            yield from _leaves(child)
    else:
        yield part


def _is_hidden(part: Part) -> bool:
    if part.type == "application" and part.subtype in _SIGNATURES:
        return True
    return part.size == 0 and part.filename is None
