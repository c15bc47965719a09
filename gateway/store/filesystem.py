"""What the store asks of the file system under a SQLite database: that it is local, and that room is left.

Locks and shared memory of SQLite's WAL do not hold over a network: two hosts would write into one another's pages without
either being told (https://sqlite.org/wal.html). Such a place is refused; where the system does not tell its mounts, nothing is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

NETWORK_TYPES: Final = frozenset(
    {
        "9p", "acfs", "afpfs", "afs", "auristorfs", "beegfs", "ceph", "cifs", "coda", "davfs", "davfs2", "gfs2", "glusterfs", "gpfs",
        "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "virtiofs", "vboxsf", "vmhgfs",
        "webdav",
    }
)  # fmt: skip
NETWORK_FUSE: Final = frozenset(
    {
        "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "curlftpfs", "davfs", "davfs2", "gcsfuse", "geesefs", "glusterfs", "goofys",
        "juicefs", "moosefs", "mfs", "mount.davfs", "nfs", "rclone", "s3fs", "s3ql", "smbnetfs", "sshfs", "vmhgfs-fuse", "mountpoint-s3",
    }
)  # fmt: skip
_MOUNTS: Final = Path("/proc/self/mounts")
_ESCAPES: Final = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


class NetworkFileSystem(Exception):
    """The database file lies on a network file system; the message names the place and its kind."""


def require_local(path: Path, mounts: str | None = None) -> None:
    """Refuse a database file on a network file system. Raises NetworkFileSystem.

    mounts: text in the form of /proc/self/mounts; default: that of this machine.
    """
    kind = filesystem_type(path, mounts)
    if kind is not None and is_network(kind):
        raise NetworkFileSystem(f"{path} lies on a network file system ({kind}); SQLite needs a local disk. Use PostgreSQL there.")


def is_network(kind: str) -> bool:
    """Whether a file system type of the mount table is one that other hosts may write to."""
    name, _, inner = kind.lower().partition(".")
    return name in NETWORK_TYPES or (name in ("fuse", "fuseblk") and inner in NETWORK_FUSE)


def filesystem_type(path: Path, mounts: str | None = None) -> str | None:
    """The type of the mount a path lies under, or None where the system does not tell."""
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    place, found, longest = path.resolve(), None, -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount_point = Path(_unescape(fields[1]))
        # of mounts on one point the last hides the others
        if place.is_relative_to(mount_point) and len(mount_point.parts) >= longest:
            found, longest = fields[2], len(mount_point.parts)
    return found


def _unescape(text: str) -> str:
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    return text


def free_bytes(path: Path) -> int:
    """Bytes an ordinary process may still write on the file system of a path. Raises OSError."""
    return shutil.disk_usage(path if path.exists() else path.parent).free


def create_private(path: Path) -> None:
    """Make an empty file that only its owner reads, unless it is there: SQLite gives its side files the same rights.

    One that is there is not opened, not even for a moment: closing it would drop every lock this process holds on it, and
    another process that closes the database would then delete the journal we go on writing to, with all that it holds
    (https://sqlite.org/howtocorrupt.html §2.2).
    """
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
