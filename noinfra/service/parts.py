"""The use cases, built from the settings and a database; this is where they meet."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from noinfra.app.agents import Agents
from noinfra.app.application import App
from noinfra.app.bootstrap import Bootstrap
from noinfra.app.directory import Directory
from noinfra.app.events import EventLog
from noinfra.app.filer import Filer
from noinfra.app.health import Health
from noinfra.app.homes import Homes
from noinfra.app.inboxes import Inboxes
from noinfra.app.keys import Keys
from noinfra.app.letters import Letters
from noinfra.app.mailbox_access import Logins
from noinfra.app.mailbox_append import Appending
from noinfra.app.mailbox_finding import Finding
from noinfra.app.mailbox_messages import MailboxMessages
from noinfra.app.mailboxes import Mailboxes
from noinfra.app.messages import Messages
from noinfra.app.passwords import Passwords
from noinfra.app.receive import Receive
from noinfra.app.release import Release
from noinfra.app.seal import open_seal
from noinfra.app.send import Send
from noinfra.app.signing import Signing
from noinfra.app.submit import Submit
from noinfra.app.tenants import Tenants
from noinfra.app.threads import Threads
from noinfra.app.versions import Versions
from noinfra.config import Config
from noinfra.fronts.imap.mail import Mail
from noinfra.store.database import Database


@frozen(kw_only=True)
class Parts:
    """What the roles share."""

    app: App
    directory: Directory
    receive: Receive
    submit: Submit
    release: Release
    mail: Mail
    bootstrap: Bootstrap
    database: Database


def build(config: Config, database: Database, reactor: IReactorTime) -> Parts:
    """All use cases.

    :raises ConfigurationError: the secret cannot be read or made.
    """
    directory = Directory(
        database=database,
        domains=frozenset((config.domain,)),
        postmaster=config.postmaster or f"postmaster@{config.domain}",
    )
    homes = Homes(directory)
    letters = Letters(database)
    filer = Filer(database)
    passwords = Passwords(database)
    inboxes = Inboxes(database, directory, homes, config.domain, passwords)
    secret = Path(config.secret) if config.secret else None
    release = Release(
        filer=filer,
        signing=Signing(
            database, open_seal(secret or config.state_path / "secret.key")
        ),
        lifetime=timedelta(days=config.outbound.lifetime_days),
    )
    app = App(
        keys=Keys(database, directory),
        tenants=Tenants(database, directory),
        agents=Agents(database, inboxes),
        inboxes=inboxes,
        messages=Messages(database, homes, letters),
        threads=Threads(database, homes),
        versions=Versions(database, homes, reactor),
        sending=Send(
            database=database,
            homes=homes,
            letters=letters,
            release=release,
            size_limit=config.edge.size_limit,
        ),
        events=EventLog(database, homes, reactor),
        health=Health(database, release_name()),
    )
    logins = Logins(database, app.keys, homes, passwords)
    return Parts(
        app=app,
        directory=directory,
        receive=Receive(
            directory=directory,
            filer=filer,
            hostname=config.hostname,
            hops=config.edge.hops,
        ),
        submit=Submit(
            logins=logins,
            directory=directory,
            release=release,
            hostname=config.hostname,
        ),
        release=release,
        mail=Mail(
            logins=logins,
            mailboxes=Mailboxes(database, app.events),
            messages=MailboxMessages(database),
            appending=Appending(database, filer),
            finding=Finding(database),
        ),
        bootstrap=Bootstrap(database, inboxes, app.keys),
        database=database,
    )


def release_name() -> str:
    """The release that is installed."""
    try:
        return version("noinfra")
    except PackageNotFoundError:
        return "unreleased"
