"""The rules that the packages hold to, read off their source.

noinfra/__init__.py tells them; what is allowed stands in the tables below.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import noinfra

ROOT = Path(noinfra.__file__).parent

# Who may import whom: each part of noinfra, and the parts that it may name.
GROUND = {"errors", "model", "boundaries", "config"}
MAY_IMPORT = {
    **dict.fromkeys(GROUND, GROUND),
    "ready": GROUND,
    "mail": {"mail", *GROUND},
    "store": {"store", "mail", *GROUND},
    "app": {"app", "store", "mail", *GROUND},
    "fronts": {"fronts", "app", "mail", *GROUND},
    "net": {"net", "mail", *GROUND},
    "service": {"service", "fronts", "app", "store", "mail", "net", "ready", *GROUND},
    # It builds what a command needs, as the service does for the daemon.
    "cli": {"cli", "service", "app", "store", "ready", *GROUND},
}

# What mail must do without: the reactor, the database, HTTP, and everything that waits.
IMPURE = {"twisted", "psycopg2", "txpostgres", "treq", "autobahn", "klein", "socket"} | {
    "asyncio", "http", "ssl", "subprocess", "threading", "urllib3", "requests",
}  # fmt: skip

SQL = re.compile(
    r"^\s*(select\b.+\bfrom|insert\s+into|update\s+\w+\s+set|delete\s+from"
    r"|(create|alter|drop)\s+(table|index|role|view)|set\s+local|notify\s+\w)\b",
    re.IGNORECASE | re.DOTALL,
)

# Calls whose result can change, when a module keeps it.
MUTABLE = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter"} | {
    "OrderedDict", "WeakKeyDictionary", "WeakValueDictionary", "WeakSet", "count",
    "ContextVar", "Lock", "Event", "DeferredLock", "DeferredQueue", "Deferred",
}  # fmt: skip

Found = Iterator[tuple[int, str]]


def modules() -> Iterator[tuple[str, Path]]:
    """Every module, with the part of noinfra that it belongs to."""
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT)
        if name != Path("__init__.py"):
            yield name.parts[0].removesuffix(".py"), path


def imported(tree: ast.AST) -> Found:
    """The full name of everything that is imported, at whatever depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = "." * node.level + (node.module or "")
                yield node.lineno, f"{module}.{alias.name}"


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported, but not in a class."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            for name in ("body", "orelse", "finalbody"):
                waiting += getattr(node, name, [])
        elif not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            yield node


def docstrings(tree: ast.AST) -> set[int]:
    """The docstrings and other free-standing strings, by the identity of their node."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def wrong_imports(part: str, tree: ast.Module) -> Found:
    for line, name in imported(tree):
        names = name.split(".")
        if names[0] == "":
            yield line, "imports relatively; name the module in full"
        elif names[0] == "noinfra" and (
            len(names) < 2 or names[1] not in MAY_IMPORT[part]
        ):
            yield line, f"{part} must not import {name}"
        elif part == "mail" and names[0] in IMPURE:
            yield line, f"mail must not import {name}"


def early_reactor(_: str, tree: ast.Module) -> Found:
    for statement in top_level(tree):
        for line, name in imported(statement):
            if name.startswith("twisted.internet.reactor"):
                yield line, "imports the reactor for the whole module; take it as given"


def reactor(part: str, tree: ast.Module) -> Found:
    if part != "cli":
        for line, name in imported(tree):
            if name.startswith("twisted.internet.reactor"):
                yield line, "imports the reactor; take it as an argument"


def stray_sql(part: str, tree: ast.Module) -> Found:
    if part != "store":
        prose = docstrings(tree)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in prose
                and SQL.match(node.value)
            ):
                yield node.lineno, "holds SQL; that is for store alone"


def module_state(_: str, tree: ast.Module) -> Found:
    """What can change: a call that makes a container, or a literal named as no constant.

    A literal table under a name in capitals is data; that nobody changes it is what
    `global` and the calls of its mutating methods are searched for.
    """
    constants = set()
    for statement in top_level(tree):
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
        )
        names = [node.id for node in targets if isinstance(node, ast.Name)]
        value = statement.value
        if names == ["__all__"] or value is None:
            continue
        table = isinstance(value, ast.Dict | ast.DictComp | ast.Set | ast.SetComp)
        table = table or isinstance(value, ast.List | ast.ListComp)
        if isinstance(value, ast.Call) and not value.args and called(value) in MUTABLE:
            yield statement.lineno, f"{names} begins empty, so it is to change"
        elif table and not all(name.isupper() for name in names):
            yield statement.lineno, f"{names} can change and is not named as a constant"
        constants |= set(names)
    yield from changes(tree, constants)


def changes(tree: ast.Module, names: set[str]) -> Found:
    """Where functions change what the module holds."""
    mutating = {"append", "add", "update", "pop", "clear", "extend", "setdefault"}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield node.lineno, f"changes {', '.join(node.names)} of the module"
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in names
                and node.func.attr in mutating
            ):
                yield node.lineno, f"changes {node.func.value.id} of the module"
            elif (
                isinstance(node, ast.Subscript)
                and isinstance(node.ctx, ast.Store | ast.Del)
                and isinstance(node.value, ast.Name)
                and node.value.id in names
            ):
                yield node.lineno, f"changes {node.value.id} of the module"


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    function = call.func
    if isinstance(function, ast.Subscript):
        function = function.value
    return getattr(function, "attr", "") or getattr(function, "id", "")


def faults(rule: Callable[[str, ast.Module], Found]) -> list[str]:
    """Where a rule is broken, as ``path:line: how``."""
    return [
        f"{path.relative_to(ROOT.parent)}:{line}: {how}"
        for part, path in modules()
        for line, how in rule(part, ast.parse(path.read_bytes()))
    ]


class ArchitectureTests(SynchronousTestCase):
    """Rules 1 to 5."""

    def test_parts(self) -> None:
        """Every module belongs to a part whose place is known."""
        self.assertEqual({part for part, _ in modules()} - set(MAY_IMPORT), set())

    def test_imports(self) -> None:
        """Imports run in one direction, and mail imports nothing that waits."""
        self.assertEqual(faults(wrong_imports), [])

    def test_sql(self) -> None:
        """SQL is written in store and nowhere else."""
        self.assertEqual(faults(stray_sql), [])

    def test_state(self) -> None:
        """No module keeps anything that changes."""
        self.assertEqual(faults(module_state), [])

    def test_reactor(self) -> None:
        """The reactor is passed in; the command line alone imports it, and late."""
        self.assertEqual(faults(reactor), [])
        self.assertEqual(faults(early_reactor), [])

    def test_reactor_is_not_installed(self) -> None:
        """Importing the plugin or the command line installs no reactor.

        The service may: twistd has chosen by the time that it is imported.
        """
        script = (
            "import sys, noinfra.cli.tap, twisted.plugins.noinfra_plugin; "
            "sys.exit('twisted.internet.reactor' in sys.modules)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT.parent, check=False
        )
        self.assertEqual(ended.returncode, 0)


class RuleTests(SynchronousTestCase):
    """The rules themselves: what they see, and what they leave alone."""

    def seen(
        self, rule: Callable[[str, ast.Module], Found], part: str, source: str
    ) -> int:
        return len(list(rule(part, ast.parse(source))))

    def test_imports(self) -> None:
        """An import against the direction is seen, even inside a function."""
        for part, source, count in (
            ("mail", "from twisted.internet import defer", 1),
            ("mail", "def f():\n    import psycopg2", 1),
            ("mail", "from noinfra.store.pool import Pool", 1),
            ("app", "from noinfra.net.dns import DnsResolver", 1),
            ("fronts", "from noinfra.store import pool", 1),
            ("app", "from noinfra import service", 1),
            ("app", "from .receive import Receive", 1),
            ("app", "from noinfra.store.pool import Pool", 0),
            ("net", "from noinfra.boundaries import Relay\nimport treq", 0),
        ):
            self.assertEqual(self.seen(wrong_imports, part, source), count, source)

    def test_sql(self) -> None:
        """A statement is seen; English that begins with the same words is not."""
        for text, count in (
            ("select 1 from inbox", 1),
            ("\n  update inbox set address = %(address)s", 1),
            ("DELETE FROM inbox", 1),
            ("Update the inbox from here.", 0),
            ("select: one of INBOX, Sent", 0),
            ("delete", 0),
        ):
            self.assertEqual(self.seen(stray_sql, "app", f"x = {text!r}"), count, text)
        self.assertEqual(self.seen(stray_sql, "app", "'''select a from b'''"), 0)

    def test_state(self) -> None:
        """A cache is seen; a table that nobody changes is not."""
        for source, count in (
            ("cache = {}", 1),
            ("_SEEN = set()", 1),
            ("SEEN: deque[int] = deque()", 1),
            ("TABLE = {1: 2}\ndef f():\n    TABLE[3] = 4", 1),
            ("TABLE = {1: 2}\ndef f():\n    TABLE.pop(1)", 1),
            ("count = 0\ndef f():\n    global count\n    count += 1", 1),
            ("TABLE = {1: 2}\n__all__ = ['TABLE']", 0),
            ("NAMES = frozenset(('a', 'b'))\nRE = re.compile('a')", 0),
            ("class A:\n    def f(self):\n        self.x = {}", 0),
        ):
            self.assertEqual(self.seen(module_state, "app", source), count, source)
