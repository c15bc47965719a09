"""Where a SQLite database may lie, who may read it, and how much room it asks for."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from gateway.errors import Unavailable
from gateway.store import filesystem
from gateway.store.database import Database
from gateway.store.filesystem import NetworkFileSystem, filesystem_type, require_local

MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/export /srv nfs4 rw 0 0
/dev/vdb /srv/local ext4 rw 0 0
host /mnt/a\\040b fuse.sshfs rw 0 0
first /data ext4 rw 0 0
second /data 9p rw 0 0
grpcfuse /desk fuse.grpcfuse rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/gateway.db", "ext4"),
        ("/srv/gateway.db", "nfs4"),
        ("/srv/local/gateway.db", "ext4"),
        ("/srvother/gateway.db", "ext4"),
        ("/mnt/a b/gateway.db", "fuse.sshfs"),
        ("/data/gateway.db", "9p"),
    ],
)
def test_a_path_lies_on_its_deepest_and_last_mount(tmp_path, path, kind):
    assert filesystem_type(tmp_path.__class__(path), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse.sshfs", "fuse.s3fs", "fuse.glusterfs"])
def test_a_network_file_system_is_refused(tmp_path, kind):
    with pytest.raises(NetworkFileSystem, match=kind):
        require_local(tmp_path / "gateway.db", f"far:/away / {kind} rw 0 0\n")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk", "fuse.grpcfuse"])
def test_a_local_file_system_is_taken(tmp_path, kind):
    require_local(tmp_path / "gateway.db", f"disk / {kind} rw 0 0\n")


def test_a_database_on_a_network_file_system_is_not_opened(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text("far:/away / nfs4 rw 0 0\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)
    with pytest.raises(NetworkFileSystem, match="PostgreSQL"):
        Database(f"sqlite:///{tmp_path}/gateway.db")


def test_a_link_to_a_network_file_system_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    mounts = f"disk / ext4 rw 0 0\nfar:/away {tmp_path.resolve()}/far nfs rw 0 0\n"
    with pytest.raises(NetworkFileSystem):
        require_local(tmp_path / "near" / "gateway.db", mounts)


def test_where_the_system_does_not_tell_its_mounts_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "_MOUNTS", tmp_path / "nothing")
    require_local(tmp_path / "gateway.db")


def test_below_the_floor_of_free_space_it_is_not_ready_and_still_answers(sqlite_url, open_database, tmp_path):
    free = shutil.disk_usage(tmp_path).free
    roomy, tight = open_database(sqlite_url, free_space_floor_bytes=0), open_database(sqlite_url, free_space_floor_bytes=4 * free)
    assert roomy.ready()
    assert not tight.ready()
    assert tight.write(lambda unit: "kept") == "kept"


def test_only_its_owner_reads_a_database_and_what_lies_beside_it(tmp_path, open_database):
    previous = os.umask(0)
    try:
        database = open_database(f"sqlite:///{tmp_path}/gateway.db")
        database.create_tables()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(previous)
    assert modes == dict.fromkeys(("gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock"), 0o600)


def test_a_database_file_that_was_replaced_is_not_written_to(sqlite_url, open_database, tmp_path):
    heard = []
    database = open_database(sqlite_url, lock_seconds=2, on_broken=lambda: heard.append("broken"))
    database.write(lambda unit: None)
    file = tmp_path / "database" / "gateway.db"
    shutil.copyfile(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)
    with pytest.raises(Unavailable):
        database.write(lambda unit: None)
    assert not database.ready()
