"""`Faulty(port, schedule)`: a port that fails when it is told to, and is the real one otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong at one call. `done` lets the call happen first: an answer that was lost, not a deed."""

    error: Exception
    done: bool = False


Schedule = Mapping[str, Sequence[Fault | None]]
"""Method to what happens at its first, second, … call; None, and everything after the end, is no fault."""


class Faulty(Generic[P]):
    """Wraps any port. Methods that the schedule does not name pass through; `calls` counts those it names."""

    def __init__(self, port: P, schedule: Schedule) -> None:
        unknown = [name for name in schedule if not callable(getattr(port, name, None))]
        if unknown:
            msg = f"{type(port).__name__} has no method {unknown[0]}"
            raise ValueError(msg)
        self._port = port
        self._schedule = schedule
        self._lock = threading.Lock()
        self.calls: dict[str, int] = dict.fromkeys(schedule, 0)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._wrapped(name, found) if name in self._schedule else found

    def _wrapped(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                number = self.calls[name]
                self.calls[name] = number + 1
            planned = self._schedule[name]
            fault = planned[number] if number < len(planned) else None
            if fault is not None and not fault.done:
                raise fault.error
            answer = method(*arguments, **named)
            if fault is not None:
                raise fault.error
            return answer

        return call
