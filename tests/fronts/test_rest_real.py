"""Every route of the native dialect on the real application, and what it means."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote

from twisted.internet.task import deferLater

from noinfra.app.access import PRESETS
from noinfra.errors import Unauthenticated
from tests.app.world import DOMAIN, header_of, mail
from tests.fronts.rest_world import PAPER, Caller, RestTest
from tests.postgres import reactor

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def times(node: Any) -> list[str]:
    """Every text that begins as a time does."""
    if isinstance(node, dict):
        return [time for value in node.values() for time in times(value)]
    if isinstance(node, list):
        return [time for value in node for time in times(value)]
    like = isinstance(node, str) and re.match(r"\d{4}-\d\d-\d\dT", node)
    return [str(node)] if like else []


class TenantRouteTests(RestTest):
    """Customers, deployments, agents, inboxes, keys."""

    async def test_customers(self) -> None:
        """Made with a deployment, read, renamed, listed; gone with all that it had."""
        await self.listen()
        made = await self.root.post(
            "/v1/customers", {"name": "Example Ltd", "metadata": {"plan": "pro"}}
        )
        path = f"/v1/customers/{made['id']}"
        self.assertEqual(await self.root.get(path), made)
        (first,) = await self.root.ids("/v1/deployments", customerId=made["id"])
        changed = (
            await self.root.ask(
                "PATCH", path, {"name": "Other", "metadata": {"plan": None, "n": 1}}
            )
        ).json()
        self.assertEqual((changed["name"], changed["metadata"]), ("Other", {"n": 1}))
        self.assertEqual(await self.root.ids("/v1/customers"), [made["id"]])
        inbox = await self.root.post("/v1/inboxes", {"customerId": made["id"]})
        await self.receive(mail(), inbox["address"])
        key = await self.root.post(
            "/v1/api-keys",
            {"name": "k", "customerId": made["id"], "preset": "operator"},
        )
        theirs = self.with_key(key["key"])
        self.assertEqual(await theirs.ids("/v1/inboxes"), [inbox["id"]])
        self.assertEqual((await self.root.ask("DELETE", path)).status, 204)
        for gone in (
            path,
            f"/v1/deployments/{first}",
            f"/v1/inboxes/{inbox['id']}",
            f"/v1/inboxes/{quote(inbox['address'])}/messages",
        ):
            self.assertEqual((await self.root.ask("GET", gone)).status, 404, gone)
        await self.ended(theirs)
        again = await self.root.ask("DELETE", path)
        self.assertEqual(again.status, 404)

    async def ended(self, caller: Caller) -> None:
        """Wait until a key is good no more: a notification is on its way."""
        for _ in range(500):
            if (await caller.ask("GET", "/v1/inboxes")).status == 401:
                return
            await deferLater(reactor(), 0.01)
        self.fail("the key is good still")

    async def test_ends_of_keys(self) -> None:
        """A key ends with its deployment, and with its inbox."""
        await self.listen()
        place = await self.customer("acme")
        caller = self.with_key(place.secret)
        for path, bounds in (
            (f"/v1/inboxes/{place.inbox}", {"inbox_id": place.inbox}),
            (
                f"/v1/deployments/{place.deployment}",
                {"deployment_id": place.deployment},
            ),
        ):
            key = await self.caller(customer_id=place.customer, **bounds)
            self.assertEqual((await key.ask("GET", "/v1/inboxes")).status, 200)
            self.assertEqual((await caller.ask("DELETE", path)).status, 204)
            await self.ended(key)

    async def test_deployments(self) -> None:
        """Made once for a clientId; both paths have the same."""
        customer = (await self.root.post("/v1/customers", {"name": "c"}))["id"]
        wanted = {"name": "Support", "clientId": "one", "customerId": customer}
        made = await self.root.post("/v1/deployments", wanted)
        self.assertEqual(await self.root.post("/v1/pods", wanted), made)
        for noun in ("deployments", "pods"):
            path = f"/v1/{noun}/{made['id']}"
            self.assertEqual((await self.root.get(path))["id"], made["id"])
            renamed = await self.root.ask("PATCH", path, {"name": noun})
            self.assertEqual(renamed.json()["name"], noun)
            self.assertIn(made["id"], await self.root.ids(f"/v1/{noun}", limit=1))
        inbox = await self.root.post("/v1/inboxes", {"deploymentId": made["id"]})
        self.assertEqual(inbox["customerId"], customer)
        gone = await self.root.ask("DELETE", f"/v1/pods/{made['id']}")
        self.assertEqual(gone.status, 204)
        for path in (f"/v1/deployments/{made['id']}", f"/v1/inboxes/{inbox['id']}"):
            self.assertEqual((await self.root.ask("GET", path)).status, 404)

    async def test_agents(self) -> None:
        """Made once for an externalId, with an inbox; suspended with it; deleted."""
        place = await self.customer("acme")
        caller = self.with_key(place.secret)
        wanted = {"name": "Ada", "externalId": "a", "defaultInboxUsername": "ada"}
        answer = await caller.ask("POST", "/v1/agents", wanted)
        made = answer.json()
        self.assertEqual(answer.status, 201)
        self.assertEqual(made["inbox"]["address"], f"ada@{DOMAIN}")
        self.assertEqual(made["inbox"]["displayName"], "Ada")
        self.assertEqual(made["defaultInboxId"], made["inbox"]["id"])
        again = await caller.ask("POST", "/v1/agents", wanted)
        self.assertEqual((again.status, again.json()), (200, made))
        self.assertEqual(await caller.ids("/v1/agents", externalId="a"), [made["id"]])
        path = f"/v1/agents/{made['id']}"
        suspended = await caller.ask("PATCH", path, {"status": "suspended"})
        self.assertEqual(suspended.json()["status"], "suspended")
        sent = await caller.ask(
            "POST",
            f"/v1/inboxes/{made['inbox']['id']}/messages",
            {"to": ["x@example.com"], "text": "x"},
        )
        self.assertEqual((sent.status, sent.code), (409, "inbox_suspended"))
        self.assertEqual((await caller.ask("DELETE", path)).status, 204)
        self.assertEqual((await caller.ask("GET", path)).status, 404)
        inbox = await caller.ask("GET", f"/v1/inboxes/{made['inbox']['id']}")
        self.assertEqual(inbox.status, 404)

    async def test_inboxes(self) -> None:
        """Made once for a clientId, found by id and address, changed, deleted."""
        place = await self.customer("acme")
        caller = self.with_key(place.secret)
        wanted = {
            "username": "Billing",
            "displayName": "Billing, Acme",
            "clientId": "b",
            "agentId": place.agent,
            "metadata": {"n": 1},
        }
        answer = await caller.ask("POST", "/v1/inboxes", wanted)
        made = answer.json()
        self.assertEqual(answer.status, 201)
        self.assertEqual(made["address"], f"billing@{DOMAIN}")
        self.assertEqual(made["deploymentId"], place.deployment)
        self.assertNotIn("password", made)
        again = await caller.ask("POST", "/v1/inboxes", wanted)
        self.assertEqual((again.status, again.json()), (200, made))
        taken = await caller.ask("POST", "/v1/inboxes", {"username": "billing"})
        self.assertEqual((taken.status, taken.code), (409, "conflict"))
        path = f"/v1/inboxes/{made['id']}"
        for name in (made["id"], f"BILLING@{DOMAIN}", f"billing%40{DOMAIN}"):
            self.assertEqual(await caller.get(f"/v1/inboxes/{name}"), made)
        changed = await caller.ask(
            "PATCH", path, {"displayName": None, "status": "archived"}
        )
        self.assertEqual(changed.json()["displayName"], None)
        self.assertEqual(changed.json()["status"], "archived")
        self.assertEqual(changed.json()["metadata"], {"n": 1})
        self.assertEqual(
            set(await caller.ids("/v1/inboxes", agentId=place.agent)),
            {made["id"], place.inbox},
        )
        generated = await caller.post("/v1/inboxes", {})
        self.assertTrue(generated["address"].endswith(f"@{DOMAIN}"))
        self.assertEqual((await caller.ask("DELETE", path)).status, 204)
        self.assertEqual((await caller.ask("GET", path)).status, 404)

    async def test_passwords(self) -> None:
        """Shown when made, once; a mail client gets in with the newest alone."""
        place = await self.customer("acme")
        caller = self.with_key(place.secret)
        made = await caller.post("/v1/inboxes", {"clientId": "p", "password": True})
        again = await caller.post("/v1/inboxes", {"clientId": "p", "password": True})
        self.assertNotIn("password", again)
        path = f"/v1/inboxes/{made['id']}/password"
        self.assertTrue(await self._enters(made["address"], made["password"]))
        rotated = await caller.post(path, {})
        self.assertEqual(rotated["address"], made["address"])
        self.assertEqual(rotated["inboxId"], made["id"])
        self.assertFalse(await self._enters(made["address"], made["password"]))
        self.assertTrue(await self._enters(made["address"], rotated["password"]))
        self.assertEqual((await caller.ask("DELETE", path)).status, 204)
        self.assertFalse(await self._enters(made["address"], rotated["password"]))

    async def _enters(self, address: str, password: str) -> bool:
        try:
            await self.parts.mail.logins.login(address, password)
        except Unauthenticated:
            return False
        return True

    async def test_keys(self) -> None:
        """Shown once, then by prefix; they do what they may; revoked ones stay listed."""
        place = await self.customer("acme")
        caller = self.with_key(place.secret)
        made = await caller.post(
            "/v1/api-keys",
            {"name": "worker", "inboxId": place.address, "preset": "runtime"},
        )
        self.assertTrue(made["key"].startswith(made["prefix"]))
        self.assertEqual(made["inboxId"], place.inbox)
        self.assertEqual(set(made["permissions"]), PRESETS["runtime"])
        shown = await caller.get(f"/v1/api-keys/{made['id']}")
        self.assertEqual(
            {**shown, "lastUsedAt": None},
            {name: value for name, value in made.items() if name != "key"},
        )
        self.assertNotIn(made["key"], json.dumps(shown))
        worker = self.with_key(made["key"])
        self.assertEqual(await worker.ids("/v1/inboxes"), [place.inbox])
        gone = await caller.ask("DELETE", f"/v1/api-keys/{made['id']}")
        self.assertEqual(gone.status, 204)
        self.assertEqual((await worker.ask("GET", "/v1/inboxes")).status, 401)
        shown = await caller.get(f"/v1/api-keys/{made['id']}")
        self.assertIsNotNone(shown["revokedAt"])
        self.assertIn(made["id"], await caller.ids("/v1/api-keys", limit=1))

    async def test_health(self) -> None:
        """Asked by anybody, at two paths."""
        for path in ("/health", "/v1/health"):
            answer = await Caller(self.site, None).ask("GET", path)
            self.assertEqual((answer.status, answer.json()["status"]), (200, "ok"))

    async def test_metadata(self) -> None:
        """What was kept comes back as it was: integers are integers, to 64 bits."""
        kept = {
            "text": "grün 🦜",
            "small": 1,
            "large": 2**63 - 1,
            "least": -(2**63),
            "half": 0.5,
            "yes": True,
        }
        made = await self.root.post("/v1/customers", {"name": "c", "metadata": kept})
        self.assertEqual(made["metadata"], kept)
        self.assertEqual(
            {name: type(value) for name, value in made["metadata"].items()},
            {name: type(value) for name, value in kept.items()},
        )
        path = f"/v1/customers/{made['id']}"
        for wrong in ("NaN", "Infinity", "1e999", "-1e999", str(2**63), "[]", "{}"):
            answer = await self.root.ask(
                "PATCH", path, f'{{"metadata": {{"n": {wrong}}}}}'.encode()
            )
            self.assertEqual(answer.status, 400, wrong)
        self.assertEqual((await self.root.get(path))["metadata"], kept)


class MailRouteTests(RestTest):
    """Messages, threads and events."""

    async def setUp(self) -> None:
        await super().setUp()
        self.place = await self.customer("agent")
        self.owner = self.with_key(self.place.secret)

    async def send(self, **message: object) -> Any:
        """Send from the inbox."""
        return await self.owner.post(self.place.messages, message)

    async def octets(self, message_id: str) -> bytes:
        """A message as it is on the wire."""
        path = f"{self.place.messages}/{message_id}/raw"
        return (await self.owner.ask("GET", path)).body

    async def incoming(self, octets: bytes, address: str | None = None) -> str:
        """Mail to the inbox; gives its id."""
        (message_id,) = await self.receive(octets, address or self.place.address)
        return message_id

    async def found(self, **conditions: object) -> list[str]:
        """The ids of the messages that meet the conditions."""
        return await self.owner.ids(self.place.messages, **conditions)

    async def test_send(self) -> None:
        """202 with the message as it was filed; what was said is in its octets."""
        answer = await self.owner.ask(
            "POST",
            self.place.messages,
            {
                "to": ["Ada Lovelace <ada@example.com>"],
                "cc": ["cc@example.com"],
                "bcc": ["bcc@example.com"],
                "replyTo": ["desk@example.com"],
                "subject": "Grüße",
                "text": "Hello 🦜",
                "html": "<p>Hello</p>",
                "labels": ["outreach"],
                "headers": {"X-Campaign": "one"},
                "autoSubmitted": "auto-generated",
                "attachments": [
                    {
                        "filename": "paper.txt",
                        "content": base64.b64encode(PAPER).decode(),
                        "contentType": "text/plain",
                    }
                ],
            },
        )
        sent = answer.json()
        self.assertEqual(answer.status, 202)
        self.assertEqual((sent["direction"], sent["folder"]), ("outbound", "Sent"))
        self.assertEqual(sent["to"], ["Ada Lovelace <ada@example.com>"])
        self.assertEqual(
            (sent["cc"], sent["bcc"]), (["cc@example.com"], ["bcc@example.com"])
        )
        self.assertEqual(sent["labels"], ["outreach", "sent"])
        self.assertEqual(sent["provider"], {"state": "queued"})
        octets = await self.octets(sent["id"])
        self.assertEqual(len(octets), sent["size"])
        self.assertNotIn(b"bcc@example.com", octets)
        self.assertEqual(header_of(octets, "X-Campaign"), "one")
        self.assertEqual(header_of(octets, "Auto-Submitted"), "auto-generated")
        self.assertEqual(header_of(octets, "Reply-To"), "desk@example.com")
        self.assertIn("d=" + DOMAIN, header_of(octets, "DKIM-Signature") or "")
        letter = await self.owner.get(f"{self.place.messages}/{sent['id']}")
        self.assertEqual(letter["subject"], "Grüße")
        self.assertEqual(letter["text"].strip(), "Hello 🦜")
        recipients = [one["recipient"] for one in letter["provider"]["deliveries"]]
        self.assertEqual(
            sorted(recipients), ["ada@example.com", "bcc@example.com", "cc@example.com"]
        )
        path = f"{self.place.messages}/{sent['id']}/attachments"
        file = await self.owner.ask("GET", f"{path}/{sent['attachments'][0]['id']}")
        self.assertEqual(file.body, PAPER)

    async def test_send_alias(self) -> None:
        """The path with /send sends as well."""
        sent = await self.owner.post(
            f"{self.place.messages}/send", {"to": ["a@example.com"], "text": "x"}
        )
        self.assertEqual(await self.found(direction="outbound"), [sent["id"]])

    async def test_idempotency(self) -> None:
        """The same key sends once, whichever place says it; another request is 409."""
        body = {"to": ["a@example.com"], "text": "once"}
        path = self.place.messages
        first = await self.owner.ask("POST", path, body, Idempotency_Key="k-1")
        for again in (
            await self.owner.ask("POST", path, body, Idempotency_Key="k-1"),
            await self.owner.ask("POST", path, {**body, "idempotencyKey": "k-1"}),
            await self.owner.ask("POST", f"{path}/send", body, Idempotency_Key="k-1"),
        ):
            self.assertEqual((again.status, again.json()), (200, first.json()))
        self.assertEqual(first.status, 202)
        other = await self.owner.ask(
            "POST", path, {**body, "text": "twice"}, Idempotency_Key="k-1"
        )
        self.assertEqual((other.status, other.code), (409, "idempotency_mismatch"))
        differ = await self.owner.ask(
            "POST", path, {**body, "idempotencyKey": "k-2"}, Idempotency_Key="k-1"
        )
        self.assertEqual((differ.status, differ.field), (400, "idempotencyKey"))
        for wrong in ("", "k" * 257):
            answer = await self.owner.ask("POST", path, body, Idempotency_Key=wrong)
            self.assertEqual(answer.status, 400)
        self.assertEqual(await self.found(direction="outbound"), [first.json()["id"]])

    async def test_answers(self) -> None:
        """Reply, reply to all, forward, reply to a thread: to whom, and in which thread."""
        original = await self.incoming(
            mail(
                "Question",
                message_id="q@example.com",
                header=f"Cc: Grace <grace@example.com>, {self.place.address}\r\n",
            )
        )
        path = f"{self.place.messages}/{original}"
        thread = (await self.owner.get(path))["threadId"]
        reply = await self.owner.post(f"{path}/reply", {"text": "Yes."})
        self.assertEqual(reply["to"], ["Ada <ada@example.com>"])
        self.assertEqual(reply["subject"], "Re: Question")
        self.assertEqual(reply["inReplyTo"], "q@example.com")
        everyone = await self.owner.post(f"{path}/reply-all", {"text": "All."})
        self.assertEqual(everyone["cc"], ["Grace <grace@example.com>"])
        forwarded = await self.owner.post(
            f"{self.place.messages}/{self.place.message}/forward",
            {"to": ["boss@example.com"], "text": "See below."},
        )
        self.assertEqual(forwarded["to"], ["boss@example.com"])
        self.assertEqual(forwarded["threadId"], self.place.thread)
        self.assertEqual(
            [one["filename"] for one in forwarded["attachments"]], ["agent.txt"]
        )
        more = await self.owner.post(
            f"/v1/inboxes/{self.place.inbox}/threads/{thread}/reply",
            {"text": "More.", "replyAll": True},
        )
        for answer in (reply, everyone, more):
            self.assertEqual(answer["threadId"], thread)
        self.assertEqual(
            await self.found(threadId=thread, ascending=True),
            [original, reply["id"], everyone["id"], more["id"]],
        )

    async def test_message(self) -> None:
        """A message has its text, header fields and files."""
        letter = await self.owner.get(f"{self.place.messages}/{self.place.message}")
        self.assertEqual(letter["text"].strip(), "agent")
        self.assertEqual(letter["from"], "Ada <ada@example.com>")
        names = [one["name"] for one in letter["headers"]]
        self.assertIn("Subject", names)
        self.assertIn("Received", names)
        self.assertEqual(letter["customerId"], self.place.customer)
        (file,) = letter["attachments"]
        self.assertEqual((file["filename"], file["size"]), ("agent.txt", len(PAPER)))

    async def test_downloads(self) -> None:
        """A file or a mail comes whole, in part, or not at all."""
        message = f"{self.place.messages}/{self.place.message}"
        path = f"{message}/attachments/{self.place.attachment}"
        for wanted, status, body in (
            (None, 200, PAPER),
            ("bytes=4-8", 206, PAPER[4:9]),
            ("bytes=40-", 206, PAPER[40:]),
            ("bytes=-4", 206, PAPER[-4:]),
            ("bytes=0-999999999999999999", 206, PAPER),
            ("bytes=1-2,4-5", 200, PAPER),
            ("lines=1-2", 200, PAPER),
            ("bytes=9-4", 200, PAPER),
        ):
            more = {"Range": wanted} if wanted else {}
            answer = await self.owner.ask("GET", path, **more)
            self.assertEqual((answer.status, answer.body), (status, body), wanted)
        self.assertEqual(answer.headers["content-type"], "text/plain")
        self.assertIn("agent.txt", answer.headers["content-disposition"])
        part = await self.owner.ask("GET", path, Range="bytes=4-8")
        self.assertEqual(part.headers["content-range"], f"bytes 4-8/{len(PAPER)}")
        outside = await self.owner.ask("GET", path, Range="bytes=44-")
        self.assertEqual(outside.status, 416)
        raw = await self.owner.ask("GET", f"{message}/raw", Range="bytes=0-8")
        self.assertEqual(
            (raw.status, raw.headers["content-type"]), (206, "message/rfc822")
        )
        self.assertEqual(raw.body, (await self.octets(self.place.message))[:9])
        head = await self.owner.ask("HEAD", path)
        self.assertEqual((head.status, head.body), (200, b""))
        none = await self.owner.ask("GET", f"{message}/attachments/att_9")
        self.assertEqual(none.status, 404)

    async def test_filters(self) -> None:
        """Each condition finds what it says, alone and with others."""
        old = self.place.message
        tagged = await self.incoming(
            mail("Invoice 7", from_="Bob <bob@example.org>"),
            self.place.address.replace("@", "+bills@"),
        )
        sent = (await self.send(to=["ada@example.com"], subject="Out"))["id"]
        spam = await self.incoming(mail("Buy"))
        await self.database.single(None).statement(
            "update message set folder_id = folder.folder_id from folder"
            " where folder.inbox_id = message.inbox_id and folder.name = 'Spam'"
            " and message_id = %(id)s",
            id=spam,
        )
        trashed = await self.incoming(mail("Bin me"))
        await self.owner.ask("DELETE", f"{self.place.messages}/{trashed}")
        await self.owner.ask(
            "PATCH",
            f"{self.place.messages}/{tagged}",
            {"addLabels": ["a", "b"], "removeLabels": ["unread"]},
        )
        at = (await self.owner.get(f"{self.place.messages}/{tagged}"))["receivedAt"]
        thread = (await self.owner.get(f"{self.place.messages}/{sent}"))["threadId"]
        every = [sent, tagged, old]
        for conditions, wanted in (
            ({}, every),
            ({"ascending": True}, every[::-1]),
            ({"labels": "a"}, [tagged]),
            ({"labels": "a,b"}, [tagged]),
            ({"labels": "a,c"}, []),
            ({"direction": "outbound"}, [sent]),
            ({"direction": "inbound"}, [tagged, old]),
            ({"folder": "Sent"}, [sent]),
            ({"folder": "Trash"}, [trashed]),
            ({"folder": "Nowhere"}, []),
            ({"threadId": thread}, [sent]),
            ({"tag": "bills"}, [tagged]),
            ({"from_": "BOB"}, [tagged]),
            ({"from_": "example.org"}, [tagged]),
            ({"subject": "invoice"}, [tagged]),
            ({"subject": "%"}, []),
            ({"after": at}, [sent, tagged]),
            ({"before": at}, [old]),
            ({"before": at, "after": at}, []),
            ({"unread": True}, [old]),
            ({"unread": False}, [sent, tagged]),
            ({"hasAttachment": True}, [old]),
            ({"hasAttachment": False}, [sent, tagged]),
            ({"includeTrash": True}, [trashed, *every]),
            ({"includeSpam": True}, [sent, *sorted([spam, tagged, old])[::-1]]),
            ({"direction": "inbound", "unread": True, "tag": "bills"}, []),
        ):
            found = await self.found(**conditions)
            if "includeSpam" in conditions:
                found, wanted = sorted(found), sorted(wanted)
            self.assertEqual(found, wanted, conditions)

    async def test_labels(self) -> None:
        """Added and removed, but for the server's own; told of as an event."""
        path = f"{self.place.messages}/{self.place.message}"
        changed = await self.owner.ask(
            "PATCH", path, {"addLabels": ["x"], "removeLabels": ["unread"]}
        )
        self.assertEqual(changed.json()["labels"], ["received", "x"])
        for wrong in (
            {"addLabels": ["sent"]},
            {"removeLabels": ["received"]},
            {"addLabels": ["y"], "removeLabels": ["y"]},
        ):
            self.assertEqual((await self.owner.ask("PATCH", path, wrong)).status, 400)
        self.assertEqual((await self.owner.get(path))["labels"], ["received", "x"])

    async def test_delete(self) -> None:
        """To Trash, then for good; or at once for good."""
        path = f"{self.place.messages}/{self.place.message}"
        self.assertEqual((await self.owner.ask("DELETE", path)).status, 204)
        self.assertEqual((await self.owner.get(path))["folder"], "Trash")
        self.assertEqual((await self.owner.ask("DELETE", path)).status, 204)
        self.assertEqual((await self.owner.ask("GET", path)).status, 404)
        other = await self.incoming(mail())
        path = f"{self.place.messages}/{other}?permanent"
        self.assertEqual((await self.owner.ask("DELETE", path)).status, 204)
        self.assertEqual((await self.owner.ask("DELETE", path)).status, 404)
        self.assertEqual(await self.found(includeTrash=True), [])

    async def test_threads(self) -> None:
        """Listed by their newest message, read whole, labelled, deleted."""
        threads = f"/v1/inboxes/{self.place.inbox}/threads"
        first = await self.incoming(mail("One", message_id="one@example.com"))
        second = await self.incoming(
            mail("Re: One", header="In-Reply-To: <one@example.com>\r\n")
        )
        page = await self.owner.get(threads)
        one, other = page["data"]
        self.assertEqual(other["id"], self.place.thread)
        self.assertEqual((one["messageCount"], one["unreadCount"]), (2, 2))
        self.assertEqual(one["lastMessageId"], second)
        whole = await self.owner.get(f"{threads}/{one['id']}")
        self.assertEqual([each["id"] for each in whole["messages"]], [first, second])
        changed = await self.owner.ask(
            "PATCH",
            f"{threads}/{one['id']}",
            {"addLabels": ["vip"], "removeLabels": ["unread"]},
        )
        self.assertEqual(changed.json()["unreadCount"], 0)
        self.assertEqual(await self.owner.ids(threads, labels="vip"), [one["id"]])
        self.assertEqual(await self.found(labels="vip"), [second, first])
        self.assertEqual(
            await self.owner.ids(threads, ascending=True, limit=1),
            [self.place.thread, one["id"]],
        )
        gone = await self.owner.ask("DELETE", f"{threads}/{one['id']}")
        self.assertEqual(gone.status, 204)
        self.assertEqual(await self.found(), [self.place.message])

    async def test_events(self) -> None:
        """What happened, in order, after a cursor, and by type; all times are alike."""
        sent = await self.send(to=["a@example.com"], text="x")
        events = (await self.owner.get("/v1/events", limit=1000))["data"]
        types = [one["type"] for one in events]
        self.assertEqual(types[-1], "message.queued")
        self.assertEqual(events[-1]["messageId"], sent["id"])
        self.assertEqual(events[-1]["data"]["message"]["id"], sent["id"])
        self.assertEqual(events[-1]["data"]["message"]["createdAt"], sent["createdAt"])
        after = events[-3]["id"]
        self.assertEqual(
            await self.owner.ids("/v1/events", after=after, limit=1),
            [one["id"] for one in events[-2:]],
        )
        received = await self.owner.get("/v1/events", types="message.received")
        self.assertEqual(
            [one["messageId"] for one in received["data"]], [self.place.message]
        )
        self.assertEqual(
            await self.owner.ids("/v1/events", inboxId=self.place.address),
            [one["id"] for one in events if one["inboxId"] == self.place.inbox],
        )
        letter = await self.owner.get(f"{self.place.messages}/{sent['id']}")
        for time in times([events, letter]):
            self.assertRegex(time, f"^{TIME.pattern}$")

    async def test_pages(self) -> None:
        """A cursor goes through many messages in both directions, each of them once."""
        octets = [mail(f"Number {number}") for number in range(120)]
        # Sorted, as two may have come in one millisecond.
        every = sorted(
            [self.place.message, *[await self.incoming(one) for one in octets]]
        )
        for limit in (1, 7, 60, 100):
            self.assertEqual(
                await self.found(limit=limit, ascending=True), every, limit
            )
            self.assertEqual(await self.found(limit=limit), every[::-1], limit)
        page = await self.owner.get(self.place.messages, limit=60)
        late = await self.incoming(mail("While one reads"))
        await self.owner.ask("DELETE", f"{self.place.messages}/{every[0]}")
        rest = await self.found(limit=100, cursor=page["nextCursor"])
        self.assertEqual(rest, every[1:61][::-1])
        self.assertEqual((await self.found(limit=1))[0], late)
        threads = f"/v1/inboxes/{self.place.inbox}/threads"
        ids = await self.owner.ids(threads, limit=50)
        self.assertEqual((len(ids), len(set(ids))), (122, 122))
        self.assertEqual(
            await self.owner.ids(threads, limit=7, ascending=True), ids[::-1]
        )
