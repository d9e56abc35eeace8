"""`lgsp demo`: a record travels from one agency to another, told step by step, and every promise checked on the way.

The steps are `bus.demo.steps`, what they share `tale`, what runs `stage`, what it looks like `screen`.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bus.client import ApiError
from bus.demo import steps
from bus.demo.screen import Screen, seconds
from bus.demo.stage import PromiseBroken
from bus.errors import InvalidRequest
from registry.errors import Text

RECORDS_MIN, RECORDS_MAX = 1_000, 1_000_000  # fewer give no eight ways of being wrong; more don't fit a laptop's memory
INTERRUPTED = 130


def run(
    records: int = 50_000,
    seed: int = 42,
    data: Path | None = None,
    as_json: bool = False,
    keep: bool = False,
    screen: Screen | None = None,
) -> int:
    """Tell the whole story; 0 when everything held, 1 when something didn't, 130 after Ctrl-C or SIGTERM. Nothing is left running.

    `data` is a new or empty folder that stays; without it a temporary one goes, unless `keep`. Raises InvalidRequest for a
    folder that holds something and for too few or too many records, EmbeddedError and DownloadFailed where the machine isn't ready.
    """
    if not RECORDS_MIN <= records <= RECORDS_MAX:
        bounds = f"{RECORDS_MIN}–{RECORDS_MAX}"
        raise InvalidRequest(
            Text(f"--records: found {records}, expected {bounds}", f"--records: có {records}, cần {bounds}")
        )
    folder, stays = _folder(data), keep or data is not None
    screen = screen or Screen(quiet=as_json)
    facts: dict[str, Any] = {}
    began = time.monotonic()
    code, broken = 0, None
    terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in order, as Ctrl-C does
    try:
        _tell(screen, facts, folder, records, seed)
    except PromiseBroken as failure:
        code, broken = 1, failure
    except ApiError as refusal:
        promise = Text("the bus does what it is asked to do", "trục dữ liệu thực hiện yêu cầu")
        code, broken = 1, PromiseBroken(promise, refusal, "no refusal")
    except KeyboardInterrupt:
        code = INTERRUPTED
        screen.broken(Text("stopped; nothing is left running", "đã dừng; không còn tiến trình nào chạy"), [])
    finally:
        signal.signal(signal.SIGTERM, terminated)
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - began
    if broken is not None:
        screen.broken(broken.promise, [f"thấy · found: {broken.found}", f"cần · expected: {broken.expected}"])
    elif code == 0:
        _farewell(screen, took, folder if stays else None)
    if as_json:
        document = {"ok": code == 0, "records": records, "seed": seed, "seconds": round(took, 1), "steps": facts}
        print(
            json.dumps(
                document | ({} if broken is None else {"broken": _document(broken)}), ensure_ascii=False, indent=2
            )
        )
    return code


def _tell(screen: Screen, facts: dict[str, Any], folder: Path, records: int, seed: int) -> None:
    """All steps in order; whatever runs is stopped at the end, however it comes. Raises PromiseBroken, ApiError."""
    _welcome(screen)
    of = len(steps.STEPS) + 2
    with ExitStack() as stack:
        screen.step(1, of, Text("Start", "Khởi động"))
        tale, facts["start"] = steps.start(screen, stack, folder, records, seed)
        for place, (name, title, step) in enumerate(steps.STEPS, 2):
            screen.step(place, of, title)
            facts[name] = step(tale)
        screen.step(of, of, Text("Stop", "Dừng"))
        facts["stop"] = steps.stop(screen, stack, tale)


def _welcome(screen: Screen) -> None:
    screen.panel(
        Text("A record travels from one agency to another", "Một bản ghi đi từ cơ quan này sang cơ quan khác"),
        [
            Text(
                "The police of Hà Tĩnh share their resident register with the department of justice: under a contract, on "
                "a legal basis, only the fields that were granted, every record accounted for.",
                "Công an tỉnh Hà Tĩnh chia sẻ dữ liệu công dân cho Sở Tư pháp: theo hợp đồng dữ liệu, có căn cứ pháp lý, "
                "chỉ những trường được cấp, mọi bản ghi đều được đối soát.",
            ),
            Text(
                "Real servers on this machine; made-up people.",
                "Máy chủ thật trên máy này; công dân là dữ liệu giả lập.",
            ),
        ],
    )


def _farewell(screen: Screen, took: float, folder: Path | None) -> None:
    lgsp = Path(sys.executable).with_name("lgsp")
    shown = lgsp.relative_to(Path.cwd()) if lgsp.is_relative_to(Path.cwd()) else lgsp
    lines = [
        (f"{shown} up", "trục dữ liệu của riêng bạn · a bus of your own (API: /openapi.json)"),
        ("docs/tutorial", "từ thư mục trống đến bản ghi được giao · from an empty folder to a delivered record"),
    ]
    if folder is not None:
        lines.append((str(folder), "dữ liệu của lần chạy này · what this run has left"))
    title = Text(f"Everything held, in {seconds(took).en}", f"Mọi cam kết đều đúng, sau {seconds(took).vi}")
    screen.next_steps(title, lines)


def _document(broken: PromiseBroken) -> dict[str, Any]:
    return {
        "promise": {"en": broken.promise.en, "vi": broken.promise.vi},
        "found": str(broken.found),
        "expected": str(broken.expected),
    }


def _folder(data: Path | None) -> Path:
    """A folder of the demo's own. Raises InvalidRequest where `data` holds something."""
    if data is None:
        return Path(tempfile.mkdtemp(prefix="lgsp-demo-"))
    folder = data.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InvalidRequest(
            Text(
                f"--data: {folder} holds something already; the demo wants a new or empty folder",
                f"--data: {folder} đã có dữ liệu; bản trình diễn cần thư mục mới hoặc trống",
            )
        )
    return folder
