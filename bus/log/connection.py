"""How to reach the brokers: one description, from which each client library gets its own words."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KNOCK_S = 3.0


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """`username` None means a broker without authentication (a developer's own); SCRAM-SHA-512 otherwise, TLS with `ca_file`."""

    bootstrap: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @property
    def _protocol(self) -> str:
        return f"{'SASL_' if self.username else ''}{'SSL' if self.ca_file else 'PLAINTEXT'}"

    def librdkafka(self) -> dict[str, Any]:
        """Settings that every confluent-kafka client of ours shares."""
        settings: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self._protocol,
            "client.id": "lgsp",
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 2,  # what matters comes by callback; the rest would name topics line by line on stderr
        }
        if self.username:
            settings |= {
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        if self.ca_file:
            settings["ssl.ca.location"] = str(self.ca_file)
        return settings

    def knock(self) -> None:
        """Raises OSError where no bootstrap broker takes a connection: at once, where the client libraries go on trying."""
        refused: OSError | None = None
        for address in self.bootstrap.split(","):
            host, _, port = address.strip().rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()
            except ValueError:
                refused = OSError("a bootstrap broker is named without its port")
            except OSError as error:
                refused = error
            else:
                return
        raise refused or OSError("no bootstrap broker is named")

    def admin(self) -> dict[str, Any]:
        """Settings of kafka-python's admin client."""
        settings: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self._protocol,
            "client_id": "lgsp-admin",
            "request_timeout_ms": 15_000,
            "bootstrap_timeout_ms": 5_000,  # whoever asks holds up the others who do
            "reconnect_backoff_max_ms": 1_000,
        }
        if self.username:
            settings |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.ca_file:
            settings["ssl_cafile"] = str(self.ca_file)
        return settings
