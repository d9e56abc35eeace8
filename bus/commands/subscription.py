"""`lgsp subscription`: ask for a view, decide on requests, end grants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from bus.commands.connection import URL, As, Limit, Url, connect, pages
from bus.commands.output import Column, Json, Quiet, show, show_made
from bus.model import SubscriptionState
from registry.errors import Text

NAME = "subscription"
app = typer.Typer(no_args_is_help=True, help="Subscriptions: requests for a view, and the grants they become.")

Id = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="Id of the subscription.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; the other agency reads it.")]
PerhapsReason = Annotated[str | None, typer.Option("--reason", help="Why; the other agency reads it.")]
Expires = Annotated[
    str | None,
    typer.Option("--expires-at", metavar="TIME", help="When the grant ends, e.g. 2027-01-01T00:00:00+07:00."),
]
Days = Annotated[int | None, typer.Option("--days", min=1, help="Or: after so many days.")]

COLUMNS = (
    Column("id", Text("Subscription", "Đăng ký khai thác")),
    Column("contract", Text("Contract", "Hợp đồng dữ liệu")),
    Column("view", Text("View", "Khung nhìn")),
    Column("agency", Text("Consumer", "Cơ quan khai thác")),
    Column("state", Text("State", "Trạng thái")),
    Column("purpose", Text("Purpose", "Mục đích sử dụng")),
    Column("expires_at", Text("Expires", "Hết hiệu lực"), is_time=True),
)
HISTORY_COLUMNS = (
    Column("at", Text("At", "Lúc"), is_time=True),
    Column("agency", Text("Agency", "Cơ quan")),
    Column("client", Text("Client", "Ứng dụng")),
    Column("action", Text("Action", "Hành động")),
    Column("detail", Text("Detail", "Chi tiết")),
)


@app.command()
def request(
    contract: Annotated[str, typer.Argument(metavar="CONTRACT", help="Such as population/resident.")],
    view: Annotated[str, typer.Argument(metavar="VIEW", help="Such as identity.")],
    purpose: Annotated[str, typer.Option("--purpose", help="What the records are needed for.")],
    legal_basis: Annotated[
        str, typer.Option("--legal-basis", metavar="ID", help="What it rests on (lgsp legal-basis list).")
    ],
    expires_at: Expires = None,
    days: Days = None,
    start: Annotated[
        str, typer.Option("--from", help="earliest: everything that holds now, then changes; latest; or a time.")
    ] = "earliest",
    procedure: Annotated[str | None, typer.Option("--procedure", help="Code of the administrative procedure.")] = None,
    quiet: Quiet = False,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Ask for a view of a contract (subscriber). The contract's owner decides."""
    ends = _ends(expires_at, days)
    with connect(url, who, as_json) as bus:
        asked = bus.request_subscription(
            contract,
            view,
            purpose=purpose,
            legal_basis=legal_basis,
            expires_at=ends,
            start=start,
            procedure=procedure,
        )
        show_made(asked, as_json, quiet)


@app.command("list")
def list_subscriptions(
    contract: Annotated[str | None, typer.Option("--contract", help="Only of this contract.")] = None,
    agency: Annotated[str | None, typer.Option("--agency", help="Only asked for by this agency.")] = None,
    state: Annotated[SubscriptionState | None, typer.Option("--state", help="Only in this state.")] = None,
    limit: Limit = 1_000,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """List the subscriptions that your agency asked for or decides on."""
    with connect(url, who, as_json) as bus:
        query = {"contract": contract, "agency": agency, "state": state.value if state else None}
        show(pages(bus, "/v1/subscriptions", limit, query), as_json, COLUMNS)


@app.command("show")
def show_subscription(id: Id, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Show one subscription: purpose, legal basis, state, who decided and why."""
    with connect(url, who, as_json) as bus:
        show(bus.subscription(id), as_json)


@app.command()
def history(id: Id, limit: Limit = 1_000, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Show what was done with a subscription, oldest first."""
    with connect(url, who, as_json) as bus:
        show(pages(bus, f"/v1/subscriptions/{id}/history", limit), as_json, HISTORY_COLUMNS)


@app.command()
def approve(id: Id, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Grant what was asked for (owner, never the client that asked)."""
    _decide(id, "approve", {}, url, who, as_json)


@app.command()
def refuse(
    id: Id,
    reason: Reason,
    legal_basis: Annotated[str, typer.Option("--legal-basis", metavar="ID", help="What the refusal rests on.")],
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Refuse a request, with the reason and the legal basis that the law demands."""
    _decide(id, "refuse", {"reason": reason, "legal_basis": legal_basis}, url, who, as_json)


@app.command()
def suspend(id: Id, reason: PerhapsReason = None, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Hold a grant for a while: nothing leaves, nothing is lost."""
    _decide(id, "suspend", {"reason": reason} if reason else {}, url, who, as_json)


@app.command()
def resume(id: Id, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Let a suspended grant go on where it stood."""
    _decide(id, "resume", {}, url, who, as_json)


@app.command()
def renew(
    id: Id, expires_at: Expires = None, days: Days = None, url: Url = URL, who: As = None, as_json: Json = False
) -> None:
    """Give a grant a later end."""
    _decide(id, "renew", {"expires_at": _ends(expires_at, days)}, url, who, as_json)


@app.command()
def revoke(id: Id, reason: PerhapsReason = None, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """End a grant for good."""
    _decide(id, "revoke", {"reason": reason} if reason else {}, url, who, as_json)


def _ends(expires_at: str | None, days: int | None) -> str:
    """The end of a grant as the bus wants it, from the one of the two that was given."""
    if (expires_at is None) == (days is None):
        raise typer.BadParameter("give one of them / cần đúng một trong hai", param_hint="--expires-at, --days")
    return expires_at or (datetime.now(UTC) + timedelta(days=days or 0)).isoformat(timespec="seconds")


def _decide(id: str, action: Any, body: dict[str, str], url: str, who: Path | None, as_json: bool) -> None:
    with connect(url, who, as_json) as bus:
        show(bus.decide_subscription(id, action, **body), as_json)
