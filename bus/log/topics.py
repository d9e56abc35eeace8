"""The topics of a contract: their names, and keeping them as the contract says. Rights to them are `access.kafka_rights`."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.admin._partitions import OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from bus.errors import Conflict, LogUnavailable, Text
from bus.log.connection import KafkaConnection
from bus.settings import Settings
from registry.contract import TopicPolicy

T = TypeVar("T")

_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,40}")
MESSAGE_BYTES_MAX = 1_048_588  # Kafka's own default
DLQ_RETENTION_MS = 90 * 86_400_000  # a quarantined record's bytes outlive the owner's deadline for it by far


def _dotted(contract: str) -> str:
    return contract.replace("/", ".")


def in_topic(contract: str, major: int) -> str:
    """Where Kafka clients publish what isn't checked yet."""
    return f"in.{_dotted(contract)}.v{major}"


def data_topic(contract: str, major: int) -> str:
    """The checked records of a contract."""
    return f"data.{_dotted(contract)}.v{major}"


def dlq_topic(contract: str, major: int) -> str:
    """The rejected records of a contract, bytes as they came."""
    return f"dlq.{_dotted(contract)}.v{major}"


def view_topic(contract: str, major: int, view: str, instance: str | None = None) -> str:
    """The topic of a view, or of one instance of it. An instance that isn't a legal part of a topic's name is named by its hash."""
    name = f"view.{_dotted(contract)}.v{major}.{view}"
    if instance is None:
        return name
    if not _INSTANCE.fullmatch(instance):
        instance = hashlib.sha256(instance.encode()).hexdigest()[:16]
    return f"{name}.{instance}"


def subject(topic: str) -> str:
    """The topic's subject in the registry, by TopicNameStrategy."""
    return f"{topic}-value"


class _Admin(KafkaAdminClient):  # type: ignore[misc]  # the library has no types
    """One whose failed start leaves nothing behind: kafka-python 3.0 keeps its thread, which goes on knocking for ever."""

    _closed = False

    def __init__(self, **configs: Any) -> None:
        try:
            super().__init__(**configs)
        except BaseException:
            self.close()
            raise


class Topics:
    """Makes topics and asks for their offsets. Safe for threads: one administrative connection, one request at a time."""

    def __init__(self, connection: KafkaConnection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._admin: KafkaAdminClient | None = None
        self._lock = threading.Lock()
        self._partitions: dict[str, int] = {}

    def close(self) -> None:
        with self._lock:
            if self._admin is not None:
                self._admin.close()
                self._admin = None

    def ensure(
        self,
        topic: str,
        policy: TopicPolicy,
        *,
        partitions: int | None = None,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> int:
        """Make the topic where it's missing, set what differs from `policy`; returns its number of partitions.

        Raises Conflict when the topic is there with another number of partitions: keys would move between them.
        """
        wanted = partitions or policy.partitions or self._settings.partitions
        configs = self._configs(policy) | {"max.message.bytes": str(message_bytes_max)}
        create = {
            topic: {
                "num_partitions": wanted,
                "replication_factor": self._settings.replication,
                "configs": configs,
            }
        }
        try:
            self._ask(lambda admin: admin.create_topics(create, wait_for_metadata=True))
        except TopicAlreadyExistsError:
            found = self.partitions(topic)
            if found != wanted:
                raise Conflict(
                    Text(
                        f"topic {topic}: found {found} partitions, expected {wanted}; the number can't change in one major",
                        f"topic {topic}: có {found} phân vùng, cần {wanted}; không thể đổi trong cùng phiên bản chính",
                    )
                ) from None
            self._ask(
                lambda admin: admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
            )
        self._partitions[topic] = wanted
        return wanted

    def ensure_dlq(self, topic: str) -> int:
        """The dead-letter topic: one partition, so that its offset alone names a record."""
        policy = TopicPolicy(partitions=1, cleanup="delete", retention_ms=DLQ_RETENTION_MS)
        return self.ensure(topic, policy, partitions=1, message_bytes_max=self._settings.publish_body_bytes_max + 2**20)

    def partitions(self, topic: str) -> int:
        """The topic's number of partitions, remembered after the first answer. 0 where there is no such topic."""
        if topic not in self._partitions:
            described = self._ask(lambda admin: admin.describe_topics([topic]))
            count = sum(len(t["partitions"]) for t in described if not t.get("error_code"))
            if count == 0:
                return 0
            self._partitions[topic] = count
        return self._partitions[topic]

    def end_offsets(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """For each topic the offset that the next record of each partition will get."""
        return self._offsets(topics, OffsetSpec.LATEST)

    def start_offsets(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """For each topic the first offset that each partition still holds."""
        return self._offsets(topics, OffsetSpec.EARLIEST)

    def offsets_at(self, topics: Iterable[str], when: datetime) -> dict[str, list[int]]:
        """For each topic the first offset at or after `when` in each partition; the end where there is none."""
        named = list(topics)
        found = self._offsets(named, int(when.timestamp() * 1000))
        ends = self.end_offsets(named)
        return {t: [e if o < 0 else o for o, e in zip(found[t], ends[t], strict=True)] for t in named}

    def ping(self) -> None:
        """Raises LogUnavailable where the brokers don't answer."""
        self._ask(lambda admin: admin.describe_cluster())

    def delete(self, topic: str) -> None:
        """Remove the topic and what it holds; nothing happens where it isn't there."""
        self._partitions.pop(topic, None)
        try:
            self._ask(lambda admin: admin.delete_topics([topic]))
        except UnknownTopicOrPartitionError:
            return

    def _offsets(self, topics: Iterable[str], spec: Any) -> dict[str, list[int]]:
        counts = {topic: self.partitions(topic) for topic in topics}
        specs = {TopicPartition(topic, p): spec for topic, count in counts.items() for p in range(count)}
        if not specs:
            return {topic: [] for topic in counts}
        answer: Mapping[Any, Any] = self._ask(lambda admin: admin.list_partition_offsets(specs))
        return {t: [int(answer[TopicPartition(t, p)].offset) for p in range(count)] for t, count in counts.items()}

    def _configs(self, policy: TopicPolicy) -> dict[str, str]:
        configs = {
            "cleanup.policy": policy.cleanup,
            "min.insync.replicas": str(self._settings.min_insync),
            "segment.bytes": str(256 * 2**20),
        }
        if policy.cleanup == "compact":
            configs["min.compaction.lag.ms"] = str(self._settings.compaction_lag_min_ms)
            configs["delete.retention.ms"] = str(max(self._settings.compaction_lag_min_ms, 7 * 86_400_000))
        else:
            configs["retention.ms"] = str(policy.retention_ms or -1)
        return configs

    def _ask(self, question: Callable[[KafkaAdminClient], T]) -> T:
        with self._lock:
            try:
                if self._admin is None:
                    self._connection.knock()
                    self._admin = _Admin(**self._connection.admin())
                return question(self._admin)
            except (TopicAlreadyExistsError, UnknownTopicOrPartitionError):
                raise
            except (KafkaError, OSError, TimeoutError) as error:
                if self._admin is not None:
                    self._admin.close()
                    self._admin = None
                raise LogUnavailable(
                    Text("Kafka does not answer; try again", "Kafka không phản hồi; hãy thử lại")
                ) from error
