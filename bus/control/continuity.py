"""What a new version of a contract may change beside the one in force: what subscribers of the same major rely on.

Schemas are the registry's to compare; here are the owner, the order of versions, the key, the views and the partitions.
"""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import Connection, select

from bus.control import agencies
from bus.control.owners import owner_of
from bus.errors import NotFound
from bus.log import topics as names
from bus.log.topics import Topics
from bus.model import ContractState
from bus.store.tables import contract_versions
from registry import contract as registry_contract
from registry.contract import Contract
from registry.errors import Problem, Text
from registry.store import RegistryStore
from registry.view import View, compile_view

IN_FORCE = (ContractState.ACTIVE, ContractState.DEPRECATED)
_NO_SECRET = bytes(16)  # enough to derive a view's schema; keys are hashed elsewhere, with the real one


def view_of(contract: Contract, name: str) -> View:
    """A view compiled for what is known without its secret: schema, reader's attribute, whether its key is granted."""
    return compile_view(contract, name, _NO_SECRET)


@lru_cache(maxsize=32)
def load(files: bytes) -> Contract:
    """The contract in a stored zip."""
    return registry_contract.load_zip(files)


def numbers(version: str) -> tuple[int, ...]:
    """A version for comparing."""
    return tuple(int(part) for part in version.split("."))


def ownership(connection: Connection, contract: Contract) -> list[Problem]:
    """The owner is an agency, and the one that answers for earlier versions: a contract can't be taken over."""
    try:
        agencies.get_in(connection, contract.owner)
    except NotFound:
        message = Text(
            f"no agency {contract.owner}; register it first", f"chưa có cơ quan {contract.owner}; hãy đăng ký trước"
        )
        return [Problem("owner", "not_found", message)]
    before = owner_of(connection, contract.id)
    if before in (None, contract.owner):
        return []
    message = Text(
        f"found {contract.owner}, expected {before}, which answers for {contract.id}",
        f"là {contract.owner}, cần {before} là cơ quan chủ quản của {contract.id}",
    )
    return [Problem("owner", "changed", message)]


def continuity(connection: Connection, contract: Contract) -> list[Problem]:
    """What subscribers of the same major rely on beyond the schema: the order of versions, the key, the views."""
    rows = connection.execute(
        select(contract_versions.c.version, contract_versions.c.files).where(
            contract_versions.c.contract == contract.id,
            contract_versions.c.major == contract.major,
            contract_versions.c.state.in_(IN_FORCE),
        )
    ).all()
    if not rows:
        return []
    newest = max(rows, key=lambda row: numbers(row.version))
    problems = []
    if numbers(contract.version) <= numbers(newest.version):
        message = Text(
            f"found {contract.version}, expected more than {newest.version}, which is in force",
            f"là {contract.version}, cần lớn hơn {newest.version} đang hiệu lực",
        )
        problems.append(Problem("version", "not_newer", message))
    before = load(bytes(newest.files))
    if before.key != contract.key:
        message = Text(
            f"the key was {before.key}, found {contract.key}; another key needs a new major version",
            f"khóa là {before.key}, nay là {contract.key}; đổi khóa cần phiên bản chính mới",
        )
        problems.append(Problem("key", "changed", message))
    for name in before.views:
        problems += _view_continuity(before, contract, name)
    return problems


def _view_continuity(before: Contract, contract: Contract, name: str) -> list[Problem]:
    path = f"views.{name}"
    if name not in contract.views:
        message = Text(
            f"view {name} is gone; taking one away needs a new major version",
            f"thiếu khung nhìn {name}; bỏ khung nhìn cần phiên bản chính mới",
        )
        return [Problem(path, "removed", message)]
    old, new = view_of(before, name), view_of(contract, name)
    problems = []
    if old.reader_attribute != new.reader_attribute:
        message = Text(
            f"asked the reader for {old.reader_attribute or 'nothing'}, now for {new.reader_attribute or 'nothing'};"
            " that needs a new major version",
            f"trước dựa vào thuộc tính {old.reader_attribute or '(không)'}, nay {new.reader_attribute or '(không)'};"
            " cần phiên bản chính mới",
        )
        problems.append(Problem(f"{path}.filter", "reader_changed", message))
    if old.key_granted != new.key_granted:
        message = Text(
            "granting the key or no longer granting it needs a new major version",
            "cấp hoặc thôi cấp trường khóa cần phiên bản chính mới",
        )
        problems.append(Problem(f"{path}.fields", "key_granted_changed", message))
    return problems


def incompatibilities(registry: RegistryStore, contract: Contract) -> list[Problem]:
    """What the registry would have against the contract's schemas, without registering anything."""
    data = names.subject(names.data_topic(contract.id, contract.major))
    file = f"v{contract.major}.avsc"
    problems = [
        Problem(f"{file}:{one.path}", one.code, one.message) for one in registry.problems(data, contract.schema)
    ]
    for name in contract.views:
        view = view_of(contract, name)
        if not view.passthrough:  # else it has the contract's own schema
            subject = names.subject(names.view_topic(contract.id, contract.major, name))
            problems += [
                Problem(f"views.{name}:{one.path}", one.code, one.message)
                for one in registry.problems(subject, view.schema)
            ]
    return problems


def partition_problems(topics: Topics, contract: Contract) -> list[Problem]:
    found = topics.partitions(names.data_topic(contract.id, contract.major))
    if not found or contract.topic.partitions in (None, found):
        return []
    message = Text(
        f"found {contract.topic.partitions}, expected {found} as now; another number needs a new major version",
        f"là {contract.topic.partitions}, cần {found} như hiện nay; đổi số phân vùng cần phiên bản chính mới",
    )
    return [Problem("topic.partitions", "changed", message)]
