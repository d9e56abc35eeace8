"""What the embedded Kafka is told: its settings, its Java's options. Pure text; `kafka` starts it."""

from __future__ import annotations

from collections.abc import Mapping

from bus.embedded.ports import LOOPBACK

ADMIN = "admin"
MECHANISM = "SCRAM-SHA-512"
NODE_ID = 1


TEMPORARY = "tmp"  # in the broker's folder, emptied at each start


def jvm_options(heap_mb: int) -> list[str]:
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
        "-XX:ErrorFile=kafka-crash.log",
        f"-Djava.io.tmpdir={TEMPORARY}",  # native parts unpack themselves; a killed broker leaves them, and not in /tmp
        "-XX:-UsePerfData",
        "--sun-misc-unsafe-memory-access=allow",  # Kafka 4.3 unmaps its indexes by it; without this Java warns
        "--enable-native-access=ALL-UNNAMED",  # zstd, lz4 and snappy are native
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
        "-Dorg.slf4j.simpleLogger.log.kafka.server.BrokerServer=info",  # how far a start got
    ]


def server_properties(port: int, controller_port: int, secrets: Mapping[str, str]) -> str:
    """server.properties for one small machine; reasons stand beside what isn't Kafka's default.

    `secrets` has admin_password and controller_password. Data goes to `data` below the working folder: a path in this
    file could not hold every letter that a folder's name may have.
    """
    password, controller = secrets["admin_password"], secrets["controller_password"]
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    admin_login = f'{scram} required username="{ADMIN}" password="{password}";'
    controller_login = f'{plain} required username="{ADMIN}" password="{controller}" user_{ADMIN}="{controller}";'
    settings = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@{LOOPBACK}:{controller_port}",
        "listeners": f"CLIENT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"CLIENT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENT",
        "listener.name.client.sasl.enabled.mechanisms": MECHANISM,
        "listener.name.client.scram-sha-512.sasl.jaas.config": admin_login,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        # SCRAM can't be checked before the metadata is there, so the controller's own listener speaks PLAIN.
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": controller_login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN}",
        "allow.everyone.if.no.acl.found": "false",
        "auto.create.topics.enable": "false",
        "log.dirs": "data",
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
        # Many topics, little traffic, small disk: an index is laid out at its full size for the newest segment.
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
        "num.recovery.threads.per.data.dir": 2,
        "background.threads": 2,
        # After kill -9 the controller admits the broker again only when the session of the killed one has run out.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
