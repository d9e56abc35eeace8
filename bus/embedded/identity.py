"""As whom PostgreSQL runs, which refuses root. Kafka doesn't care."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

from bus.embedded import keeper
from bus.embedded.folder import write_private
from bus.errors import EmbeddedError
from registry.errors import Text


def choose_identity(folder: Path, binaries: Path) -> str:
    """As whom the server runs (see keeper): a user namespace shows root as another number.

    Where namespaces aren't permitted it runs as `nobody`, who then owns `folder`; a folder that belongs to another user
    already stays that user's. Raises EmbeddedError where that user can't reach the folder or the binaries.
    """
    if os.geteuid() != 0:
        return "self"
    owner = folder.stat()
    if owner.st_uid == 0 and namespaces_permitted():
        return "namespace"
    uid, gid = (owner.st_uid, owner.st_gid) if owner.st_uid != 0 else unprivileged()
    problem = out_of_reach(folder.parent, binaries, uid, gid)
    if problem is not None:
        raise EmbeddedError(problem)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)
    return f"{uid}:{gid}"


def unprivileged() -> tuple[int, int]:
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def out_of_reach(parent: Path, binaries: Path, uid: int, gid: int) -> Text | None:
    """What keeps this user from `parent` or from `binaries`, and what to do about it."""
    for path in (parent, binaries / "postgres"):
        closed = closed_to(path, uid, gid)
        if closed is not None:
            return Text(
                f"PostgreSQL does not run as root, and user {uid} can't enter {closed} to reach {path}. Run the bus as "
                "another user, permit user namespaces, or use folders that everyone may enter.",
                f"PostgreSQL không chạy bằng root và người dùng {uid} không vào được {closed} để tới {path}. Hãy chạy "
                "bằng người dùng khác, cho phép user namespace hoặc dùng thư mục ai cũng vào được.",
            )
    return None


def namespaces_permitted() -> bool:
    """Whether a process of this user may make a user namespace and map itself in it: tried, since no file says so."""
    program = f"import sys; sys.path.insert(0, {str(Path(keeper.__file__).parent)!r}); import keeper; "
    program += "keeper.take_identity('namespace', keeper.libc())"
    if sys.platform != "linux":
        return False
    return subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=False).returncode == 0


def closed_to(path: Path, uid: int, gid: int) -> Path | None:
    """The first folder on the way to `path` that this user may not enter."""
    for folder in reversed(path.parents if path.is_file() else [path, *path.parents]):
        found = folder.stat()
        bit = stat.S_IXUSR if found.st_uid == uid else stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH
        if not found.st_mode & bit:
            return folder
    return None


def write_as(run_as: str, path: Path, text: str) -> None:
    """Write `path`, mode 0600, for the user that the server runs as."""
    write_private(path, text)
    if ":" in run_as:
        uid, gid = (int(part) for part in run_as.split(":"))
        os.chown(path, uid, gid)
