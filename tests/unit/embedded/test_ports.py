from __future__ import annotations

import os
import socket

import pytest

from bus.embedded import ports
from bus.errors import PortTaken


def test_a_taken_port_names_the_port_the_process_and_the_option() -> None:
    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(PortTaken) as refused:
            ports.claim(port, "--kafka-port")
    for said in refused.value.detail:
        assert str(port) in said
        assert "--kafka-port" in said
        assert f"pid {os.getpid()}" in said


def test_port_zero_chooses_a_free_one() -> None:
    port = ports.claim(0, "--kafka-port")
    assert port > 1024
    assert ports.is_free(port)
