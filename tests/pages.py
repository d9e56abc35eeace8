"""The pages of docs/reference that are printed from the code, so that they can't say something else.

`python -m tests.pages` writes them anew (`make docs`); `tests/unit/test_pages.py` holds them to the code.
"""

from __future__ import annotations

import importlib
import io
import pkgutil
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from fastapi import APIRouter
from fastapi.routing import APIRoute

import bus.api
import bus.errors
import bus.settings
import registry.errors
from bus.cli import assemble
from bus.commands.output import EXIT_MEANINGS
from bus.errors import LgspError
from registry.errors import ERROR_CLASS_NAMES, RegistryError

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
_PRINTED = "*Printed from the code by `make docs`; a test holds the two together.*"


def pages() -> dict[Path, str]:
    """Each page's path and text. Of `http.md` only the table of operations is printed, between its two marks."""
    return {
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "cli.md": cli_page(),
        REFERENCE / "errors.md": errors_page(),
        REFERENCE / "http.md": http_page((REFERENCE / "http.md").read_text()),
    }


def settings_page() -> str:
    """Every setting with its default and the reason beside it in `bus/settings.py`."""
    lines = [
        "# Settings",
        "",
        _PRINTED,
        "",
        "Read from the environment when a process starts. Options of `lgsp up` go before them.",
        "",
    ]
    for group, rows in _settings():
        title, _, more = group.partition(". ")
        lines += [f"## {title}", "", *([more, ""] if more else []), "| setting | default | why |", "|---|---|---|"]
        lines += [f"| `LGSP_{name.upper()}` | {default} | {why} |" for name, default, why in rows] + [""]
    lines += [
        "## The command line",
        "",
        "| setting | default | what for |",
        "|---|---|---|",
        "| `LGSP_URL` | `http://127.0.0.1:8080` | the bus that commands speak to |",
        "| `LGSP_REGISTRY_URL` | `http://127.0.0.1:8081` | the registry that `lgsp registry` speaks to |",
        "| `LGSP_CLIENT_ID`, `LGSP_CLIENT_SECRET` | – | as whom, where `--as` isn't given |",
        "| `LGSP_LANG` | by `LC_ALL`, `LC_MESSAGES`, `LANG` | `vi` or `en` |",
    ]
    return "\n".join(lines) + "\n"


def _settings() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Groups of (name, default, why), as the comments of the source have them."""
    source = Path(bus.settings.__file__).read_text()
    comments = {
        token.start[0]: (token.start[1], token.string.lstrip("# "))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    group, rows = "", list[tuple[str, str, str]]()
    for number, line in enumerate(source.splitlines(), 1):
        column, comment = comments.get(number, (0, ""))
        if comment and not line[:column].strip():
            if rows:
                yield group, rows
            group, rows = comment, []
            continue
        name = line.strip().partition(":")[0]
        if name in bus.settings.Settings.model_fields and line.startswith("    "):
            rows.append((name, _default(name), comment.replace("|", "\\|")))
    yield group, rows


def _default(name: str) -> str:
    field = bus.settings.Settings.model_fields[name]
    if field.default_factory is not None:
        return "`~/.cache/lgsp`"
    default: Any = field.default
    if default is None:
        return "–"
    if isinstance(default, int) and not name.endswith("port"):
        return f"`{default:_}`"
    return f"`{default}`"


def cli_page() -> str:
    """Exit codes, and every command with its arguments and options."""
    lines = [
        "# The command line",
        "",
        _PRINTED,
        "",
        "`lgsp` speaks to a bus by HTTP (`--url` or `LGSP_URL`) on behalf of a client (`--as FILE`, or `LGSP_CLIENT_ID` and",
        "`LGSP_CLIENT_SECRET`). `--json`, on every command, makes one JSON document on stdout, also for a problem, and nothing else.",
        "Without it there are tables for people, in English or Vietnamese by `LGSP_LANG` or `LANG`; words about the work itself and",
        "problems go to stderr, so that stdout can be piped. `lgsp --install-completion` completes commands in your shell.",
        "",
        "## Exit codes",
        "",
        "| code | meaning | nghĩa |",
        "|---|---|---|",
        *(f"| {code.value} | {text.en} | {text.vi} |" for code, text in EXIT_MEANINGS.items()),
        "",
        "## Commands",
        "",
    ]
    for name, command in _commands(typer.main.get_command(assemble()), "lgsp"):
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        usage = " ".join([name, *((one.metavar or one.name).upper() for one in arguments)])
        lines += [f"### `{usage}`", "", _prose(command.help or ""), ""]
        options = [one for one in command.params if one.param_type_name == "option" and one.name not in _COMMON]
        for one in [*arguments, *options]:
            said = ", ".join(one.opts) if one in options else (one.metavar or one.name).upper()
            lines.append(f"- `{said}`{': ' if _help(one) else ''}{_help(one)}")
        if lines[-1]:
            lines.append("")
    return "\n".join(lines[:-1]) + "\n"


_COMMON = {"url", "who", "as_json", "help", "shown", "install_completion", "show_completion"}


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for one, below in inner.items():
        yield from _commands(below, f"{name} {one}")


def _help(parameter: Any) -> str:
    said = getattr(parameter, "help", None) or ""
    return " ".join(said.split())


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def errors_page() -> str:
    """Codes of the bus and of the registry's rules, and the classes of rejected records."""
    lines = [
        "# Errors",
        "",
        _PRINTED,
        "",
        "An error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `code`, `retriable`, and",
        "`errors[]` of `{path, code, message}`. Programs decide by `code`; texts may change. `Accept-Language: vi` gives",
        "Vietnamese ones. No error repeats a value that was sent.",
        "",
        "| code | status | try again | title | tiêu đề |",
        "|---|---|---|---|---|",
    ]
    seen: dict[str, type[LgspError]] = {}
    for error in _tree(LgspError):
        if error.__module__ == bus.errors.__name__:
            seen.setdefault(error.code, error)
    lines += [
        f"| `{code}` | {one.status} | {'yes' if one.retriable else 'no'} | {one.title.en} | {one.title.vi} |"
        for code, one in seen.items()
    ]
    lines += [
        "",
        "A body that doesn't hold together answers 422 with one of these codes:",
        "",
        "| code | what |",
        "|---|---|",
    ]
    for wrong in _tree(RegistryError):
        if wrong is not RegistryError and wrong.__module__ == registry.errors.__name__ and "code" in wrong.__dict__:
            lines.append(f"| `{wrong.code}` | {_said_of(wrong)} |")
    lines += [
        "",
        "## Why a record is in quarantine",
        "",
        "A rejected record isn't an error of the request: the answer is 207 (some) or 422 (all), with `rejected[]` of",
        "`{index, key, class, path, code, message}`. `code` is the contract's own code of the rule, or `structure.…`.",
        "",
        "| class | meaning | loại lỗi |",
        "|---|---|---|",
        *(f"| `{one.value}` | {text.en} | {text.vi} |" for one, text in ERROR_CLASS_NAMES.items()),
    ]
    return "\n".join(lines) + "\n"


def _said_of(error: type[RegistryError]) -> str:
    """The word beside the class in the tree at the top of `registry/errors.py`, else its name in words."""
    for line in (registry.errors.__doc__ or "").splitlines():
        name, _, said = line.strip("│├└─ ").partition("  ")
        if error.__name__ in name and said.strip():
            return said.strip()
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in error.__name__)
    return words.strip()


def _tree(error: type[Any]) -> Iterator[type[Any]]:
    yield error
    for below in error.__subclasses__():
        yield from _tree(below)


BEGIN, END = "<!-- operations: printed by make docs -->", "<!-- operations end -->"


def http_page(page: str) -> str:
    """The page with the table of operations between its marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [BEGIN, "", "| method | path | what |", "|---|---|---|"]
    lines += [f"| {method} | `{path}` | {what} |" for path, method, what in sorted(_operations())]
    return before + "\n".join([*lines, "", END]) + after


def _operations() -> Iterator[tuple[str, str, str]]:
    for module in pkgutil.iter_modules(bus.api.__path__):
        router = getattr(importlib.import_module(f"bus.api.{module.name}"), "router", None)
        if isinstance(router, APIRouter):
            for route in router.routes:
                if isinstance(route, APIRoute):
                    for method in sorted(route.methods):
                        yield route.path, method, route.summary or route.name


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
