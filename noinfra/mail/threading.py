"""IMAP THREAD: a mailbox's messages as trees (RFC 5256, 3).

This is for clients that ask for it. It joins by subject as the RFC has it, unlike
`thread`, by which mail is filed. Nothing here recurses: a chain of replies may be
longer than any stack.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

from attrs import define, field, frozen

from noinfra.mail.thread import Subject, strip_subject


@frozen(kw_only=True)
class Threadable:
    """What threading needs to know of a message.

    `number` is what the answer calls it by, and in its order; `date` is the sent date,
    or where that is missing the internal one (RFC 5256, 2.2); `references` are those of
    References or, where it is missing, the first of In-Reply-To.
    """

    number: int
    message_id: str | None
    references: Sequence[str]
    subject: str
    date: datetime


@define(eq=False)
class Node:
    """A message, or None in the place of one that is not there, over its replies."""

    message: Threadable | None
    parent: "Node | None" = field(default=None, repr=False)
    children: "list[Node]" = field(factory=list)

    def adopt(self, child: "Node") -> None:
        """Take a node from where it is and put it below this one."""
        child.leave()
        child.parent = self
        self.children.append(child)

    def leave(self) -> None:
        """Become a root."""
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None

    def is_below(self, other: "Node") -> bool:
        """Whether another is this one or one of its ancestors."""
        # Without a child nobody has it as an ancestor: as a rule the walk is spared.
        if not other.children:
            return self is other
        node: Node | None = self
        while node is not None and node is not other:
            node = node.parent
        return node is not None


def by_references(messages: Sequence[Threadable]) -> list[Node]:
    """The trees of the REFERENCES algorithm, in their order."""
    roots = [node for node in _linked(messages) if node.parent is None]
    pruned = _pruned(roots)
    _sort(pruned)
    merged = _merge_subjects(pruned)
    _sort(merged)
    return merged


def _linked(messages: Sequence[Threadable]) -> list[Node]:
    """Step 1: all nodes, each below its parent."""
    by_id: dict[str, Node] = {}
    nodes: list[Node] = []
    for message in messages:
        node = _node_of(message, by_id, nodes)
        above: Node | None = None
        for reference in message.references:
            one = by_id.get(reference)
            if one is None:
                one = by_id[reference] = Node(None)
                nodes.append(one)
            if above is not None and one.parent is None and not above.is_below(one):
                above.adopt(one)
            above = one
        node.leave()
        if above is not None and not above.is_below(node):
            above.adopt(node)
    return nodes


def _node_of(message: Threadable, by_id: dict[str, Node], nodes: list[Node]) -> Node:
    """The node of a message: one that replies spoke of, or a new one."""
    known = by_id.get(message.message_id) if message.message_id else None
    if known is not None and known.message is None:
        known.message = message
        return known
    # Without an identifier, or with another's, it is known by none (step 1.A).
    node = Node(message)
    nodes.append(node)
    if message.message_id and known is None:
        by_id[message.message_id] = node
    return node


def _pruned(roots: list[Node]) -> list[Node]:
    """Step 3: without the empty nodes, but for a root that holds siblings together."""
    for node in _from_below(roots):
        kept: list[Node] = []
        for child in node.children:
            kept += [child] if child.message is not None else child.children
        for child in kept:
            child.parent = node
        node.children = kept
    left: list[Node] = []
    for node in roots:
        if node.message is not None or len(node.children) > 1:
            left.append(node)
        else:
            left += node.children
    for node in left:
        node.parent = None
    return left


def _from_below(roots: Iterable[Node]) -> Iterator[Node]:
    """All nodes, each after those below it."""
    order: list[Node] = []
    left = list(roots)
    while left:
        node = left.pop()
        order.append(node)
        left += node.children
    return reversed(order)


def _sort(roots: list[Node]) -> None:
    """Steps 4 and 6: siblings by date, an empty one by its first child's."""
    for node in _from_below(roots):
        node.children.sort(key=_sort_key)
    roots.sort(key=_sort_key)


def _sort_key(node: Node) -> tuple[datetime, int]:
    message = _first(node)
    return message.date, message.number


def _first(node: Node) -> Threadable:
    """The message of a node, or the one of its first child where it is empty."""
    while node.message is None:
        node = node.children[0]
    return node.message


def _merge_subjects(roots: list[Node]) -> list[Node]:
    """Step 5: roots of one base subject become one tree."""
    subjects = {id(node): strip_subject(_first(node).subject) for node in roots}
    table: dict[str, Node] = {}
    for node in roots:
        subject = subjects[id(node)]
        held = table.get(_folded(subject))
        if held is None or _is_better(node, subject, held, subjects[id(held)]):
            table[_folded(subject)] = node
    joined = list(roots)
    for node in roots:
        subject = subjects[id(node)]
        held = table[_folded(subject)]
        if not subject.base or held is node:
            continue
        both = _merge(held, node, subjects)
        if both is not held:
            subjects[id(both)] = subjects[id(held)]
            table[_folded(subject)] = both
            joined.append(both)
    return [
        one for one in joined if one.parent is None and (one.message or one.children)
    ]


def _folded(subject: Subject) -> str:
    return subject.base.upper()


def _is_better(node: Node, subject: Subject, held: Node, other: Subject) -> bool:
    """Whether a root stands for a subject rather than the one that does so far."""
    if node.message is None:
        return held.message is not None
    return held.message is not None and other.is_reply and not subject.is_reply


def _merge(held: Node, node: Node, subjects: dict[int, Subject]) -> Node:
    """Join a root to the one that stands for its subject; return what stands now."""
    if held.message is None and node.message is None:
        for child in list(node.children):
            held.adopt(child)
        return held
    reply = subjects[id(node)].is_reply and not subjects[id(held)].is_reply
    if held.message is None or (node.message is not None and reply):
        held.adopt(node)
        return held
    both = Node(None)
    both.adopt(held)
    both.adopt(node)
    return both


def by_subject(messages: Sequence[Threadable]) -> list[Node]:
    """The trees of the ORDEREDSUBJECT algorithm, in their order."""

    def subject(message: Threadable) -> str:
        return strip_subject(message.subject).base.upper()

    roots: list[Node] = []
    in_order = sorted(messages, key=lambda one: (subject(one), one.date, one.number))
    for _, group in groupby(in_order, key=subject):
        root, *others = map(Node, group)
        for node in others:
            root.adopt(node)
        roots.append(root)
    return sorted(roots, key=_sort_key)


def render(roots: Iterable[Node]) -> str:
    """The trees as the THREAD response has them (RFC 5256, 4 and 5)."""
    written: list[str] = []
    left: list[Node | str] = list(reversed([*roots]))
    while left:
        item = left.pop()
        if isinstance(item, str):
            written.append(item)
            continue
        # A chain of only children is one list; where it forks, each branch is its own.
        numbers = []
        node = item
        while node.message is not None:
            numbers.append(str(node.message.number))
            if len(node.children) != 1:
                break
            node = node.children[0]
        head = " ".join(numbers)
        written.append(f"({head} " if numbers and node.children else f"({head}")
        left.append(")")
        left += reversed(node.children)
    return "".join(written)
