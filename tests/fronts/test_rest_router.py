import contextlib
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from noinfra.errors import MethodNotAllowed, NotFound
from noinfra.fronts.rest.router import Router


def router() -> Router[str]:
    made: Router[str] = Router()
    made.add("GET", "/v1/inboxes", "list")
    made.add("GET", "/v1/inboxes/{inboxId}", "get")
    made.add("DELETE", "/v1/inboxes/{inboxId}", "delete")
    made.add("POST", "/v1/inboxes/{inboxId}/messages/send", "send")
    made.add("GET", "/v1/inboxes/{inboxId}/messages/{messageId}", "message")
    made.add("GET", "/v1/inboxes/{inboxId}/messages/{messageId}/raw", "raw")
    return made


class RouterTests(SynchronousTestCase):
    def test_names(self) -> None:
        """What the path says is found under the names of the pattern."""
        match = router().find("GET", b"/v1/inboxes/inb_1/messages/msg_1/raw")
        self.assertEqual(match.target, "raw")
        self.assertEqual(match.path, {"inboxId": "inb_1", "messageId": "msg_1"})

    @settings(deadline=None, max_examples=200)
    @given(st.text(min_size=1).filter(lambda text: "\0" not in text))
    def test_anything_is_an_identifier(self, name: str) -> None:
        """An identifier may hold anything, slashes too, when percent-encoded."""
        try:
            path = f"/v1/inboxes/{quote(name, safe='')}".encode()
        except UnicodeEncodeError:
            return
        self.assertEqual(router().find("GET", path).path, {"inboxId": name})

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=60))
    def test_any_octets(self, octets: bytes) -> None:
        """Whatever the path, it is found or refused."""
        with contextlib.suppress(NotFound, MethodNotAllowed):
            router().find("GET", b"/v1/inboxes/" + octets)

    def test_encoded_words(self) -> None:
        """Percent-encoding a letter does not change a path (RFC 3986, 6.2.2.2)."""
        self.assertEqual(router().find("GET", b"/v1/%69nboxes").target, "list")

    def test_written_before_named(self) -> None:
        """A written segment is tried first, and the other one where it leads nowhere."""
        found = router()
        self.assertEqual(
            found.find("POST", b"/v1/inboxes/a/messages/send").target, "send"
        )
        self.assertEqual(
            found.find("GET", b"/v1/inboxes/a/messages/send").target, "message"
        )
        self.assertEqual(
            found.find("GET", b"/v1/inboxes/a/messages/send/raw").target, "raw"
        )

    def test_nothing_there(self) -> None:
        """Unknown, empty and half paths are not found."""
        for path in (b"/", b"/v1", b"/v1/inboxes/", b"/v1/inboxes/a/", b"/v1//a", b"*"):
            self.assertRaises(NotFound, router().find, "GET", path)

    def test_nul(self) -> None:
        """Nothing has a name with a NUL, nor one that is not UTF-8."""
        for path in (b"/v1/inboxes/a%00b", b"/v1/inboxes/%ff", b"/v1/inboxes/\xff"):
            self.assertRaises(NotFound, router().find, "GET", path)

    def test_method(self) -> None:
        """A path with other methods says which."""
        error = self.assertRaises(
            MethodNotAllowed, router().find, "PUT", b"/v1/inboxes/a"
        )
        self.assertEqual(error.details, {"allow": ["DELETE", "GET"]})
        self.assertEqual(router().methods(b"/v1/inboxes/a"), ["DELETE", "GET"])

    def test_twice(self) -> None:
        """Two targets for one route are a mistake of ours, told at the start."""
        self.assertRaises(
            ValueError, router().add, "GET", "/v1/inboxes/{other}", "again"
        )
