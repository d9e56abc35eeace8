"""Confluent's Schema Registry API over a RegistryStore: subjects, versions, ids, compatibility, levels.

Served: what a Confluent client needs for Avro. Contexts, references, metadata, rule sets, import and read-only modes
are refused with a clear answer, never taken and forgotten. Reference:
https://docs.confluent.io/platform/current/schema-registry/develop/api.html

Not here: who may do what (`authorize` is given), how HTTP is spoken (`registry.wire`), health and metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response

from registry.compatibility import DEFAULT_LEVEL, Level
from registry.errors import AccessDenied, Text
from registry.schema import Schema, parse
from registry.store import Registered, RegistryStore, Shown, check_subject
from registry.wire import (
    V1_JSON,
    ConfigGiven,
    Refused,
    SchemaGiven,
    Wire,
    answer,
    decode,
    install_errors,
    path_text,
    read_body,
)

Authorize = Callable[[Request, Literal["read", "write"], str | None], None]
"""Raises AccessDenied where the request may not do this; the subject is None for what concerns all subjects."""

_VERSION_MAX = 2**31 - 1


def create_app(store: RegistryStore, authorize: Authorize) -> FastAPI:
    """The registry as an ASGI application. `authorize` is asked, in a worker thread, before every act."""
    app = FastAPI(title="Schema registry", redirect_slashes=False, docs_url=None, redoc_url=None)
    app.add_middleware(Wire)
    install_errors(app)
    for routes in (_subjects, _schemas, _compatibility, _config):
        app.include_router(routes(store, authorize))
    return app


def _subject(subject: str) -> str:
    name = path_text(subject)
    check_subject(name)
    return name


def _version(version: str) -> int | Literal["latest"]:
    if version in ("latest", "-1"):
        return "latest"
    if version.isascii() and version.isdigit() and 0 < int(version[:12]) <= _VERSION_MAX:
        return int(version)
    shown = path_text(version)[:50]
    raise Refused(
        422,
        42202,
        Text(
            f"The specified version {shown!r} is not a valid version id. "
            f'Allowed values are between [1, {_VERSION_MAX}] and the string "latest"',
            f'Phiên bản {shown!r} không hợp lệ. Giá trị cho phép: từ 1 đến {_VERSION_MAX}, hoặc "latest"',
        ),
    )


def _id(schema_id: str) -> int:
    return int(schema_id) if schema_id.isascii() and schema_id.isdigit() and len(schema_id) < 12 else 0


Subject = Annotated[str, Depends(_subject)]
Version = Annotated[int | Literal["latest"], Depends(_version)]
SchemaId = Annotated[int, Depends(_id)]
Body = Annotated[bytes, Depends(read_body)]
Deleted = Annotated[bool, Query()]
DeletedOnly = Annotated[bool, Query(alias="deletedOnly")]


def _subjects(store: RegistryStore, authorize: Authorize) -> APIRouter:
    router = APIRouter(prefix="/subjects")

    @router.get("")
    def subjects(
        request: Request,
        deleted: Deleted = False,
        deleted_only: DeletedOnly = False,
        prefix: Annotated[str, Query(alias="subjectPrefix")] = "",
    ) -> Response:
        authorize(request, "read", None)
        return answer(store.subjects(prefix, _shown(deleted, deleted_only)))

    @router.post("/{subject}")
    def lookup(request: Request, subject: Subject, body: Body, deleted: Deleted = False) -> Response:
        authorize(request, "read", subject)
        return answer(_told(store.lookup(subject, _schema(body), _shown(deleted))))

    @router.post("/{subject}/versions")
    def register(request: Request, subject: Subject, body: Body) -> Response:
        authorize(request, "write", subject)
        registered = store.register(subject, _schema(body))
        return answer({"id": registered.id, "version": registered.version})

    @router.get("/{subject}/versions")
    def versions(
        request: Request, subject: Subject, deleted: Deleted = False, deleted_only: DeletedOnly = False
    ) -> Response:
        authorize(request, "read", subject)
        return answer(store.versions(subject, _shown(deleted, deleted_only)))

    @router.get("/{subject}/versions/{version}")
    def version(request: Request, subject: Subject, version: Version, deleted: Deleted = False) -> Response:
        authorize(request, "read", subject)
        return answer(_told(_at(store, subject, version, _shown(deleted))))

    @router.get("/{subject}/versions/{version}/schema")
    def schema(request: Request, subject: Subject, version: Version, deleted: Deleted = False) -> Response:
        authorize(request, "read", subject)
        return Response(_at(store, subject, version, _shown(deleted)).schema.text, media_type=V1_JSON)

    @router.delete("/{subject}")
    def delete_subject(request: Request, subject: Subject, permanent: bool = False) -> Response:
        authorize(request, "write", subject)
        return answer(store.delete_subject(subject, permanent=permanent))

    @router.delete("/{subject}/versions/{version}")
    def delete_version(request: Request, subject: Subject, version: Version, permanent: bool = False) -> Response:
        authorize(request, "write", subject)
        number = (
            _at(store, subject, version, "all" if permanent else "live").version if version == "latest" else version
        )
        return answer(store.delete_version(subject, number, permanent=permanent))

    return router


def _schemas(store: RegistryStore, authorize: Authorize) -> APIRouter:
    router = APIRouter(prefix="/schemas")

    @router.get("/types")
    def types(request: Request) -> Response:
        authorize(request, "read", None)
        return answer(["AVRO"])

    @router.get("/ids/{schema_id}")
    def schema(request: Request, schema_id: SchemaId, subject: str = "") -> Response:
        _allow_schema(request, schema_id, subject)
        return answer({"schema": store.schema_by_id(schema_id).text})

    @router.get("/ids/{schema_id}/schema")
    def bare(request: Request, schema_id: SchemaId, subject: str = "") -> Response:
        _allow_schema(request, schema_id, subject)
        return Response(store.schema_by_id(schema_id).text, media_type=V1_JSON)

    @router.get("/ids/{schema_id}/subjects")
    def subjects(request: Request, schema_id: SchemaId, deleted: Deleted = False) -> Response:
        return answer(list(dict.fromkeys(subject for subject, _ in _uses(request, schema_id, deleted))))

    @router.get("/ids/{schema_id}/versions")
    def versions(request: Request, schema_id: SchemaId, deleted: Deleted = False) -> Response:
        found = _uses(request, schema_id, deleted)
        return answer([{"subject": subject, "version": version} for subject, version in found])

    def _uses(request: Request, schema_id: int, deleted: bool) -> list[tuple[str, int]]:
        """Where the schema is used, as far as the request may know."""
        _allow_schema(request, schema_id, "")
        store.schema_by_id(schema_id)
        found = store.uses(schema_id, _shown(deleted))
        allowed = {subject for subject in {subject for subject, _ in found} if _denied(request, subject) is None}
        return [one for one in found if one[0] in allowed]

    def _allow_schema(request: Request, schema_id: int, hint: str) -> None:
        """A schema may be read by whoever may read one of its subjects; `hint`, the client's own, is tried first."""
        denied: AccessDenied | None = None
        for fresh in (False, True):  # a subject may have got the schema since the last look
            subjects = store.subjects_of(schema_id, fresh=fresh)
            for subject in sorted(subjects, key=lambda each: each != hint):
                denied = _denied(request, subject)
                if denied is None:
                    return
        if denied is None:  # the id is nobody's
            denied = _denied(request, None)
        if denied is not None:
            raise denied

    def _denied(request: Request, subject: str | None) -> AccessDenied | None:
        try:
            authorize(request, "read", subject)
        except AccessDenied as error:
            if error.status == 401:
                raise
            return error
        return None

    return router


def _compatibility(store: RegistryStore, authorize: Authorize) -> APIRouter:
    router = APIRouter(prefix="/compatibility/subjects/{subject}/versions")

    @router.post("")
    def with_all(request: Request, subject: Subject, body: Body, verbose: bool = False) -> Response:
        authorize(request, "read", subject)
        return _verdict(request, subject, body, None, verbose)

    @router.post("/{version}")
    def with_one(request: Request, subject: Subject, version: Version, body: Body, verbose: bool = False) -> Response:
        authorize(request, "read", subject)
        return _verdict(request, subject, body, version, verbose)

    def _verdict(
        request: Request, subject: str, body: bytes, version: int | Literal["latest"] | None, verbose: bool
    ) -> Response:
        problems = store.problems(subject, _schema(body), version)
        said: dict[str, Any] = {"is_compatible": not problems}
        if verbose:
            language = request.headers.get("accept-language", "en")[:2].lower()
            said["messages"] = [f"{one.path} {one.code}: {one.message.said_in(language)}" for one in problems]
        return answer(said)

    return router


def _config(store: RegistryStore, authorize: Authorize) -> APIRouter:
    router = APIRouter()

    @router.get("/config")
    def global_level(request: Request) -> Response:
        authorize(request, "read", None)
        return answer({"compatibilityLevel": store.level(None) or DEFAULT_LEVEL})

    @router.put("/config")
    def set_global_level(request: Request, body: Body) -> Response:
        authorize(request, "write", None)
        level = _level(body)
        store.set_level(None, level)
        return answer({"compatibility": level})

    @router.delete("/config")
    def clear_global_level(request: Request) -> Response:
        authorize(request, "write", None)
        return answer({"compatibilityLevel": store.clear_level(None) or DEFAULT_LEVEL})

    @router.get("/config/{subject}")
    def level(
        request: Request, subject: Subject, default_to_global: Annotated[bool, Query(alias="defaultToGlobal")] = False
    ) -> Response:
        authorize(request, "read", subject)
        found = store.effective_level(subject) if default_to_global else store.level(subject)
        if found is None:
            en = f"Subject '{subject}' does not have subject-level compatibility configured"
            raise Refused(404, 40408, Text(en, f"Subject '{subject}' chưa đặt mức tương thích riêng"))
        return answer({"compatibilityLevel": found})

    @router.put("/config/{subject}")
    def set_level(request: Request, subject: Subject, body: Body) -> Response:
        authorize(request, "write", subject)
        level = _level(body)
        store.set_level(subject, level)
        return answer({"compatibility": level})

    @router.delete("/config/{subject}")
    def clear_level(request: Request, subject: Subject) -> Response:
        authorize(request, "write", subject)
        gone = store.clear_level(subject)
        if gone is None:
            raise Refused(404, 40401, Text(f"Subject '{subject}' not found.", f"Không tìm thấy subject '{subject}'."))
        return answer({"compatibilityLevel": gone})

    @router.get("/mode")
    def mode(request: Request) -> Response:
        authorize(request, "read", None)
        return answer({"mode": "READWRITE"})  # the only one there is

    @router.get("/mode/{subject}")
    def mode_of(
        request: Request, subject: Subject, default_to_global: Annotated[bool, Query(alias="defaultToGlobal")] = False
    ) -> Response:
        authorize(request, "read", subject)
        if default_to_global:
            return answer({"mode": "READWRITE"})
        en = f"Subject '{subject}' does not have subject-level mode configured"
        raise Refused(404, 40409, Text(en, f"Subject '{subject}' chưa đặt chế độ riêng"))

    return router


def _shown(deleted: bool, deleted_only: bool = False) -> Shown:
    return "deleted" if deleted_only else "all" if deleted else "live"


def _at(store: RegistryStore, subject: str, version: int | Literal["latest"], shown: Shown) -> Registered:
    return store.latest(subject, shown) if version == "latest" else store.version(subject, version, shown)


def _told(one: Registered) -> dict[str, Any]:
    told: dict[str, Any] = {"subject": one.subject, "version": one.version, "id": one.id, "schema": one.schema.text}
    return {**told, "deleted": True} if one.deleted else told


def _schema(body: bytes) -> Schema:
    """The schema that a body brings, with nothing beside it that would be lost."""
    given = decode(body, SchemaGiven)
    if (given.schema_type or "AVRO").upper() != "AVRO":
        raise _unserved(f"schemaType {given.schema_type!r}", "AVRO")
    for name, value in (("references", given.references), ("metadata", given.metadata), ("ruleSet", given.rule_set)):
        if value:
            raise _unserved(f'"{name}"', "a schema by itself")
    if (given.id or 0) > 0:
        en = "Importing a schema under a given id is not possible in mode READWRITE"
        raise Refused(422, 42205, Text(en, "Chế độ READWRITE không cho phép nhập lược đồ với id cho trước"))
    if not given.schema:
        raise Refused(422, 42201, Text("Empty schema", "Lược đồ trống"))
    return parse(given.schema)


def _level(body: bytes) -> Level:
    given = decode(body, ConfigGiven)
    for name in ConfigGiven.__struct_fields__[1:]:
        if getattr(given, name):
            raise _unserved(f'"{name}"', '"compatibility"')
    try:
        return Level((given.compatibility or "").upper())
    except ValueError:
        names = ", ".join(Level)
        en = f"Invalid compatibility level. Valid values are {names}"
        raise Refused(422, 42203, Text(en, f"Mức tương thích không hợp lệ. Giá trị cho phép: {names}")) from None


def _unserved(what: str, served: str) -> Refused:
    what = what[:100]
    return Refused(
        422,
        42201,
        Text(f"This registry does not serve {what}; it serves {served}", f"Registry này không hỗ trợ {what}"),
    )
