"""Where a fault waits for its moment: files in one folder, shared by whoever orders it and the processes it strikes.

A file `<point>~<action>~<n>` strikes at the n-th call that fits, counted over all processes; who takes the last step renames
it to `fired~<point>~<action>~<pid>` and is struck. A rename is one step, so a fault strikes once.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KILL: Final = "kill"
STOP: Final = "stop"
_FIRED: Final = "fired"


@dataclass(frozen=True, slots=True)
class Fired:
    """A fault that struck. pid: of the process."""

    point: str
    action: str
    pid: int


class Room:
    """The folder of one site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def arm(self, point: str, action: str = KILL, nth: int = 1) -> None:
        """Let a fault strike at the n-th call from now on."""
        (self.folder / f"{point}~{action}~{nth}").touch()

    def disarm(self) -> None:
        """Take back what has not struck."""
        for file in self.folder.iterdir():
            if not file.name.startswith(_FIRED):
                file.unlink(missing_ok=True)

    def forget(self, fired: Fired) -> None:
        """Let the same process be struck again: a second blow would leave the same file."""
        (self.folder / f"{_FIRED}~{fired.point}~{fired.action}~{fired.pid}").unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything."""
        for file in self.folder.iterdir():
            file.unlink(missing_ok=True)

    def hit(self, point: str, pid: int) -> str | None:
        """One call of a point that fits: the action that strikes now, or None."""
        for file in list(self.folder.iterdir()):
            name, action, number = file.name.split("~")[:3]
            if name != point:
                continue
            left = int(number) - 1
            to = f"{point}~{action}~{left}" if left else f"{_FIRED}~{point}~{action}~{pid}"
            with suppress(FileNotFoundError):  # another process was faster: this call counts for nothing
                file.rename(self.folder / to)
                return None if left else action
        return None

    def fired(self) -> list[Fired]:
        """What has struck."""
        parts = [file.name.split("~") for file in sorted(self.folder.iterdir()) if file.name.startswith(_FIRED)]
        return [Fired(point, action, int(pid)) for _, point, action, pid in parts]


def seen_file(clock: Path) -> Path:
    """What a process leaves beside the file of its clock once it read a wrong time from it."""
    return clock.with_name(f"{clock.name}.seen")
