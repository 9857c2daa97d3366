"""The programs of the checkout: what they prepare, and what they say when they cannot.

A virtual environment is played by a script that writes down what it is asked for, so
that nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parent.parent

# A Python that notes its calls and installs nothing; FAIL makes that fail, as a lost
# network does.
PYTHON = """#!/bin/sh
case "$*" in
*"-m pip install"*)
    echo "install $*" >>"$(dirname "$0")/../calls"
    sleep 0.3
    [ -z "${{FAIL:-}}" ] || exit 1
    ;;
"-m pip"*) exit 0 ;;
"-P -m noinfra.cli"*) echo "state $NOINFRA_STATE"; echo "ran $*" ;;
*) exec {python} "$@" ;;
esac
"""


class PreparedTests(SynchronousTestCase):
    """`bin/noinfra` in a checkout of its own, with an environment that is active."""

    def setUp(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="noinfra-bin-")).resolve()
        self.addCleanup(shutil.rmtree, self.scratch)
        self.root, self.venv = self.scratch / "check out", self.scratch / "venv"
        shutil.copytree(ROOT / "bin", self.root / "bin")
        (self.root / "setup.cfg").write_text("[metadata]\nname = noinfra\n")
        (self.root / "pyproject.toml").write_text("")
        python = self.venv / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON.format(python=sys.executable))
        python.chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Run it, from a directory that is not the checkout's."""
        inherited = {"PATH": os.environ["PATH"], "VIRTUAL_ENV": str(self.venv)}
        return subprocess.Popen(
            [self.root / "bin" / "noinfra", *arguments],
            cwd=self.scratch,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_it(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    @property
    def calls(self) -> list[str]:
        """What was installed, a line each time."""
        path = self.venv / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def test_first_run(self) -> None:
        """The first run installs the checkout, says so, and hands over."""
        status, out, err = self.run_it("up", "--log", "a b")
        self.assertEqual(status, 0)
        self.assertIn("ran -P -m noinfra.cli up --log a b\n", out)
        self.assertIn("installing noinfra", err)
        self.assertEqual(len(self.calls), 1)
        self.assertIn("editable_mode=compat", self.calls[0])
        self.assertTrue(self.calls[0].endswith(f"--editable {self.root}"))

    def test_state(self) -> None:
        """The state is the checkout's var, unless the environment says otherwise."""
        _, out, _ = self.run_it("up")
        self.assertIn(f"state {self.root}/var\n", out)
        _, out, _ = self.run_it("up", NOINFRA_STATE="/there")
        self.assertIn("state /there\n", out)

    def test_second_run(self) -> None:
        """When nothing changed, nothing is done, and it is done quickly."""
        self.run_it()
        began = time.monotonic()
        status, _, err = self.run_it("status")
        self.assertEqual((status, err, len(self.calls)), (0, "", 1))
        # Some 50 ms on a machine that is idle.
        self.assertLess(time.monotonic() - began, 3)

    def test_changed_requirements(self) -> None:
        """A change of setup.cfg installs again."""
        self.run_it()
        with (self.root / "setup.cfg").open("a") as file:
            file.write("version = 2\n")
        self.run_it()
        self.assertEqual(len(self.calls), 2)

    def test_failure(self) -> None:
        """An installation that fails is told in one line, and is begun again."""
        status, out, err = self.run_it(FAIL="yes")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("noinfra: The packages could not be installed", err)
        self.assertNotIn("Traceback", err)
        status, _, _ = self.run_it()
        self.assertEqual((status, len(self.calls)), (0, 2))

    def test_failure_after_success(self) -> None:
        """What a failed installation left behind does not pass for a good one."""
        self.run_it()
        before = (self.root / "setup.cfg").read_text()
        (self.root / "setup.cfg").write_text(before + "version = 2\n")
        self.run_it(FAIL="yes")
        (self.root / "setup.cfg").write_text(before)
        self.run_it()
        self.assertEqual(len(self.calls), 3)

    def test_two_at_once(self) -> None:
        """Of two first runs at once, one installs and the other waits for it."""
        both = [self.start("first"), self.start("second")]
        ended = [
            (process.communicate(timeout=60), process.returncode) for process in both
        ]
        self.assertEqual([status for _, status in ended], [0, 0])
        self.assertEqual(len(self.calls), 1)
        self.assertTrue(any("waiting for another run" in err for (_, err), _ in ended))

    def test_symbolic_link(self) -> None:
        """It finds its checkout when it is called by a link."""
        link = self.scratch / "noinfra"
        link.symlink_to(self.root / "bin" / "noinfra")
        environment = {"PATH": os.environ["PATH"], "VIRTUAL_ENV": str(self.venv)}
        ended = subprocess.run(
            [link], env=environment, capture_output=True, check=False
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def test_extra(self) -> None:
        """What an extra brought is kept when noinfra is installed again."""
        prepare = [str(self.root / "bin" / "prepare"), "check"]
        environment = {"PATH": os.environ["PATH"], "VIRTUAL_ENV": str(self.venv)}
        self.run_it()
        for _ in range(2):
            out = subprocess.check_output(
                prepare, env=environment, stderr=subprocess.DEVNULL, text=True
            )
        self.assertEqual(out, f"{self.venv}/bin/python\n")
        self.assertEqual(len(self.calls), 2)
        self.assertTrue(self.calls[-1].endswith("check out[check]"))
        (self.root / "pyproject.toml").write_text("# changed")
        self.run_it()
        self.assertTrue(self.calls[-1].endswith("check out[check]"))

    def test_broken_environment(self) -> None:
        """An active environment without Python is named, and not another one taken."""
        (self.venv / "bin" / "python").unlink()
        status, out, err = self.run_it()
        self.assertEqual((status, out), (1, ""))
        self.assertIn(f"the active virtual environment {self.venv} has no Python", err)

    def test_old_python(self) -> None:
        """Without a Python that is new enough, one line says which to get."""
        path = self.scratch / "path"
        path.mkdir()
        for name in ("sh", "readlink", "dirname"):
            (path / name).symlink_to(shutil.which(name) or "")
        (path / "python3").write_text("#!/bin/sh\nexit 1\n")
        (path / "python3").chmod(0o755)
        status, out, err = self.run_it(PATH=str(path), VIRTUAL_ENV="")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(len(err.splitlines()), 1)
        self.assertIn("Python 3.11 or newer is needed", err)

    def test_foreign_directory(self) -> None:
        """A .venv that is something else is left alone."""
        (self.root / ".venv").mkdir()
        (self.root / ".venv" / "precious").write_text("mine")
        status, _, err = self.run_it(VIRTUAL_ENV="")
        self.assertEqual(status, 1)
        self.assertIn("is not a virtual environment", err)
        self.assertTrue((self.root / ".venv" / "precious").exists())


class UnitTests(SynchronousTestCase):
    """`etc/noinfra.service`."""

    def test_verify(self) -> None:
        """Systemd understands the unit, whole."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("systemd-analyze is not installed")
        unit = Path(tempfile.mkdtemp(prefix="noinfra-unit-")) / "noinfra.service"
        self.addCleanup(shutil.rmtree, unit.parent)
        # It looks whether the program is there, which it need not be here.
        text = (ROOT / "etc" / unit.name).read_text()
        unit.write_text(text.replace("/opt/noinfra/bin/noinfra", "/bin/true"))
        command = ["systemd-analyze", "verify", "--man=no", str(unit)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual((said.returncode, said.stderr), (0, ""))


class ScriptTests(SynchronousTestCase):
    """All scripts."""

    def test_syntax(self) -> None:
        """The shell reads them, and they may be run."""
        for name in ("bin/noinfra", "bin/prepare", "bin/check", ".ci/run"):
            path = ROOT / name
            shell = path.read_text().partition("\n")[0].rpartition("/")[2].split()[-1]
            subprocess.run([shell, "-n", path], check=True)
            self.assertTrue(os.access(path, os.X_OK), name)
