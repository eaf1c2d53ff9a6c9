"""Live progress of a run: the job appends JSON lines to a file, the command shows them.

One line is {"phase": "fetch", "done": 12, "total": 256}; done and total may be left out.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Display", "Event", "follow", "show"]

POLL_SECONDS = 0.1
PLAIN_STEPS = 4  # a phase with a total is reported so often when not in a terminal


@dataclass(frozen=True)
class Event:
    """One progress line.  total 0: unknown."""

    phase: str
    done: int = 0
    total: int = 0


class Display:
    """Shows phases one after another; used as a context manager."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._phase = ""
        self._started = 0.0
        self._shown = 0
        self._task: TaskID | None = None
        self.seconds: dict[str, float] = {}
        self._bar = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=out,
        )

    def __enter__(self) -> Display:
        if self._out.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end_phase()
        self._bar.stop()

    def update(self, event: Event) -> None:
        """Show `event`; a phase's name seen for the first time ends the phase before it."""
        if event.phase != self._phase:
            self._end_phase()
            self._phase, self._started, self._shown = event.phase, time.monotonic(), 0
            if self._out.is_terminal:
                self._task = self._bar.add_task(event.phase, total=None, count="")
            else:
                self._out.print(f"{event.phase} ...", soft_wrap=True)
        if self._task is not None:
            count = f"{event.done:,} / {event.total:,}" if event.total else ""
            self._bar.update(
                self._task, completed=event.done, total=event.total or None, count=count
            )
        elif event.total:
            self._plain_step(event)

    def _plain_step(self, event: Event) -> None:
        step = PLAIN_STEPS * event.done // event.total
        if step > self._shown:
            self._shown = step
            self._out.print(f"{event.phase}: {event.done:,} of {event.total:,}", soft_wrap=True)

    def _end_phase(self) -> None:
        if not self._phase:
            return
        seconds = time.monotonic() - self._started
        self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + seconds
        if self._task is not None:
            task = self._bar.tasks[self._bar.task_ids.index(self._task)]
            total = task.total or 1
            self._bar.update(self._task, total=total, completed=total)
            self._bar.stop_task(self._task)
        self._phase = ""


def follow(path: Path, on_event: Callable[[Event], None], stop: threading.Event) -> None:
    """Read the progress file as it grows and hand over each event, until `stop` is set.

    A line that is not an event is skipped: progress is for the eye and decides nothing.
    """
    rest = ""
    with open(path) as file:
        while True:
            stopping = stop.is_set()  # asked before reading, so that nothing written is missed
            rest += file.read()
            *lines, rest = rest.split("\n")
            for line in lines:
                event = _parse(line)
                if event is not None:
                    on_event(event)
            if stopping:
                return
            stop.wait(POLL_SECONDS)


@contextmanager
def show(path: Path, on_event: Callable[[Event], None]) -> Iterator[None]:
    """Follow a fresh progress file at `path` from a thread while the body runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    stop = threading.Event()
    thread = threading.Thread(target=follow, args=(path, on_event, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _parse(line: str) -> Event | None:
    try:
        raw = json.loads(line)
        return Event(str(raw["phase"]), int(raw.get("done", 0)), int(raw.get("total", 0)))
    except (ValueError, TypeError, KeyError):
        return None
