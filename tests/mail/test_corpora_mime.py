"""Real, odd and broken mail from other parsers' tests, and what those make of it.

The labels are opinions: Stalwart's on the malformed ones, for instance, let a boundary match
the beginning of a longer one. So a floor is held, not the whole.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from noinfra.mail.address import Group, parse_address_list
from noinfra.mail.bodies import body_parts
from noinfra.mail.charset import decode
from noinfra.mail.header import decode_text, unfold
from noinfra.mail.mime import Message, Part, attachments, decoded, index, parse
from noinfra.mail.part import fields_named
from noinfra.mail.structure import bodystructure, envelope
from noinfra.mail.text import bodies, part_text
from tests.mail.corpora import corpus
from tests.mail.test_mime import problems
from tests.mail.test_structure import whole

#: Checks that pass, of all; raise it when the parser gets better.
FLOOR = {"mime4j": 159, "stalwart-rfc": 131, "stalwart-malformed": 82}

Check = tuple[str, bool]


def digest(octets: bytes) -> str:
    return sha256(octets).hexdigest()


def eml(folder: Path) -> Iterator[tuple[str, bytes]]:
    for entry in json.loads((folder / "index.json").read_text()):
        yield entry["file"], (folder / "eml" / entry["file"]).read_bytes()


def own_parts(part: Part) -> Iterator[Part]:
    """The parts of one message, not those of the messages within it."""
    yield part
    if part.type != "message":
        for child in part.children:
            yield from own_parts(child)


def leaf_checks(
    octets: bytes, message: Message, label: dict[str, Any]
) -> Iterator[Check]:
    """mime4j lists the leaves with digests of what they decode to, in either line end."""
    leaves = [part for part in message.parts if not part.children]
    yield "leaves", len(leaves) == len(label["leaves"])
    for wanted, part in zip(label["leaves"], leaves, strict=False):
        if wanted["type"]:
            yield "type", part.content_type.startswith(wanted["type"])
        body = decoded(octets, part)
        lf = body.replace(b"\r\n", b"\n")
        forms = (body, lf, lf.replace(b"\n", b"\r\n"))
        yield "bytes", wanted["sha256_bytes"] in map(digest, forms)


def mailboxes_shown(part: Part, name: str) -> list[list[str | None]]:
    """The first field of the name as the labels spell it; nameless ones too."""
    [field] = fields_named(part.fields, name)[:1] or [None]
    if field is None:
        return []
    entries = parse_address_list(decode(unfold(field.value), "utf-8")[0])
    return [
        [one.name or None, str(one.address) or None]
        for entry in entries
        for one in (entry.mailboxes if isinstance(entry, Group) else (entry,))
    ]


def tree_checks(octets: bytes, root: Part, label: dict[str, Any]) -> Iterator[Check]:
    """Stalwart numbers the parts of each message, and tells their kinds and contents."""
    if "subject" in label:
        found = fields_named(root.fields, "subject")
        yield "subject", bool(found) and decode_text(found[0]) == label["subject"]
    for name in {"from", "to"} & set(label):
        yield name, mailboxes_shown(root, name) == label[name]
    parts = list(own_parts(root))
    number = {part.path: n for n, part in enumerate(parts)}
    yield "parts", len(parts) == len(label["parts"])
    for wanted, part in zip(label["parts"], parts, strict=False):
        if wanted["type"]:
            yield "type", part.content_type == wanted["type"]
        if "children" in wanted:
            children = [number.get(child.path) for child in part.children]
            yield "children", children == wanted["children"]
        if "disposition" in wanted:
            yield "disposition", part.disposition == wanted["disposition"]
        if "filename" in wanted:
            yield "filename", part.filename == wanted["filename"]
        if "sha256" in wanted:
            yield "bytes", digest(decoded(octets, part)) == wanted["sha256"]
        if "text" in wanted:
            yield "text", part_text(octets, part) == wanted["text"]
        if "message" in wanted:
            yield "message", bool(part.children)
            for child in part.children:
                yield from tree_checks(octets, child, wanted["message"])


def role_checks(message: Message, label: dict[str, Any]) -> Iterator[Check]:
    """Which parts are the text, the HTML and attachments, by Stalwart's numbers."""
    parts = list(own_parts(message.root))
    number = {part.path: n for n, part in enumerate(parts)}
    shown = body_parts(message)
    for name, found in (
        ("text_body", shown.text),
        ("html_body", shown.html),
        ("attachments", attachments(message)),
    ):
        # Images that are shown count as body there; here they are attachments alone.
        wanted = [
            n
            for n in label[name]
            if name == "attachments" or (n < len(parts) and parts[n].type == "text")
        ]
        yield name, [number[part.path] for part in found] == wanted


class CorpusTests(SynchronousTestCase):
    def test_labels(self) -> None:
        """The labels are met as far as the floor says."""
        folder = corpus("mime")
        labels = json.loads((folder / "labels.json").read_text())
        score: dict[str, list[bool]] = {name: [] for name in FLOOR}
        for name, octets in eml(folder):
            label = labels.get(name)
            if label is None:
                continue
            message = parse(octets)
            if label["by"] == "mime4j":
                checks = list(leaf_checks(octets, message, label))
                score["mime4j"] += [right for _, right in checks]
            else:
                checks = list(tree_checks(octets, message.root, label))
                checks += role_checks(message, label)
                score[name.partition("/")[0]] += [right for _, right in checks]
        for name, results in score.items():
            print(f"{name}: {sum(results)} of {len(results)}")
            self.assertGreaterEqual(sum(results), FLOOR[name], name)

    def test_sound(self) -> None:
        """Every mail is covered by its parts, and rendered as IMAP's grammar has it."""
        for name, octets in eml(corpus("mime")):
            message = parse(octets)
            self.assertEqual(list(problems(octets, message)), [], name)
            whole(envelope(message))
            whole(bodystructure(message))
            json.dumps(index(message), ensure_ascii=False).encode()
            found = bodies(octets, message)
            f"{found.text}{found.html}".encode()
