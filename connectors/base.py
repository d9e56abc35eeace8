"""What every connector is: a definition (one YAML file) and something that runs until it is told to stop.

Each system is one module, `connectors.sources.<system>` or `connectors.sinks.<system>`, with a model `Definition` and a
function `build(definition, report) -> Connector`. Nothing here knows any system.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

import connectors.sinks
import connectors.sources
from bus.client import Client, ClientCredentials, Retry
from bus.errors import LgspError
from registry.errors import Problem, Text


class ConnectorError(LgspError):
    """Something of the connector's own side is not as it must be; the bus's answers are `bus.client.ApiError`."""

    code = "connector_error"


class DefinitionInvalid(ConnectorError):
    code = "definition_invalid"
    status = 422


class SystemUnusable(ConnectorError):
    """The agency's system can be reached, but hasn't what the definition names."""

    code = "system_unusable"
    status = 409


class SystemUnreachable(ConnectorError):
    code = "system_unreachable"
    status = 503
    retriable = True


# (event, facts): one line of progress. Facts are counts, positions, codes and times, never values.
Report = Callable[[str, dict[str, Any]], None]


class Connector(Protocol):
    def check(self) -> dict[str, Any]:
        """Look at both ends without moving anything. Returns facts for a person; raises what `run` would."""

    def status(self) -> dict[str, Any]:
        """How far it has come, also while it runs elsewhere."""

    def run(self, stop: threading.Event) -> None:
        """Move records until `stop` is set; may be killed at any point and run again."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reference(Model):
    """A secret that lives elsewhere: in an environment variable, or in a file (relative to the definition)."""

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Reference:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either env or file / hãy khai báo env hoặc file")
        return self


class BusAddress(Model):
    """Where the bus is and as whom: `client_file` is the JSON that the bus shows once, or id and secret apart."""

    url: str = Field(pattern=r"^https?://")
    client_file: Path | None = None
    client_id: str | None = None
    client_secret: Reference | None = None

    @model_validator(mode="after")
    def _credentials(self) -> BusAddress:
        pair = (self.client_id is not None, self.client_secret is not None)
        if pair != ((False, False) if self.client_file is not None else (True, True)):
            raise ValueError(
                "give either client_file, or client_id and client_secret"
                " / hãy khai báo client_file, hoặc client_id và client_secret"
            )
        return self


class DefinitionBase(Model):
    """What every definition says. `path` is where it was read from."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    kind: Literal["source", "sink"]
    system: str
    bus: BusAddress
    path: Path

    def beside(self, path: Path) -> Path:
        """A path of the definition, relative to its own folder."""
        return path if path.is_absolute() else self.path.parent / path

    def secret(self, reference: Reference, where: str) -> SecretStr:
        """The secret itself. Raises DefinitionInvalid naming the place that has none."""
        try:
            value = (
                self.beside(reference.file).read_text().strip() if reference.file else os.environ[reference.env or ""]
            )
        except (OSError, KeyError, UnicodeDecodeError) as error:
            place = f"file {reference.file}" if reference.file else f"environment variable {reference.env}"
            raise self.invalid(
                where,
                "secret_missing",
                Text(
                    f"{place} can't be read ({type(error).__name__})",
                    f"không đọc được {place} ({type(error).__name__})",
                ),
            ) from error
        return SecretStr(value)

    def client(self, retry: Retry) -> Client:
        """A client of the bus as the definition says. Raises DefinitionInvalid."""
        if self.bus.client_file is not None:
            try:
                credentials = ClientCredentials.from_file(self.beside(self.bus.client_file))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise self.invalid(
                    "bus.client_file",
                    "secret_missing",
                    Text(
                        f"no client_id and client_secret could be read from it ({type(error).__name__})",
                        f"không đọc được client_id và client_secret từ tệp này ({type(error).__name__})",
                    ),
                ) from error
        else:
            assert self.bus.client_id is not None
            assert self.bus.client_secret is not None
            secret = self.secret(self.bus.client_secret, "bus.client_secret")
            credentials = ClientCredentials(self.bus.client_id, secret.get_secret_value())
        return Client(self.bus.url, credentials.client_id, credentials.client_secret, retry=retry)

    def invalid(self, where: str, code: str, message: Text) -> DefinitionInvalid:
        return _invalid(self.path, [Problem(where, code, message)])


def load(path: Path) -> DefinitionBase:
    """Read one definition; without a `name` it has its file's. Raises DefinitionInvalid with every problem."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        at = getattr(error, "problem_mark", None)
        where = f"line {at.line + 1}" if at is not None else ""
        what = error.strerror if isinstance(error, OSError) else "not YAML"
        raise _invalid(path, [Problem(where, "unreadable", Text(f"{what}", f"không đọc được: {what}"))]) from error
    if not isinstance(document, dict):
        text = Text("found no mapping; expected kind, system, bus, …", "không thấy ánh xạ; cần kind, system, bus, …")
        raise _invalid(path, [Problem("", "not_a_mapping", text)])
    module = _module(path, document)
    try:
        definition: DefinitionBase = module.Definition.model_validate({"name": path.stem, **document, "path": path})
    except ValidationError as error:
        problems = [
            Problem(
                ".".join(str(part) for part in one["loc"]),
                one["type"],
                Text(f"{one['msg']}", f"không hợp lệ: {one['msg']}"),
            )
            for one in error.errors(include_input=False, include_url=False)
        ]
        raise _invalid(path, problems) from error
    return definition


def build(definition: DefinitionBase, report: Report) -> Connector:
    """The connector of a definition. Raises DefinitionInvalid where a secret can't be read."""
    module = importlib.import_module(f"connectors.{definition.kind}s.{definition.system}")
    connector: Connector = module.build(definition, report)
    return connector


def systems() -> dict[str, list[str]]:
    """What can be connected, by kind: `{"source": ["postgres"], "sink": ["postgres"]}`."""
    packages = {"source": connectors.sources, "sink": connectors.sinks}
    return {
        kind: sorted(one.name for one in pkgutil.iter_modules(package.__path__)) for kind, package in packages.items()
    }


def _module(path: Path, document: dict[str, Any]) -> Any:
    kind, system, known = document.get("kind"), document.get("system"), systems()
    if kind not in known:
        text = Text("expected source or sink", "cần source hoặc sink")
        raise _invalid(path, [Problem("kind", "unknown_kind", text)])
    if system not in known[kind]:
        names = ", ".join(known[kind])
        text = Text(f"expected one of: {names}", f"cần một trong: {names}")
        raise _invalid(path, [Problem("system", "unknown_system", text)])
    return importlib.import_module(f"connectors.{kind}s.{system}")


def _invalid(path: Path, problems: list[Problem]) -> DefinitionInvalid:
    detail = Text(f"{path.name} is not a valid definition", f"{path.name} không phải khai báo kết nối hợp lệ")
    return DefinitionInvalid(detail, problems)
