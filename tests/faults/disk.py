"""A small disk that can be filled to its last page and given room again.

Where root runs it is a real one, so that SQLite meets ENOSPC. Elsewhere no file of the gateway's processes may grow past a few pages
(RLIMIT_FSIZE): SQLite meets EFBIG at the same place, in the middle of a COMMIT.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIZE: Final = "48m"
LEFT_BYTES: Final = 160_000
LIMIT_BYTES: Final = 100_000


@dataclass(slots=True)
class SmallDisk:
    """folder: on it. mounted: whether it is a disk of its own."""

    folder: Path
    mounted: bool

    @property
    def is_called(self) -> str:
        """For the table."""
        return f"ENOSPC on tmpfs of {SIZE}" if self.mounted else "EFBIG by RLIMIT_FSIZE"

    def fill(self, pids: Sequence[int]) -> None:
        """Leave room for a few writes. pids: of the processes that write to it."""
        if not self.mounted:
            _limit(pids, LIMIT_BYTES)
            return
        with (self.folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(65_536)):
                pass
        size = (self.folder / "filler").stat().st_size
        os.truncate(self.folder / "filler", max(0, size - LEFT_BYTES))

    def free(self, pids: Sequence[int]) -> None:
        """Give the room back."""
        if not self.mounted:
            _limit(pids, resource.RLIM_INFINITY)
        (self.folder / "filler").unlink(missing_ok=True)


def _limit(pids: Sequence[int], size: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """A folder on a small disk, or one that is treated so."""
    folder.mkdir(parents=True, exist_ok=True)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and _done(mounting)
    try:
        yield SmallDisk(folder, mounted)
    finally:
        if mounted:
            _done(["umount", "-l", str(folder)])


def _done(command: Sequence[str]) -> bool:
    run: Callable[..., subprocess.CompletedProcess[bytes]] = subprocess.run
    return run(command, capture_output=True, check=False).returncode == 0
