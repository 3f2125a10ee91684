"""A watch on a process and all that descend from it: CPU seconds, peak memory by role.

Processes are looked for every `every` seconds and kept once seen, also when their parent has ended
(Ray's daemons). What a process used between the last look and its end is not counted: the CPU
seconds of a run of a minute are about 1 % low.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil


@dataclass
class Seen:
    """One process: the last CPU seconds, the highest memory in bytes."""

    role: str
    cpu: float = 0.0
    rss: int = 0  # the kernel's own high-water mark, shared pages included
    pss: int = 0  # shared pages divided among those who share them; sampled


class Watch:
    """Watches from entering to leaving. `memory` also reads PSS, which costs a few milliseconds a
    process and look.
    """

    def __init__(self, pid: int, every: float = 0.5, *, memory: bool = False) -> None:
        self.seen: dict[int, Seen] = {}
        self._root = pid
        self._every = every
        self._memory = memory
        self._before = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._before = sum(one.cpu for one in self.seen.values())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    @property
    def cpu_seconds(self) -> float:
        """What all of them used since the watch began."""
        return sum(one.cpu for one in self.seen.values()) - self._before

    def roles(self) -> dict[str, dict[str, float]]:
        """For each role the number of processes, their CPU seconds, and the highest memory of any
        in MiB.
        """
        roles: dict[str, dict[str, float]] = {}
        for one in self.seen.values():
            role = roles.setdefault(one.role, {"processes": 0, "cpu_seconds": 0.0, "rss_mib": 0.0})
            role["processes"] += 1
            role["cpu_seconds"] += one.cpu
            role["rss_mib"] = max(role["rss_mib"], one.rss / 2**20)
            if self._memory:
                role["pss_mib"] = max(role.get("pss_mib", 0.0), one.pss / 2**20)
        return roles

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._look()

    def _look(self) -> None:
        family = {self._root, *self.seen}
        present = {process.pid: process for process in psutil.process_iter(["ppid"])}
        while (
            born := {pid for pid, process in present.items() if process.info["ppid"] in family}
            - family
        ):
            family |= born
        for pid in family & present.keys():
            try:
                self._note(present[pid])
            except (psutil.Error, OSError):
                continue  # it has just ended

    def _note(self, process: Any) -> None:
        with process.oneshot():
            command = process.cmdline()
            if not command:
                return  # a zombie
            one = self.seen.setdefault(process.pid, Seen(""))
            one.role = self._role(process.pid, command)  # the last one: workers begin as daemons
            times = process.cpu_times()
            one.cpu = max(one.cpu, times.user + times.system)
            one.rss = max(one.rss, _high_water(process.pid))
            if self._memory:
                one.pss = max(one.pss, process.memory_full_info().pss)

    def _role(self, pid: int, command: list[str]) -> str:
        """What a process is, by the title that it gives itself."""
        text = " ".join(command)
        if text.startswith("ray::"):
            return "ray" if "Actor" in text or "Agent" in text else "worker"
        if pid == self._root:
            return "driver"
        if "prefect" in text:
            return "prefect"
        return "ray" if "/ray/" in text else "other"


def _high_water(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
