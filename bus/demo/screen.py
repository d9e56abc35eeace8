"""What the demo shows on a terminal: steps, bars, facts and tables, each in Vietnamese and English.

Quiet for `--json`; without a terminal plain lines, no bars. It decides nothing and knows no step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text as Styled

from registry.errors import Text

WIDTH_MAX = 100  # lines longer than this are hard to read on any terminal

# (done so far, in all): what a bar is told.
Advance = Callable[[int, int], None]


class Screen:
    """A terminal for a person, or nothing at all for a program."""

    def __init__(self, *, quiet: bool, console: Console | None = None) -> None:
        self.console = console or Console(quiet=quiet, highlight=False)
        if self.console.width > WIDTH_MAX:
            self.console.width = WIDTH_MAX
        self._lively = self.console.is_terminal and not quiet

    def panel(self, title: Text, lines: Sequence[Text]) -> None:
        body: list[RenderableType] = [Styled(title.vi, style="bold"), Styled(title.en, style="bold dim")]
        for line in lines:
            body += [Styled(), _both(line)]
        self.console.print(Panel(Group(*body), border_style="cyan", padding=(1, 2)))

    def next_steps(self, title: Text, lines: Sequence[tuple[str, str]]) -> None:
        """The end: what held, and what to try next, each with a word about it."""
        grid = Table.grid(padding=(0, 2))
        for command, about in lines:
            grid.add_row(Styled(command, style="bold green"), Styled(about))
        body = Group(Styled(title.vi, style="bold green"), Styled(title.en, style="green"), Styled(), grid)
        self.console.print()
        self.console.print(Panel(body, border_style="green", padding=(1, 2)))

    def step(self, number: int, of: int, title: Text) -> None:
        self.console.print()
        head = Styled.assemble((f" {number}/{of} ", "reverse"), " ", (title.vi, "bold cyan"), " · ", (title.en, "cyan"))
        self.console.print(head)

    def fact(self, text: Text) -> None:
        """What was seen to hold."""
        self._marked("✓", "bold green", text)

    def broken(self, text: Text, lines: Sequence[str]) -> None:
        """What did not hold, with what was found and expected."""
        self._marked("✗", "bold red", text)
        for line in lines:
            self.console.print(Padding(Styled(line), (0, 0, 0, 4)))

    def table(self, columns: Sequence[Text], rows: Sequence[Sequence[object]], *, numbers: Sequence[int] = ()) -> None:
        """`numbers` are the columns that stand to the right."""
        table = Table(header_style="bold", border_style="bright_black")
        for place, column in enumerate(columns):
            table.add_column(f"{column.vi}\n[dim]{column.en}[/]", justify="right" if place in numbers else "left")
        for row in rows:
            table.add_row(*(one if isinstance(one, Styled) else Styled(str(one)) for one in row))
        self.console.print(Padding(table, (0, 0, 0, 4)))

    @contextmanager
    def bar(self, text: Text, total: int | None = None, *, in_bytes: bool = False) -> Iterator[Advance]:
        """A bar while something takes long; what is yielded is told how far it is."""
        columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=16)]
        if total is not None:
            columns.append(DownloadColumn() if in_bytes else MofNCompleteColumn())
        columns.append(TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self._lively) as progress:
            task = progress.add_task(f"  {escape(text.vi)} · {escape(text.en)}", total=total)
            last = time.monotonic()

            def advance(done: int, of: int) -> None:
                nonlocal last
                if time.monotonic() - last > 0.05 or done >= of:  # a bar costs time, what it measures shouldn't
                    last = time.monotonic()
                    progress.update(task, completed=done, total=of)

            yield advance

    def _marked(self, mark: str, style: str, text: Text) -> None:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column()
        grid.add_row(Styled(mark, style), _both(text))
        self.console.print(Padding(grid, (0, 0, 0, 2)))


def number(count: int) -> Text:
    """A count as each language writes it: 49.504 and 49,504."""
    english = f"{count:,}"
    return Text(english, english.replace(",", "."))


def seconds(value: float) -> Text:
    """A time as each language writes it, in a unit that suits it."""
    english = f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
    return Text(english, english.replace(".", ",").replace(" s", " giây"))


def _both(text: Text) -> Group:
    return Group(Styled(text.vi), Styled(text.en, style="dim"))
