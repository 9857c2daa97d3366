"""The daemon that is measured, as an operator would run it, and a client of its API."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psycopg2
from psycopg2.extensions import make_dsn

from noinfra.ready import Ready
from tests.bench.stage import Stage, stop
from tests.e2e.daemon import merged, toml

# Nothing that would refuse a load; all else is as it is delivered.
SETTINGS: dict[str, Any] = {
    "edge": {"port": 0, "connections_per_address": 1000},
    "submission": {"port": 0, "tls_port": 0},
    "imap": {
        "tls_port": 0,
        "connections_per_address": 1000,
        "rate": 1e9,
        "burst": 1_000_000_000,
    },
    "web": {"port": 0, "rate": 1e9, "burst": 1_000_000_000},
}
_PATIENCE = 90.0


class Ours:
    """A daemon in a state directory of the stage; `start` and `stop` may be repeated."""

    ready: Ready

    def __init__(self, stage: Stage, settings: Mapping[str, Any] | None = None) -> None:
        self._stage = stage
        self.state = stage.directory / "ours"
        self._process: subprocess.Popen[bytes] | None = None
        self.start(settings)

    def start(self, settings: Mapping[str, Any] | None = None) -> None:
        """Start it, and wait until it serves."""
        self.state.mkdir(mode=0o711, exist_ok=True)
        file = self.state / "noinfra.toml"
        file.write_text(toml(merged(SETTINGS, settings)))
        command = [sys.executable, "-P", "-m", "noinfra.cli", "up"]
        self._process = self._stage.start(
            [*command, "--config", file, "--state", self.state],
            self.state / "said",
        )
        self.ready = self._until_ready(self._process)

    def stop(self) -> None:
        """Stop it; its state stays."""
        if self._process is not None:
            stop(self._process)

    def _until_ready(self, process: subprocess.Popen[bytes]) -> Ready:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            ready = Ready.read(self.state)
            if ready is not None and ready.pid == process.pid:
                return ready
            time.sleep(0.05)
        said = (self.state / "said").read_text("utf-8", "replace")
        raise RuntimeError(f"the daemon did not start: {said[-2000:]}")

    @property
    def pid(self) -> int:
        return self.ready.pid

    @property
    def smtp(self) -> int:
        """The port of the edge."""
        return self.ready.ports["smtp"]

    @property
    def imaps(self) -> int:
        """The port of IMAP over TLS."""
        return self.ready.ports["imaps"]

    @property
    def web(self) -> int:
        """The port of the API."""
        return self.ready.ports["web"]

    @property
    def key(self) -> str:
        return Path(self.ready.root_key_file).read_text("ascii").strip()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request to the API, and what its answer says."""
        return json.loads(self.fetch(method, path, body))

    def fetch(self, method: str, path: str, body: object = None) -> str:
        """One request to the API, and its answer."""
        request = Request(
            f"{self.ready.base_url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/json",
            },
        )
        with urlopen(request, timeout=60) as answer:
            text: str = answer.read().decode()
            return text

    def inboxes(self, names: list[str]) -> list[str]:
        """Make inboxes of these names; gives their ids."""
        made = [self.call("POST", "/v1/inboxes", {"username": name}) for name in names]
        return [inbox["id"] for inbox in made]

    def address(self, name: str) -> str:
        return f"{name}@{self.ready.domain}"

    @property
    def dsn(self) -> str:
        """How to reach its database, for whom may: the daemon's user, and root."""
        run = self.state / "postgres" / "run"
        return make_dsn(host=str(run), port=5432, user="noinfra", dbname="postgres")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the database itself; no rows are needed."""
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def memory(self, field: str = "VmRSS") -> float:
        """A figure of the daemon's /proc/PID/status, in megabytes (10^6)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return int(lines[field].split()[0]) * 1024 / 1e6

    def reset_peak(self) -> None:
        """Let VmHWM begin anew from what is resident now (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
