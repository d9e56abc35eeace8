"""`lgsp audit`: the account of a contract, the journal, and what was handed over."""

from __future__ import annotations

from typing import Annotated

import typer

from bus.commands.connection import URL, As, Limit, Url, connect, pages
from bus.commands.output import Column, Exit, Json, show
from registry.errors import Text

NAME = "audit"
app = typer.Typer(no_args_is_help=True, help="Audit: where every record is, and who did what.")

ACCOUNT_COLUMNS = (
    Column("subscription", Text("Subscription", "Đăng ký khai thác")),
    Column("published", Text("Published =", "Đã gửi =")),
    Column("delivered", Text("Delivered", "Đã giao")),
    Column("filtered", Text("+ filtered", "+ bị lọc")),
    Column("duplicate", Text("+ duplicate", "+ trùng lặp")),
    Column("quarantined", Text("+ quarantined", "+ cách ly")),
    Column("pending", Text("+ pending", "+ đang chờ")),
    Column("balanced", Text("Balanced", "Cân bằng")),
)
JOURNAL_COLUMNS = (
    Column("id", Text("Id", "Mã")),
    Column("at", Text("At", "Lúc"), is_time=True),
    Column("agency", Text("Agency", "Cơ quan")),
    Column("client", Text("Client", "Ứng dụng")),
    Column("action", Text("Action", "Hành động")),
    Column("object", Text("Object", "Đối tượng")),
    Column("result", Text("Result", "Kết quả")),
)
RELEASE_COLUMNS = (
    Column("id", Text("Id", "Mã")),
    Column("at", Text("At", "Lúc"), is_time=True),
    Column("client", Text("Client", "Ứng dụng")),
    Column("records", Text("Records", "Bản ghi")),
    Column("runs", Text("Topic, partition, from, to", "Topic, phân vùng, từ, đến")),
    Column("sha256", Text("Digest", "Mã băm")),
)


@app.command()
def account(
    contract: Annotated[str, typer.Argument(metavar="CONTRACT", help="Such as population/resident.")],
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """published = delivered + filtered + duplicate + quarantined + pending, for each subscription. Exit code 1 if not."""
    with connect(url, who, as_json) as bus:
        accounts = bus.account(contract)["items"]
        show(accounts, as_json, ACCOUNT_COLUMNS)
    raise typer.Exit(Exit.OK if all(one["balanced"] for one in accounts) else Exit.FAILED)


@app.command()
def journal(
    object: Annotated[str | None, typer.Option("--object", help="Only about this, e.g. subscription:sub_….")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this, e.g. subscription.approve.")] = None,
    agency: Annotated[str | None, typer.Option("--agency", help="Only by this agency.")] = None,
    limit: Limit = 1_000,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Who did what, oldest first: your agency's entries; all of them for administrators and auditors."""
    with connect(url, who, as_json) as bus:
        query = {"object": object, "action": action, "agency": agency}
        show(pages(bus, "/v1/audit/journal", limit, query), as_json, JOURNAL_COLUMNS)


@app.command()
def releases(
    subscription: Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="Id of the subscription.")],
    limit: Limit = 1_000,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """What was handed over to a subscriber: every hand-over by its offsets and a digest of its bytes, oldest first."""
    with connect(url, who, as_json) as bus:
        show(pages(bus, "/v1/audit/releases", limit, {"subscription": subscription}), as_json, RELEASE_COLUMNS)
