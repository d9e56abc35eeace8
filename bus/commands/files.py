"""Files that commands read; `-` is stdin."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer

STDIN = Path("-")


def readable(file: Path) -> Path:
    """For an argument's `callback`: a file that can't be read is wrong usage, told before anything is done."""
    if file != STDIN and not (file.is_file() and os.access(file, os.R_OK)):
        raise typer.BadParameter(f"{file}: no file that can be read / không có tệp đọc được")
    return file


@contextmanager
def opened(file: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file and its size in bytes; the size of what comes by stdin isn't known."""
    if file == STDIN:
        yield sys.stdin.buffer, None
        return
    with file.open("rb") as content:
        yield content, file.stat().st_size
