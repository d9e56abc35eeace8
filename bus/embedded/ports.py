"""Ports of this machine: is one free, who has it, and one that is free. Addresses are always 127.0.0.1 here."""

from __future__ import annotations

import contextlib
import socket

import psutil

from bus.errors import PortTaken
from registry.errors import Text

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ports in TIME_WAIT can be listened on
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def listener(port: int) -> psutil.Process | None:
    """The process that listens on `port`, where this user may know it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and connection.pid and address and address.port == port:
                return psutil.Process(connection.pid)
    return None


def holder_of(port: int) -> str | None:
    """Name and pid of the process that listens on `port`, where this user may know it."""
    with contextlib.suppress(psutil.Error):
        if (process := listener(port)) is not None:
            return f"{process.name()} (pid {process.pid})"
    return None


def claim(port: int, option: str, host: str = LOOPBACK) -> int:
    """`port`, or a free one for 0. Raises PortTaken, which names the process and `option`, the way to another port."""
    if port == 0:
        return free_port()
    if is_free(port, host):
        return port
    holder = holder_of(port)
    raise PortTaken(
        Text(
            f"Port {port} is taken by {holder or 'another process'}. Stop it, or choose another port with {option}.",
            f"Cổng {port} đang bị {holder or 'một tiến trình khác'} sử dụng. Hãy dừng tiến trình đó hoặc chọn cổng "
            f"khác bằng {option}.",
        )
    )
