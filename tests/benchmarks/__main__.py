"""`make bench`: every figure, as a table and with `--json FILE` as a document."""

from __future__ import annotations

import argparse
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.benchmarks import whole
from tests.benchmarks.figure import Figure, show, written
from tests.benchmarks.worker import view_worker


def measure(folder: Path, records: int, rounds: int) -> list[Figure]:
    """All figures, one after the other, on servers of their own below `folder`."""
    figures: list[Figure] = []
    with whole.house(folder / "whole", records) as house:
        figures.append(Figure("lgsp up, until ready (first start of its data folder)", "s", (house.ready_s,)))
        figures += [Figure(f"memory at rest: {kind}", "MB", (size,)) for kind, size in house.rest_mb.items()]
        figures.append(whole.table_to_table(house, records))
        figures += whole.updates(house, 20 * rounds)
        figures.append(whole.publish_batches(house, 1_000, max(2, records // 2_500)))
        figures.append(whole.publish_singles(house, rounds, 8))
        figures += [Figure(f"memory at most under this load: {k}", "MB", (size,)) for k, size in house.peak_mb.items()]
    return figures + view_worker(folder / "worker", max(20_000, records * 4), rounds)


def machine() -> str:
    parts = [
        f"{psutil.cpu_count()} processors, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        platform.python_version(),
    ]
    return ", ".join([*parts, *(f"{name} {version(name)}" for name in ("confluent-kafka", "polars", "pyruhvro"))])


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    options.add_argument("--records", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="lgsp-bench-") as folder:
        figures = measure(Path(folder), given.records, given.rounds)
    show(figures, machine())
    if given.json:
        given.json.write_text(written(figures, machine()) + "\n")


if __name__ == "__main__":
    main()
