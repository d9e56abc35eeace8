"""Runs one server as its child and stops it as soon as the bus is gone: a program of its own, standard library only.

    python -I -S keeper.py NAME < order.json     the order: {"argv": [...], "env": {...}, "life": 3, "report": 4, ...}

Why a process between the bus and its server: Linux can tie a child's life to its parent (PR_SET_PDEATHSIG), but to the
*thread* that forked, and other systems can't. This process has one thread. It holds the reading end of a pipe whose
writing end is the bus's: end of file means that the bus closed it or died, also by kill -9. If this process is killed,
PR_SET_PDEATHSIG stops the server on Linux; elsewhere the next start finds the leftover by its pid file.

It also writes the server's output to a log of bounded size. It is not a supervisor: it never starts a server again.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
POLL_S = 1.0  # how soon a parent's death is seen where a forked copy of the pipe hides it
STARTED = "=== started "
CANNOT_RUN_AS = 81  # exit code: the wanted user or namespace was refused


def main() -> int:
    order = json.loads(sys.stdin.read())  # not an argument: every user of the machine can read those
    parent = os.getppid()
    for fd in (order["life"], order["report"]):
        os.set_inheritable(fd, False)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    output_read, output_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        become_server(order, output_write)
    os.close(output_write)
    os.set_blocking(output_read, False)
    os.write(order["report"], str(pid).encode())
    os.close(order["report"])

    log = Log(order["log"], order["log_bytes_max"])
    log.write(f"{STARTED}{time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n".encode())
    open_fds = [order["life"], output_read, wake_read]
    stop_at: float | None = None
    while True:
        ready = select.select(open_fds, [], [], POLL_S)[0]
        if output_read in ready and not log.take(output_read):
            open_fds.remove(output_read)
        asked = wake_read in ready and signal.SIGTERM in os.read(wake_read, 4096)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            log.take(output_read)
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if stop_at is None and (asked or order["life"] in ready or os.getppid() != parent):
            open_fds.remove(order["life"])
            os.kill(pid, order["stop_signal"])
            stop_at = time.monotonic() + order["grace_s"]
        elif stop_at is not None and time.monotonic() > stop_at:
            os.kill(pid, signal.SIGKILL)


def become_server(order: dict[str, Any], output: int) -> NoReturn:
    """In the forked child: take the wanted identity, tie this life to the keeper's, and exec."""
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.setpgid(0, 0)
        os.umask(0o077)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        keeper = os.getppid()
        system = libc() if sys.platform == "linux" else None  # now: as another user Python may be out of reach
        try:
            take_identity(order["run_as"], system)
        except OSError as error:
            os.write(2, f"cannot run as {order['run_as']}: {error}\n".encode())
            os._exit(CANNOT_RUN_AS)
        if system is not None:
            system.prctl(PR_SET_PDEATHSIG, order["stop_signal"], 0, 0, 0)  # after any change of user: that clears it
            if os.getppid() != keeper:
                os._exit(1)
        os.chdir(order["cwd"])
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 (no shell wanted)
    except BaseException as error:  # noqa: BLE001 (whatever it is, this fork must never run the keeper's loop)
        os.write(2, f"cannot start {order['argv'][0]}: {error}\n".encode())
    os._exit(82)


def take_identity(run_as: str, system: Any) -> None:
    """`run_as` is "self", "namespace" (seen as uid 1000 by the server, files stay the caller's) or "UID:GID"."""
    if run_as == "self":
        return
    if run_as == "namespace":
        uid, gid = os.geteuid(), os.getegid()
        if system is None or system.unshare(CLONE_NEWUSER) != 0:
            raise OSError("this machine does not permit user namespaces")
        for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 (no pathlib: it would double this process)
                file.write(text)
        return
    uid, gid = (int(part) for part in run_as.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


class Log:
    """A file that keeps the last `bytes_max` to twice that: when full it becomes `<path>.1` and a new one is begun."""

    def __init__(self, path: str, bytes_max: int) -> None:
        self.path, self.bytes_max = path, bytes_max
        self.fd = self._open()
        self.size = os.fstat(self.fd).st_size

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def take(self, source: int) -> bool:
        """Move what is there from `source` to the file; False at its end."""
        while True:
            try:
                chunk = os.read(source, 65536)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self.write(chunk)

    def write(self, chunk: bytes) -> None:
        """Add to the file. A full disk loses log lines, not the server."""
        with contextlib.suppress(OSError):
            if self.size + len(chunk) > self.bytes_max:
                os.replace(self.path, self.path + ".1")  # noqa: PTH105 (no pathlib: see above)
                os.close(self.fd)
                self.fd, self.size = self._open(), 0
            self.size += os.write(self.fd, chunk)


def _pipe() -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    return read, write


if __name__ == "__main__":
    sys.exit(main())
