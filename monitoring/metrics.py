"""Every metric of the bus, declared once with its meaning. Where it is counted is said by whoever counts.

Labels have few values by construction: no key, no client's id, no path with an id in it.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

REGISTRY = CollectorRegistry()  # ours alone: a library that declares metrics of its own doesn't show up here
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

HTTP_REQUESTS = Counter(
    "lgsp_http_requests_total",
    "Requests answered, by the route's template, method and status.",
    ("route", "method", "status"),
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "lgsp_http_request_seconds",
    "From a request's first byte to its answer's last, by the route's template; a pull's wait for records included.",
    ("route",),
    buckets=_SECONDS,
    registry=REGISTRY,
)
TOKENS_ISSUED = Counter(
    "lgsp_tokens_issued_total", "Access tokens issued, by how the client proved itself.", ("method",), registry=REGISTRY
)
TOKENS_REFUSED = Counter(
    "lgsp_tokens_refused_total",
    "Requests for a token that were refused, by OAuth error code.",
    ("code",),
    registry=REGISTRY,
)
GRANTS_CHANGED = Counter(
    "lgsp_grants_changed_total",
    "Changes of a subscription's state, by what was done.",
    ("transition",),
    registry=REGISTRY,
)
READY = Gauge(
    "lgsp_ready",
    "1 where the last readiness probe found this dependency answering, else 0.",
    ("check",),
    registry=REGISTRY,
)
PUBLISHED = Counter(
    "lgsp_published_records_total",
    "Records that came to a contract's door and were acknowledged, by what became of them: accepted, duplicate.",
    ("contract", "outcome"),
    registry=REGISTRY,
)
QUARANTINED = Counter(
    "lgsp_quarantined_records_total",
    "Records rejected into the dead letter, by contract and error class.",
    ("contract", "error_class"),
    registry=REGISTRY,
)
MATERIALISED = Counter(
    "lgsp_materialised_records_total",
    "Records of a data topic that went through the contract's views.",
    ("contract",),
    registry=REGISTRY,
)
REPEATS = Counter(
    "lgsp_repeated_records_total",
    "Records of a data topic that said what their key's last record said, and so were silent in the views.",
    ("contract",),
    registry=REGISTRY,
)
VIEW_DELAY = Gauge(
    "lgsp_view_delay_seconds",
    "Age of the newest record when its batch was through the contract's views.",
    ("contract",),
    registry=REGISTRY,
)
DELIVERED = Counter(
    "lgsp_released_records_total",
    "Records handed over to subscribers, repetitions after a missing acknowledgement included.",
    ("contract", "view"),
    registry=REGISTRY,
)


def exposition() -> bytes:
    """All metrics in Prometheus' text format (CONTENT_TYPE)."""
    return generate_latest(REGISTRY)
