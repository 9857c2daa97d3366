"""Installs this checkout into a virtual environment, and prints that one's Python.

    prepare.py ROOT [EXTRA]

Standard library only. When nothing is to be done, nothing is run: a stamp in the
environment says what was installed there. Whatever goes wrong ends in one line.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

NO_VENV = (
    "Python cannot make virtual environments here: ensurepip is missing. "
    "Install it (Debian and Ubuntu: apt install python3-venv), or pip, or virtualenv."
)


def main(root: Path, extra: str = "") -> None:
    """Print the path of a Python in which this checkout is installed."""
    active = os.environ.get("VIRTUAL_ENV")
    venv = Path(active) if active else root / ".venv"
    python = venv / "bin" / "python"
    if not _installed(root, venv, extra):
        # The lock is on the directory itself, and leaves nothing behind.
        with _Lock(venv if active else root):
            if not _installed(root, venv, extra):
                if not active:
                    _make(venv, python)
                _install(root, venv, python, extra)
    sys.stdout.write(f"{python}\n")


class _Lock:
    """Two first runs at once: the second waits, and then finds all done."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        self._fd = os.open(self._directory, os.O_RDONLY)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another run that prepares this checkout")
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _digest(root: Path) -> str:
    """What an installation depends on: the metadata, and where the checkout is."""
    digest = hashlib.sha256(bytes(root))
    for name in ("setup.cfg", "pyproject.toml"):
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def _stamp(venv: Path) -> list[str]:
    """The digest of what is installed, then its extras."""
    try:
        return (venv / "noinfra.stamp").read_text().split()
    except OSError:
        return []


def _installed(root: Path, venv: Path, extra: str) -> bool:
    digest, *extras = _stamp(venv) or [""]
    return digest == _digest(root) and (not extra or extra in extras)


def _make(venv: Path, python: Path) -> None:
    """A virtual environment, unless a usable one is there."""
    if _runs([str(python), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]):
        if _pip(python) is not None:
            return
        _say(f"{venv} is not complete; making it anew")
    else:
        _say(f"making the virtual environment {venv}")
    # Only what venv itself made is cleared.
    if venv.exists() and not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
        _fail(f"{venv} is not a virtual environment; move it away and try again.")
    _run([*_maker(), str(venv)], f"{venv} could not be made; see above.")


def _maker() -> list[str]:
    """The command that makes an environment, as far as this system has one."""
    # A venv's Python cannot make another when its own is gone, so start from the base.
    base = getattr(sys, "_base_executable", "") or sys.executable
    if _runs([base, "-c", "import venv, ensurepip; ensurepip.version()"]):
        return [base, "-m", "venv", "--clear"]
    if importlib.util.find_spec("virtualenv"):
        return [sys.executable, "-m", "virtualenv", "--quiet", "--clear"]
    if virtualenv := shutil.which("virtualenv"):
        return [virtualenv, "--quiet", "--clear", "--python", base]
    if _runs([base, "-c", "import venv"]) and _foreign_pip(Path(os.devnull)):
        return [base, "-m", "venv", "--clear", "--without-pip"]
    _fail(NO_VENV)


def _pip(python: Path) -> list[str] | None:
    """The pip command that installs for a Python: its own, or ours."""
    if _runs([str(python), "-m", "pip", "--version"]):
        return [str(python), "-m", "pip"]
    return _foreign_pip(python)


def _foreign_pip(python: Path) -> list[str] | None:
    base = getattr(sys, "_base_executable", "") or sys.executable
    if _runs([base, "-c", "import ensurepip; ensurepip.version()"]):
        return None
    # pip installs for another Python since 22.3.
    if _runs([base, "-m", "pip", "--python", base, "--version"]):
        return [base, "-m", "pip", "--python", str(python)]
    return None


def _install(root: Path, venv: Path, python: Path, extra: str) -> None:
    pip = _pip(python)
    if pip is None:
        _fail(f"{venv} has no pip; run `{python} -m ensurepip`, or deactivate it.")
    stamp = venv / "noinfra.stamp"
    extras = sorted({*_stamp(venv)[1:], extra} - {""})
    # Gone until all is in place: an interrupted installation is then begun again.
    stamp.unlink(missing_ok=True)
    what = f"{root}[{','.join(extras)}]" if extras else str(root)
    _say("installing noinfra and the packages it needs; this takes up to a minute")
    quiet = ["-qq", "--disable-pip-version-check", "--no-input"]
    # twistd finds the plugin only on a path: hence the compatible editable mode.
    editable = ["--config-settings", "editable_mode=compat", "--editable", what]
    _run(
        [*pip, "install", *quiet, *editable],
        "The packages could not be installed; see above, then run this again.",
    )
    fresh = stamp.with_suffix(".new")
    fresh.write_text(" ".join([_digest(root), *extras]) + "\n")
    fresh.replace(stamp)


def _runs(command: list[str]) -> bool:
    try:
        return not subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode
    except OSError:
        return False


def _run(command: list[str], failure: str) -> None:
    # Our own stdout holds one line, the path; what others print goes to stderr.
    if subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
    ).returncode:
        _fail(failure)


def _say(line: str) -> None:
    sys.stderr.write(f"noinfra: {line}\n")


def _fail(line: str) -> NoReturn:
    sys.exit(f"noinfra: {line}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except KeyboardInterrupt:
        _fail("interrupted; the next run goes on from here.")
    except OSError as error:
        _fail(f"{error.filename or sys.argv[1]}: {error.strerror}.")
