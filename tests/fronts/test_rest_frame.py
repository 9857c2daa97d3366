"""What every request meets, on the site as it is."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from noinfra.errors import RateLimited, TemporaryFailure
from noinfra.fronts.rest.errors import Internal
from noinfra.fronts.rest.gate import FAILURES
from tests.fakes.web_app import LETTER, SECRET
from tests.fakes.web_client import Client, Connection, request

INBOXES = "/v1/inboxes"
MESSAGES = "/v1/inboxes/inb_1/messages"


class AnswerTests(SynchronousTestCase):
    def test_headers(self) -> None:
        """Every answer has its id, and says that nothing of it is to be kept or run."""
        answer = Client().ask("GET", INBOXES)
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["x-request-id"].startswith("req_"))
        for name, value in (
            ("content-type", "application/json"),
            ("server", "noinfra"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ):
            self.assertEqual(answer.headers[name], value)
        self.assertIn("default-src 'none'", answer.headers["content-security-policy"])

    def test_errors(self) -> None:
        """A refusal has a code, a text, and the request's id."""
        answer = Client().ask("GET", "/v1/nothing")
        error = answer.json()["error"]
        self.assertEqual(answer.status, 404)
        self.assertEqual(error["code"], "not_found")
        self.assertEqual(error["requestId"], answer.headers["x-request-id"])
        self.assertTrue(error["message"])

    def test_field(self) -> None:
        """A bad field is named in the details."""
        answer = Client().put("POST", MESSAGES, {"to": [1]})
        self.assertEqual((answer.status, answer.field), (400, "to[0]"))

    def test_method(self) -> None:
        """Another method is 405, with those that there are."""
        answer = Client().ask("PUT", INBOXES)
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, POST"))

    def test_head(self) -> None:
        """HEAD answers as GET does, without the body."""
        client = Client()
        whole, head = client.ask("GET", INBOXES), client.ask("HEAD", INBOXES)
        self.assertEqual(head.headers["content-length"], str(len(whole.body)))
        self.assertEqual((head.status, head.body), (200, b""))

    def test_options(self) -> None:
        """OPTIONS tells the methods, to whoever asks."""
        answer = Client().ask("OPTIONS", INBOXES, secret=None)
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.headers["allow"], "GET, POST, HEAD, OPTIONS")
        self.assertEqual(Client().ask("OPTIONS", "/v2").status, 404)

    def test_no_content(self) -> None:
        """204 has neither a body nor its length (RFC 9110, 8.6)."""
        answer = Client().ask("DELETE", "/v1/inboxes/inb_1")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertNotIn("content-length", answer.headers)
        self.assertNotIn("content-type", answer.headers)

    def test_keep_alive(self) -> None:
        """One connection takes one request after the other, and pipelined ones."""
        connection = Connection(Client().site)
        connection.send(request("GET", INBOXES) * 3)
        self.assertEqual(connection.received().count(b"HTTP/1.1 200"), 3)

    def test_byte_by_byte(self) -> None:
        """A request may come in any pieces."""
        connection = Connection(Client().site)
        for octet in request("POST", MESSAGES, b'{"to": ["a@example.com"]}'):
            connection.send(bytes([octet]))
        self.assertEqual(connection.answer().status, 202)


class BugTests(SynchronousTestCase):
    def test_internal(self) -> None:
        """A bug is 500 and an id; what it was stands in the log, and only there."""
        client = Client()
        client.app.answers["inboxes.list"] = ZeroDivisionError("a secret of ours")
        answer = client.ask("GET", INBOXES)
        self.assertEqual((answer.status, answer.code), (500, Internal.slug))
        self.assertNotIn(b"secret of ours", answer.body)
        self.assertNotIn(b"Traceback", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unspellable(self) -> None:
        """A result that cannot be spelled is a bug, too."""
        client = Client()
        client.app.answers["inboxes.get"] = None
        self.assertEqual(client.ask("GET", "/v1/inboxes/a").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_temporary(self) -> None:
        """What may work later is 503, with when."""
        client = Client()
        client.app.answers["inboxes.list"] = TemporaryFailure("The database is away.")
        answer = client.ask("GET", INBOXES)
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))

    def test_rate_of_the_application(self) -> None:
        """A limit of the application's says when, too, in whole seconds."""
        client = Client()
        client.app.answers["sending.send"] = RateLimited("Slowly.", retry_after=1.2)
        answer = client.put("POST", MESSAGES, {})
        self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "2"))


class KeyTests(SynchronousTestCase):
    def test_none(self) -> None:
        """Without a key it is 401, and how to send one."""
        answer = Client().ask("GET", INBOXES, secret=None)
        self.assertEqual((answer.status, answer.code), (401, "unauthorized"))
        self.assertTrue(answer.headers["www-authenticate"].startswith("Bearer"))

    def test_wrong(self) -> None:
        """A wrong key is 401, whatever octets it has."""
        for secret in ("nim_live_other", "", "x" * 4000, "caf\u00e9", "\x01"):
            self.assertEqual(Client().ask("GET", INBOXES, secret=secret).status, 401)

    def test_other_header(self) -> None:
        """X-Api-Key does as well, and another scheme of Authorization does not."""
        client = Client()
        answer = client.ask("GET", INBOXES, secret=None, X_Api_Key=SECRET)
        self.assertEqual(answer.status, 200)
        answer = client.ask(
            "GET", INBOXES, secret=None, Authorization=f"Basic {SECRET}"
        )
        self.assertEqual(answer.status, 401)

    def test_not_in_the_query(self) -> None:
        """REST takes no key from the query, where logs would keep it."""
        answer = Client().ask("GET", f"{INBOXES}?api_key={SECRET}", secret=None)
        self.assertEqual(answer.status, 401)

    def test_guessing(self) -> None:
        """Wrong keys are counted by address; a good one is let in all the same."""
        client = Client()
        client.ask("GET", INBOXES)
        for number in range(FAILURES):
            client.ask("GET", INBOXES, secret=f"guess {number}")
        looked_up = client.app.keys.looked_up
        refused = client.ask("GET", INBOXES, secret="one more")
        self.assertEqual((refused.status, client.app.keys.looked_up), (429, looked_up))
        self.assertEqual(client.ask("GET", INBOXES).status, 200)
        elsewhere = client.ask("GET", INBOXES, secret="other", host="192.0.2.8")
        self.assertEqual(elsewhere.status, 401)

    def test_guessing_from_a_network(self) -> None:
        """An IPv6 network of 64 bits is one address here."""
        client = Client()
        for number in range(FAILURES):
            client.ask("GET", INBOXES, secret="guess", host=f"2001:db8::{number:x}")
        answer = client.ask("GET", INBOXES, secret="guess", host="2001:db8::ffff")
        self.assertEqual(answer.status, 429)

    def test_rate(self) -> None:
        """Each answer tells what is left; one too many is 429, with when."""
        client = Client(rate=1.0, burst=2)
        first = client.ask("GET", INBOXES)
        self.assertEqual(first.headers["ratelimit-limit"], "2")
        self.assertEqual(first.headers["ratelimit-remaining"], "1")
        self.assertEqual(first.headers["ratelimit-reset"], "1")
        client.ask("GET", INBOXES)
        refused = client.ask("GET", INBOXES)
        self.assertEqual((refused.status, refused.headers["retry-after"]), (429, "1"))
        self.assertEqual(refused.headers["ratelimit-remaining"], "0")
        client.clock.advance(1)
        self.assertEqual(client.ask("GET", INBOXES).status, 200)

    def test_rate_of_strangers(self) -> None:
        """Who needs no key is counted by address."""
        client = Client(rate=1.0, burst=1)
        self.assertEqual(client.ask("GET", "/health", secret=None).status, 200)
        self.assertEqual(client.ask("GET", "/health", secret=None).status, 429)


class BodyTests(SynchronousTestCase):
    def test_media_type(self) -> None:
        """A body that is not JSON in UTF-8 is 415."""
        client = Client()
        for media_type, status in (
            ("application/x-www-form-urlencoded", 415),
            ("multipart/form-data; boundary=x", 415),
            ("text/plain", 415),
            ("application/json; charset=latin-1", 415),
            ("application/json; charset=UTF-8", 202),
            ("Application/JSON", 202),
        ):
            answer = client.ask("POST", MESSAGES, b"{}", Content_Type=media_type)
            self.assertEqual(answer.status, status, media_type)
        answer = client.ask("POST", MESSAGES, b"{}", Content_Encoding="gzip")
        self.assertEqual(answer.status, 415)

    def test_empty(self) -> None:
        """No body is an empty object, of whatever type it says to be."""
        answer = Client().ask("POST", MESSAGES, b"", Content_Type="text/plain")
        self.assertEqual(answer.status, 202)

    def test_declared_too_large(self) -> None:
        """A length beyond the limit is refused before the body is read."""
        client = Client(body_limit=1000)
        connection = Connection(client.site)
        connection.send(
            request("POST", MESSAGES, Content_Length="1001", Expect="100-continue")
        )
        answer = connection.answer()
        self.assertEqual((answer.status, answer.code), (413, "too_large"))
        self.assertEqual(answer.headers["connection"], "close")
        self.assertFalse(connection.transport.disconnecting)
        connection.send(b"x" * 1001)
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(client.app.asked, [])

    def test_chunks_too_large(self) -> None:
        """Chunks are counted as they come."""
        client = Client(body_limit=1000)
        connection = Connection(client.site)
        head = request("POST", MESSAGES, Transfer_Encoding="chunked")
        connection.send(head + b"1f4\r\n" + b"x" * 500 + b"\r\n")
        self.assertEqual(connection.received(), b"")
        connection.send(b"1f5\r\n" + b"x" * 501 + b"\r\n0\r\n\r\n")
        self.assertEqual(connection.answer().status, 413)
        self.assertEqual(client.app.asked, [])

    def test_refused_client_goes_on(self) -> None:
        """A refused client has five seconds to stop, not as long as it likes."""
        client = Client(body_limit=1000)
        connection = Connection(client.site)
        connection.send(request("POST", MESSAGES, Content_Length="9999999"))
        for _ in range(5):
            connection.send(b"x")
            client.clock.advance(1.01)
        self.assertTrue(connection.transport.disconnecting)
        client.clock.advance(60)

    def test_slow(self) -> None:
        """A request that comes an octet at a time is cut off."""
        client = Client(request_timeout=10.0)
        connection = Connection(client.site)
        for octet in request("GET", INBOXES)[:13]:
            connection.send(bytes([octet]))
            client.clock.advance(1)
        self.assertEqual(connection.answer().status, 408)

    def test_absurd_length(self) -> None:
        """A length of thousands of digits is a bad request, not an error of ours."""
        connection = Connection(Client().site)
        connection.send(request("POST", MESSAGES, Content_Length="9" * 5000))
        self.assertTrue(connection.received().startswith(b"HTTP/1.1 400"))

    def test_long_lines(self) -> None:
        """A path or a header field beyond all measure is refused, with a reason."""
        for octets in (
            request("GET", "/" + "x" * 20_000),
            request("GET", INBOXES, X="x" * 20_000),
            b"GET /" + b"x" * 20_000,
        ):
            connection = Connection(Client().site)
            connection.send(octets)
            answer = connection.answer()
            self.assertEqual((answer.status, answer.code), (431, "line_too_long"))
            connection.send(b"\r\n\r\n" + request("GET", INBOXES))
            self.assertEqual(connection.received(), b"")

    def test_smuggling(self) -> None:
        """Two lengths for one body are a bad request (RFC 9112, 6.3)."""
        connection = Connection(Client().site)
        connection.send(request("POST", MESSAGES, b"{}", Transfer_Encoding="chunked"))
        self.assertTrue(connection.received().startswith(b"HTTP/1.1 400"))


class TimeTests(SynchronousTestCase):
    def waiting(self, client: Client) -> tuple[Connection, Deferred[Any]]:
        answer: Deferred[Any] = Deferred()
        client.app.answers["inboxes.list"] = answer
        connection = Connection(client.site)
        connection.send(request("GET", INBOXES))
        return connection, answer

    def test_too_long(self) -> None:
        """What runs too long is ended, and 503."""
        client = Client(request_timeout=10.0)
        connection, _ = self.waiting(client)
        client.clock.pump([1.0] * 12)
        self.assertEqual(connection.answer().status, 503)

    def test_no_timers_left(self) -> None:
        """With nothing running no timer is left behind."""
        client = Client()
        connection, answer = self.waiting(client)
        answer.callback(client.app.answers["inboxes.get"])
        self.flushLoggedErrors(AttributeError)
        connection.lose()
        client.clock.pump([1.0, 1.0])
        self.assertEqual(client.clock.getDelayedCalls(), [])

    def test_client_gone(self) -> None:
        """The answer to a client that went is written nowhere, and is no error."""
        client = Client()
        connection, answer = self.waiting(client)
        connection.lose()
        answer.callback(client.app.answers["inboxes.create"])
        self.flushLoggedErrors(AttributeError)
        self.assertEqual(connection.received(), b"")

    def test_stop(self) -> None:
        """When the site stops, what runs is ended."""
        client = Client()
        connection, _ = self.waiting(client)
        client.site.stopFactory()
        self.assertEqual(connection.answer().status, 503)


class CorsTests(SynchronousTestCase):
    def test_named(self) -> None:
        """A page of a named origin may read the answers; another may not."""
        client = Client(cors_origins=["https://app.example"])
        answer = client.ask("GET", INBOXES, Origin="https://app.example")
        self.assertEqual(
            answer.headers["access-control-allow-origin"], "https://app.example"
        )
        self.assertEqual(answer.headers["vary"], "Origin")
        answer = client.ask("GET", INBOXES, Origin="https://evil.example")
        self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_preflight(self) -> None:
        """A preflight learns methods and header fields."""
        client = Client(cors_origins=["*"])
        answer = client.ask(
            "OPTIONS",
            MESSAGES,
            secret=None,
            Origin="https://app.example",
            Access_Control_Request_Method="POST",
        )
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        self.assertIn("POST", answer.headers["access-control-allow-methods"])
        self.assertIn("Authorization", answer.headers["access-control-allow-headers"])

    def test_refusals(self) -> None:
        """A page can read why it was refused."""
        client = Client(cors_origins=["https://app.example"])
        answer = client.ask("GET", INBOXES, secret=None, Origin="https://app.example")
        self.assertIn("access-control-allow-origin", answer.headers)


class DownloadTests(SynchronousTestCase):
    RAW = "/v1/inboxes/inb_1/messages/msg_1/raw"

    def test_whole(self) -> None:
        """The octets as they are, to be kept and not shown."""
        answer = Client().ask("GET", self.RAW)
        self.assertEqual(answer.body, b"Subject: Hello\r\n\r\nHello.\r\n")
        self.assertEqual(answer.headers["content-type"], "message/rfc822")
        self.assertTrue(answer.headers["content-disposition"].startswith("attachment"))

    def test_ranges(self) -> None:
        """A range is 206, one outside is 416, what is none is all."""
        client = Client()
        for wanted, status, body in (
            ("bytes=0-6", 206, b"Subject"),
            ("bytes=18-", 206, b"Hello.\r\n"),
            ("bytes=-2", 206, b"\r\n"),
            ("bytes=-900", 206, b"Subject: Hello\r\n\r\nHello.\r\n"),
            ("bytes=5-2", 200, b"Subject: Hello\r\n\r\nHello.\r\n"),
            ("lines=1-2", 200, b"Subject: Hello\r\n\r\nHello.\r\n"),
        ):
            answer = client.ask("GET", self.RAW, Range=wanted)
            self.assertEqual((answer.status, answer.body), (status, body), wanted)
        partial = client.ask("GET", self.RAW, Range="bytes=0-6")
        self.assertEqual(partial.headers["content-range"], "bytes 0-6/26")
        outside = client.ask("GET", self.RAW, Range="bytes=26-")
        self.assertEqual((outside.status, outside.code), (416, "range_not_satisfiable"))

    def test_head(self) -> None:
        """HEAD reads nothing."""
        answer = Client().ask("HEAD", self.RAW)
        self.assertEqual(
            (answer.status, answer.headers["content-length"], answer.body),
            (200, "26", b""),
        )


class LetterTests(SynchronousTestCase):
    def test_spelled(self) -> None:
        """A message as the contract words it, in camelCase, times with a Z."""
        message = Client().ask("GET", f"{MESSAGES}/msg_1").json()
        self.assertEqual(message["from"], "Support <support@agents.example>")
        self.assertEqual(message["to"], ["Ada Lovelace <ada@example.com>"])
        self.assertEqual(message["messageId"], LETTER.message.rfc_message_id)
        self.assertEqual(message["receivedAt"], "2026-01-31T12:00:00.123Z")
        self.assertEqual(message["attachments"][0]["contentType"], "application/pdf")
        self.assertEqual(message["headers"][1], {"name": "Received", "value": "two"})
        provider = message["provider"]
        self.assertEqual((provider["state"], provider["code"]), ("deferred", 451))
        delivery = provider["deliveries"][0]
        self.assertEqual(delivery["recipient"], "ada@example.com")
        self.assertEqual(delivery["attempts"][0]["remoteAddress"], "192.0.2.1")

    def test_list(self) -> None:
        """A page has no bodies, and where the next begins."""
        page = Client().ask("GET", MESSAGES).json()
        self.assertEqual(page["nextCursor"], "next")
        self.assertEqual(page["data"][0]["provider"], {"state": "deferred"})
        self.assertNotIn("text", page["data"][0])
