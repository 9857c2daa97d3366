"""A log of lines, for a daemon that writes one for each request.

The lines are those of Twisted's own ``textFileLogObserver``, made in a fifth of its
time: the time of day is spelled once a second, what is a plain format is filled in by
``str.format_map``, and lines go to the file together.
"""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from threading import Lock, get_ident

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEventAsClassicLogText,
    formatTime,
)
from zope.interface import implementer

# How long a line may wait for others, in seconds, and with how many.
_WAIT, _TOGETHER = 1.0, 500
# Formats are constants, and few; should somebody make them up, memory must not fill.
_FORMATS = 2000

Write = Callable[[bytes], object]
Later = Callable[[float, Callable[[], object]], object]


@implementer(ILogObserver)
class Lines:
    """Writes what happened, from level info on.

    What is no worse than info waits up to a second for other lines, once there is
    somebody to call later; what is worse, and what other threads tell, is written at
    once with all that waits.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._later: Later | None = None
        self._thread = get_ident()
        self._lock = Lock()
        self._waiting: list[bytes] = []
        self._flushing = False
        self._systems: dict[tuple[object, object], str] = {}
        self._plain: dict[str, bool] = {}
        self._second = -1
        self._spelled = ""

    def gather(self, later: Later) -> None:
        """Let lines wait from now on.

        :param later: is of the thread that this is called in.
        """
        self._later, self._thread = later, get_ident()

    def close(self) -> None:
        """Write what waits, and from now on each line by itself."""
        self._later = None
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._flushing = False
            lines, self._waiting = self._waiting, []
            if lines:
                self._write(b"".join(lines))

    def __call__(self, event: LogEvent) -> None:
        """Take an event."""
        level = event.get("log_level")
        if level is None or level is LogLevel.debug:
            return
        text = self._text(event)
        if text is None:
            return
        # A surrogate alone has no UTF-8; the line must not take others with it.
        line = text.encode("utf-8", "backslashreplace")
        with self._lock:
            self._waiting.append(line)
            many = len(self._waiting) >= _TOGETHER
        own = self._later is not None and get_ident() == self._thread
        if self._later is None or many or not own or level is not LogLevel.info:
            self.flush()
        elif not self._flushing:
            self._flushing = True
            self._later(_WAIT, self.flush)

    def _text(self, event: LogEvent) -> str | None:
        form = event.get("log_format")
        special = (
            "log_failure" in event or "log_system" in event or "log_flattened" in event
        )
        if special or not isinstance(form, str) or not self._is_plain(form):
            return formatEventAsClassicLogText(event)
        try:
            text = form.format_map(event)
            time = self._time(event["log_time"])
        except Exception:
            # It tells what it can of an event that does not fit its format.
            return formatEventAsClassicLogText(event)
        if "\n" in text:
            text = text.replace("\n", "\n\t")
        return f"{time} [{self._system(event)}] {text}\n" if text else None

    def _is_plain(self, form: str) -> bool:
        """Whether ``str.format`` fills it as Twisted does, which calls ``{name()}``."""
        plain = self._plain.get(form)
        if plain is None:
            plain = _calls_nothing(form)
            if len(self._plain) < _FORMATS:
                self._plain[form] = plain
        return plain

    def _system(self, event: LogEvent) -> str:
        key = event.get("log_namespace"), event["log_level"]
        system = self._systems.get(key)
        if system is None:
            system = self._systems[key] = f"{key[0]}#{key[1].name}"
        return system

    def _time(self, time: float) -> str:
        second = int(time)
        if second != self._second:
            self._second, self._spelled = second, formatTime(second)
        return self._spelled


def _calls_nothing(form: str) -> bool:
    try:
        return not any(
            "()" in (name or "") for _, name, _, _ in Formatter().parse(form)
        )
    except ValueError:
        return False
