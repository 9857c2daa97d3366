"""The REST API over the real application: a database of its own, HTTP in memory."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from attrs import evolve, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from noinfra.app.seal import Seal
from noinfra.config import Config, WebSettings
from noinfra.fronts.rest.channel import ApiSite
from noinfra.fronts.rest.dialect import Route
from noinfra.fronts.rest.server import make_site
from noinfra.mail.dkim import dns_record, generate_ed25519
from noinfra.service.parts import build
from noinfra.store.keys import DkimKey, DkimKeys
from noinfra.store.listener import Listener
from tests.app.world import DOMAIN, mail, transaction
from tests.fakes.web_client import Response, parse, request
from tests.postgres import DatabaseTest, reactor

SECRET = b"k" * 32
PAPER = b"The quick brown fox jumps over the lazy dog."
#: A mail with a file; ``mark`` stands in everything that it says.
WITH_FILE = (
    'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n',
    "--x\r\nContent-Type: text/plain\r\n\r\n{mark}\r\n"
    '--x\r\nContent-Type: text/plain; name="{mark}.txt"\r\n'
    'Content-Disposition: attachment; filename="{mark}.txt"\r\n\r\n'
    + PAPER.decode()
    + "\r\n--x--\r\n",
)


@cache
def _dkim_key() -> DkimKey:
    """Of Ed25519 alone, as to make one of RSA takes a while."""
    seal = Seal(SECRET)
    key = generate_ed25519(f"e{seal.name}")
    return DkimKey(
        domain=DOMAIN,
        selector=key.selector,
        algorithm=key.algorithm,
        sealed=seal.close(key.private_pem.encode(), "DKIM key"),
        record=dns_record(key),
    )


class Wire(StringTransport):
    """A client's end of a connection, which tells when the server has closed."""

    def __init__(self, host: str) -> None:
        super().__init__(
            peerAddress=IPv4Address("TCP", host, 4000),
            hostAddress=IPv4Address("TCP", "127.0.0.1", 8025),
        )
        self.closed: Deferred[None] = Deferred()

    def loseConnection(self) -> None:
        super().loseConnection()
        self._close()

    def abortConnection(self) -> None:
        super().abortConnection()
        self._close()

    def _close(self) -> None:
        if not self.closed.called:
            self.closed.callback(None)


@frozen
class Caller:
    """Asks a site with a key; each request has a connection of its own."""

    site: ApiSite
    key: str | None
    host: str = "192.0.2.7"

    async def raw(self, octets: bytes) -> Response:
        """The answer to some octets, once the server has closed."""
        wire = Wire(self.host)
        channel = self.site.buildProtocol(None)
        assert isinstance(channel, HTTPChannel)
        channel.makeConnection(wire)
        channel.dataReceived(octets)
        await wire.closed
        channel.connectionLost(Failure(ConnectionDone()))
        return parse(bytes(wire.value()))

    async def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> Response:
        """The answer to a request; a body that is not octets goes as JSON."""
        octets = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Connection": "close", **headers}
        return await self.raw(request(method, path, octets, secret=self.key, **headers))

    async def get(self, path: str, **query: object) -> Any:
        """The JSON at a path.

        :raises AssertionError: it is refused.
        """
        said = {name.removesuffix("_"): value for name, value in query.items()}
        return _good(await self.ask("GET", f"{path}?{urlencode(said)}"))

    async def post(self, path: str, body: object, **headers: str) -> Any:
        """The JSON that a request is answered with.

        :raises AssertionError: it is refused.
        """
        return _good(await self.ask("POST", path, body, **headers))

    async def ids(self, path: str, **query: object) -> list[str]:
        """The ids of all items of a list, page by page."""
        found: list[str] = []
        cursor: dict[str, object] = {}
        while True:
            page = await self.get(path, **query, **cursor)
            found += [item["id"] for item in page["data"]]
            if page["nextCursor"] is None:
                return found
            cursor = {"cursor": page["nextCursor"]}


def _good(answer: Response) -> Any:
    assert answer.status < 300, (answer.status, answer.body[:500])
    return answer.json()


@frozen(kw_only=True)
class Place:
    """The ids of one thing of each kind, which belong together.

    :ivar mark: stands in all that a person wrote there.
    :ivar secret: of a key of the whole customer that may do everything.
    """

    mark: str
    customer: str
    deployment: str
    agent: str
    inbox: str
    address: str
    message: str
    thread: str
    attachment: str
    key: str
    secret: str = field(repr=False)

    @property
    def names(self) -> dict[str, str]:
        """What stands for each name in a path."""
        return {
            "customerId": self.customer,
            "deploymentId": self.deployment,
            "agentId": self.agent,
            "inboxId": self.inbox,
            "messageId": self.message,
            "threadId": self.thread,
            "attachmentId": self.attachment,
            "keyId": self.key,
        }

    @property
    def ids(self) -> set[str]:
        """The ids that are known to nobody else."""
        return {*self.names.values(), self.address} - {self.attachment}

    def path(self, route: Route) -> str:
        """The path of a route that leads here."""
        return filled(route.path, self.names)

    @property
    def messages(self) -> str:
        """The path of its messages."""
        return f"/v1/inboxes/{self.inbox}/messages"


def filled(pattern: str, names: dict[str, str]) -> str:
    """A path with what its names stand for."""
    for name, value in names.items():
        pattern = pattern.replace(f"{{{name}}}", quote(value, safe=""))
    return pattern


class RestTest(DatabaseTest):
    """The site, and somebody who may do everything."""

    timeout = 120

    async def setUp(self) -> None:
        await super().setUp()
        state = Path(self.mktemp())
        state.mkdir()
        (state / "secret.key").write_bytes(SECRET)
        config = Config(
            state=str(state),
            hostname=f"mail.{DOMAIN}",
            domain=DOMAIN,
            web=WebSettings(rate=1e6, burst=10**6, body_limit=1_000_000),
        )
        await DkimKeys(self.database.single(None)).add(_dkim_key())
        self.parts = build(config, self.database, reactor())
        self.app = self.parts.app
        self.addCleanup(self.app.events.stop)
        self.site = make_site(self.app, config.web, reactor())
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)
        self.root = await self.caller(customer_id=None)

    async def caller(self, **bounds: Any) -> Caller:
        """Somebody with a new key, of all permissions unless told otherwise."""
        made = await self.app.keys.make(name="a key", **bounds)
        return Caller(self.site, made.secret)

    def with_key(self, secret: str | None) -> Caller:
        """Somebody with a key that is there."""
        return Caller(self.site, secret)

    async def receive(self, octets: bytes, *rcpt_to: str) -> list[str]:
        """Mail that comes in; gives the ids of the messages that it became."""
        receipt = await self.parts.receive.receive(transaction(*rcpt_to), octets)
        return list(receipt.message_ids)

    async def customer(self, mark: str) -> Place:
        """A customer with one thing of each kind."""
        made = await self.root.post(
            "/v1/customers", {"name": mark, "metadata": {"mark": mark}}
        )
        key = await self.root.post(
            "/v1/api-keys",
            {"name": mark, "customerId": made["id"], "preset": "operator"},
        )
        caller = Caller(self.site, key["key"])
        return await self.deployment(mark, made["id"], caller)

    async def deployment(self, mark: str, customer: str, caller: Caller) -> Place:
        """A new deployment of a customer, with one thing of each kind."""
        made = await caller.post(
            "/v1/deployments",
            {"name": mark, "clientId": f"client-{mark}", "metadata": {"mark": mark}},
        )
        return await self.inbox(mark, customer, made["id"], caller)

    async def inbox(
        self, mark: str, customer: str, deployment: str, caller: Caller
    ) -> Place:
        """A new agent of a deployment, with its inbox, a message and a key."""
        agent = await caller.post(
            "/v1/agents",
            {
                "name": mark,
                "deploymentId": deployment,
                "externalId": f"external-{mark}",
                "defaultInboxUsername": mark,
            },
        )
        inbox = agent["inbox"]
        header, body = WITH_FILE
        (message_id,) = await self.receive(
            mail(mark, header=header, body=body.format(mark=mark), to=inbox["address"]),
            inbox["address"],
        )
        message = await caller.get(f"/v1/inboxes/{inbox['id']}/messages/{message_id}")
        key = await caller.post(
            "/v1/api-keys",
            {"name": mark, "inboxId": inbox["id"], "preset": "runtime"},
        )
        assert caller.key is not None
        return Place(
            mark=mark,
            customer=customer,
            deployment=deployment,
            agent=agent["id"],
            inbox=inbox["id"],
            address=inbox["address"],
            message=message_id,
            thread=message["threadId"],
            attachment=message["attachments"][0]["id"],
            key=key["id"],
            secret=caller.key,
        )

    async def listen(self) -> None:
        """Hear what the database tells of, as the daemon does."""

        def heard(channel: str, payload: str) -> None:
            if channel == "noinfra_event":
                self.app.events.wake()
            elif channel == "noinfra_inbox":
                self.parts.directory.forget(payload)
            else:
                self.app.keys.forget()
                self.app.events.revoked(payload)

        channels = ("noinfra_event", "noinfra_inbox", "noinfra_key")
        listener = Listener(
            reactor(), self.dsn, channels, heard, self.app.events.missed
        )
        self.addCleanup(listener.stop)
        await listener.start()


def elsewhere(caller: Caller, number: int) -> Caller:
    """The same from another address, as wrong keys are counted by address."""
    return evolve(caller, host=f"198.51.{100 + number // 250}.{number % 250 + 1}")
