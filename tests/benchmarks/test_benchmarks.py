"""The benchmarks run and give every figure; how fast is for `make bench` to say."""

from pathlib import Path

import pytest

from tests.benchmarks.__main__ import machine, measure
from tests.benchmarks.figure import written


@pytest.mark.timeout(600)
def test_every_figure_is_measured_beside_its_yardstick(tmp_path: Path) -> None:
    figures = measure(tmp_path, records=1_000, rounds=1)
    assert all(value > 0 for figure in figures for value in (*figure.values, *figure.yardstick))
    assert sum(figure.ratio is not None for figure in figures) >= 6
    assert machine().split(",")[0] in written(figures, machine())
