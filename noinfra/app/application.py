"""All that a caller can ask of the server, in one value for the fronts."""

from __future__ import annotations

from attrs import frozen

from noinfra.app.agents import Agents
from noinfra.app.events import EventLog
from noinfra.app.health import Health
from noinfra.app.inboxes import Inboxes
from noinfra.app.keys import Keys
from noinfra.app.messages import Messages
from noinfra.app.send import Send
from noinfra.app.tenants import Tenants
from noinfra.app.threads import Threads
from noinfra.app.versions import Versions


@frozen(kw_only=True)
class App:
    """The use cases, by the noun that they are about."""

    keys: Keys
    tenants: Tenants
    agents: Agents
    inboxes: Inboxes
    messages: Messages
    threads: Threads
    versions: Versions
    sending: Send
    events: EventLog
    health: Health
