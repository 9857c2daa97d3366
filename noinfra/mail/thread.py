"""Which conversation a message belongs to.

Within one inbox, a message joins the thread of its closest known ancestor by
References and In-Reply-To, never by subject alone: two unlike conversations called
"Invoice" would become one, and a stranger could write himself into any thread.
Everything here is a pure decision; the caller looks the identifiers up and
writes the outcome down.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

from attrs import frozen

#: How many ancestors are looked up; the closest ones, and the root.
MAX_ANCESTORS = 100
#: A longer identifier is known by its hash; an index entry must stay small.
MAX_ID = 500
#: Subjects are compared by this much of them, so that stripping stays linear.
MAX_SUBJECT = 1000

# RFC 5256, section 5: BLOBCHAR, subj-blob, subj-refwd, subj-leader, subj-trailer.
_BLOB = r"\[[^\[\]]*\]\ *"
_LEADER = re.compile(rf"(?:{_BLOB})*(?:re|fwd?)\ *(?:{_BLOB})?:\ *", re.I)
_LEADING_BLOB = re.compile(rf"{_BLOB}(?=.)")
_TRAILER = re.compile(r"\(fwd\)\Z", re.I)
_WRAPPED = re.compile(r"\[fwd:(.*)\]\Z", re.I)
_BLANKS = re.compile(r"[\s\x00]+")


@frozen(kw_only=True)
class Subject:
    """A subject without its decoration, and whether it bore a reply's or forward's."""

    base: str
    is_reply: bool


def base_subject(subject: str) -> str:
    """The subject without Re:, Fwd:, [list] and the like (RFC 5256, 2.1)."""
    return strip_subject(subject).base


def strip_subject(subject: str) -> Subject:
    """Strip a decoded subject by the steps of RFC 5256, 2.1, to a fixed point."""
    base = _BLANKS.sub(" ", subject[:MAX_SUBJECT]).strip()
    is_reply = False
    while True:
        stripped, marked = _strip_once(base)
        is_reply = is_reply or marked
        if stripped == base:
            return Subject(base=base, is_reply=is_reply)
        base = stripped


def _strip_once(base: str) -> tuple[str, bool]:
    """One step of the algorithm: a trailer, else a leader, else a blob, else a wrap."""
    if found := _TRAILER.search(base):
        return base[: found.start()].rstrip(), True
    if found := _LEADER.match(base):
        return base[found.end() :], True
    if found := _LEADING_BLOB.match(base):
        # A blob is kept where it is all there is: "[announce]" is a subject.
        return base[found.end() :], False
    if found := _WRAPPED.match(base):
        return found[1].strip(), True
    return base, False


def thread_key(message_id: str) -> str:
    """What an identifier is stored and compared as.

    Itself, as a rule; its hash where it is too long for an index or holds what a
    database or a log would not take, so that even then a reply finds its thread.
    """
    if len(message_id) <= MAX_ID and message_id.isprintable():
        return message_id
    digest = sha256(message_id.encode("utf-8", "surrogatepass"))
    return f"sha256:{digest.hexdigest()}"


def ancestry(
    message_id: str, in_reply_to: Iterable[str], references: Iterable[str]
) -> tuple[str, ...]:
    """The keys of the messages that this one follows, the closest first.

    In-Reply-To names the parents (RFC 5322, 3.6.4), References all ancestors from the
    root downwards. Where there are too many, the ones furthest from both ends go:
    the root is the one that a thread is most likely known by.
    """
    closest_first = dict.fromkeys(map(thread_key, in_reply_to))
    closest_first |= dict.fromkeys(map(thread_key, reversed(tuple(references))))
    closest_first.pop(thread_key(message_id), None)
    closest_first.pop("", None)
    ancestors = tuple(closest_first)
    if len(ancestors) <= MAX_ANCESTORS:
        return ancestors
    return (*ancestors[: MAX_ANCESTORS - 1], ancestors[-1])


@frozen(kw_only=True)
class Placement:
    """Where a message goes: an existing thread, or None for a new one.

    `absorbs` is a thread that turns out to be part of the same conversation: its
    messages move into `thread`.
    """

    thread: str | None
    absorbs: str | None


def place(own_id: str, ancestors: Iterable[str], known: Mapping[str, str]) -> Placement:
    """Decide the thread of a message within one inbox.

    `known` maps the key of every message seen or referred to so far to its thread.
    The message's own key is among them when its reply came first; its `own_id` is empty
    when it has none.
    """
    own = known.get(thread_key(own_id)) if own_id else None
    joined = next((known[one] for one in ancestors if one in known), None)
    if joined is None or joined == own:
        return Placement(thread=own, absorbs=None)
    return Placement(thread=joined, absorbs=own)
