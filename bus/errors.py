"""What the bus raises, in one tree; each class says its stable code, its HTTP status and whether trying again can help.

    LgspError
    ├── InvalidRequest 400         the request doesn't say what it must
    │   ├── BadCursor 400
    │   └── ContractRejected 422   a contract that doesn't lint, a schema that breaks compatibility
    ├── Unauthenticated 401        no token, expired, forged, wrong secret
    ├── Forbidden 403              known, but this role may not do this
    ├── NotFound 404               isn't there, or isn't yours
    ├── Conflict 409               the state doesn't allow it (a revoked grant can't be resumed)
    ├── TooLarge 413               over one of the limits of `bus.settings`
    ├── UnsupportedMediaType 415
    ├── GrantEnded 403             the subscription isn't active now
    ├── Unavailable 503            Kafka or PostgreSQL doesn't answer; try again
    │   └── LogUnavailable, StoreUnavailable, DiskFull
    └── EmbeddedError              an embedded server didn't start; `lgsp doctor` says how to mend it
        └── PortTaken, DataFolderInUse, DataFolderVersion, DownloadFailed

A refusal by `access.decide` is a value; the API turns it into one of these at its edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from registry.errors import Problem as Problem
from registry.errors import Text as Text


class LgspError(Exception):
    """Root of the tree. `detail` is for a person, in both languages; `problems` point at paths."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retriable: ClassVar[bool] = False
    title: ClassVar[Text] = Text("Internal error", "Lỗi hệ thống")

    def __init__(self, detail: Text, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail.en)
        self.detail = detail
        self.problems = tuple(problems)


class InvalidRequest(LgspError):
    code = "invalid_request"
    status = 400
    title = Text("The request is not valid", "Yêu cầu không hợp lệ")


class BadCursor(InvalidRequest):
    code = "bad_cursor"


class ContractRejected(InvalidRequest):
    code = "contract_rejected"
    status = 422
    title = Text("The contract is not valid", "Hợp đồng dữ liệu không hợp lệ")


class Unauthenticated(LgspError):
    code = "unauthenticated"
    status = 401
    title = Text("Not authenticated", "Chưa xác thực")


class Forbidden(LgspError):
    code = "forbidden"
    status = 403
    title = Text("Not allowed", "Không có quyền")


class GrantEnded(Forbidden):
    code = "grant_ended"
    title = Text("The subscription is not active", "Đăng ký khai thác không còn hiệu lực")


class NotFound(LgspError):
    code = "not_found"
    status = 404
    title = Text("Not found", "Không tìm thấy")


class Conflict(LgspError):
    code = "conflict"
    status = 409
    title = Text("The present state does not allow this", "Trạng thái hiện tại không cho phép")


class TooLarge(LgspError):
    code = "too_large"
    status = 413
    title = Text("Too large", "Quá lớn")


class UnsupportedMediaType(LgspError):
    code = "unsupported_media_type"
    status = 415
    title = Text("Unsupported media type", "Kiểu nội dung không được hỗ trợ")


class Unavailable(LgspError):
    code = "unavailable"
    status = 503
    retriable = True
    title = Text("Not available now", "Tạm thời không phục vụ được")


class LogUnavailable(Unavailable):
    code = "log_unavailable"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class DiskFull(Unavailable):
    code = "disk_full"


class EmbeddedError(LgspError):
    code = "embedded_error"
    title = Text("An embedded server did not start", "Máy chủ nhúng không khởi động được")


class PortTaken(EmbeddedError):
    code = "port_taken"


class DataFolderInUse(EmbeddedError):
    code = "data_folder_in_use"


class DataFolderVersion(EmbeddedError):
    code = "data_folder_version"


class DownloadFailed(EmbeddedError):
    code = "download_failed"
    retriable = True
