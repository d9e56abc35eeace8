"""`lgsp demo` as a newcomer runs it, with fewer residents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

LGSP = Path(sys.executable).with_name("lgsp")
RECORDS = 2_000


@pytest.mark.timeout(240)
def test_the_demo_holds_what_it_promises_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    arguments = ["demo", "--json", "--records", str(RECORDS), "--seed", "5", "--data", str(folder)]
    done = subprocess.run([LGSP, *arguments], capture_output=True, text=True, timeout=230, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    told = json.loads(done.stdout)
    facts = told["steps"]
    assert told["ok"] is True
    assert list(facts) == [
        *("start", "register", "publish", "subscribe", "fields", "deliver", "quarantine"),
        *("update", "delete", "correct", "revoke", "account", "stop"),
    ]
    wrong = sum(facts["register"]["wrong"].values())
    assert facts["quarantine"]["by_class"] == facts["register"]["wrong"]
    assert facts["deliver"]["arrived"] == RECORDS - wrong
    assert "religion" in facts["fields"]["withheld"]
    assert facts["fields"]["sampled_values"] > 100
    assert facts["revoke"]["refused_after_s"] < 5
    account = facts["account"]
    parts = ("delivered", "filtered", "duplicate", "quarantined", "pending")
    assert account["published"] == sum(account[part] for part in parts)
    assert [line for line in map(command_of, psutil.process_iter()) if str(folder) in line] == []


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join([process.cwd(), *process.cmdline()])
    except psutil.Error:
        return ""
