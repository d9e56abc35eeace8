"""build(settings): the one place that puts the concrete parts together, and close(): the one that takes them apart."""

from __future__ import annotations

import logging
import threading
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from bus.catalogue import Catalogue
from bus.control.tokens import Tokens
from bus.deliver import Counter
from bus.errors import LgspError, Text
from bus.letters import reconcile, settled_before
from bus.log.connection import KafkaConnection
from bus.log.reader import Readers
from bus.log.topics import Topics
from bus.log.writer import Writer
from bus.materialise import Plant, materialise
from bus.model import Clock
from bus.publish import Door
from bus.replay import Replayer
from bus.settings import Settings
from bus.store.engine import make_engine
from bus.store.events import CONTRACTS, GRANTS, Listener
from bus.store.migrate import upgrade
from registry.errors import RegistryError
from registry.store import RegistryStore

logger = logging.getLogger(__name__)

RESTART_S = 0.5


def utc_now() -> datetime:
    """The clock of a running bus."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that a role may need, once per process."""

    settings: Settings
    clock: Clock
    engine: Engine
    connection: KafkaConnection
    topics: Topics
    writer: Writer
    readers: Readers
    registry: RegistryStore
    catalogue: Catalogue
    tokens: Tokens
    listener: Listener
    door: Door
    counter: Counter
    plant: Plant
    replay: Replayer

    def close(self) -> None:
        """Finish what is under way, then let go of everything."""
        self.listener.close()
        self.writer.close()
        self.readers.close()
        self.topics.close()
        self.engine.dispose()


def build(settings: Settings, *, only_door: bool, clock: Clock = utc_now) -> Runtime:
    """Put the parts together and bring the database to this version.

    `settings` names a Kafka and a database that answer. `only_door`: no other process publishes to this Kafka.
    Raises StoreUnavailable, LogUnavailable.
    """
    if settings.database_url is None or settings.kafka_bootstrap is None:
        raise LgspError(
            Text(
                "LGSP_DATABASE_URL and LGSP_KAFKA_BOOTSTRAP are needed", "cần LGSP_DATABASE_URL và LGSP_KAFKA_BOOTSTRAP"
            )
        )
    url = settings.database_url.get_secret_value()
    engine = make_engine(url)
    upgrade(engine)
    connection = KafkaConnection(
        settings.kafka_bootstrap,
        settings.kafka_username,
        settings.kafka_password.get_secret_value() if settings.kafka_password else None,
        settings.kafka_ca_file,
    )
    topics = Topics(connection, settings)
    writer = Writer(
        connection,
        timeout_s=settings.produce_timeout_s,
        message_bytes_max=settings.publish_body_bytes_max + 2**20,
    )
    readers = Readers(connection, settings.consumers_max)
    registry = RegistryStore(engine)
    catalogue = Catalogue(engine, registry)
    listener = Listener(url)
    listener.on(CONTRACTS, catalogue.forget)
    door = Door(engine, writer, clock, settings, {} if only_door else None)
    return Runtime(
        settings=settings,
        clock=clock,
        engine=engine,
        connection=connection,
        topics=topics,
        writer=writer,
        readers=readers,
        registry=registry,
        catalogue=catalogue,
        tokens=Tokens(engine, clock, settings),
        listener=listener,
        door=door,
        counter=Counter(engine, readers, catalogue, clock, settings),
        plant=Plant(engine, connection, topics, writer, catalogue, clock, settings),
        replay=Replayer(door, readers, catalogue, clock),
    )


def place_of(error: BaseException) -> str:
    """Where an unforeseen error arose, without its message: that may hold a record's values."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))


class Workers:
    """A thread per contract in force, each of which materialises its views; started anew when it fails, with a word in the log."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stop = threading.Event()
        self._look = threading.Event()
        self._changed: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        runtime.listener.on(CONTRACTS, self._notice)
        runtime.listener.on(GRANTS, self._notice)

    def start(self) -> None:
        thread = threading.Thread(target=self._oversee, name="workers")
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        self._stop.set()
        self._look.set()
        for event in self._changed.values():
            event.set()
        for thread in self._threads:
            thread.join()

    def _notice(self, _payload: str) -> None:
        self._look.set()

    def _oversee(self) -> None:
        while not self._stop.is_set():
            try:
                for active in self._runtime.catalogue.all_active():
                    self._attend(active.contract.id)
            except (LgspError, RegistryError) as error:
                logger.warning("contracts can't be read now (%s); trying again", error)
                self._stop.wait(RESTART_S)
                continue
            self._look.wait(5.0)
            self._look.clear()

    def _attend(self, contract: str) -> None:
        """Start the contract's worker, or tell it to look at its views again."""
        if contract in self._changed:
            self._changed[contract].set()
            return
        self._changed[contract] = threading.Event()
        thread = threading.Thread(target=self._work, args=(contract,), name=f"views:{contract}")
        self._threads.append(thread)
        thread.start()

    def _work(self, contract: str) -> None:
        while not self._stop.is_set():
            try:
                self._reconcile(contract)
                materialise(self._runtime.plant, contract, self._changed[contract], self._stop)
            except (LgspError, RegistryError) as error:
                logger.warning("views of %s: %s; beginning anew from what is stored", contract, error)
                self._stop.wait(RESTART_S)
            except Exception as error:  # noqa: BLE001  a defect of ours must not end a contract's views in silence
                logger.error("views of %s: unforeseen %s at %s", contract, type(error).__name__, place_of(error))
                self._stop.wait(RESTART_S)

    def _reconcile(self, contract: str) -> None:
        runtime = self._runtime
        before = settled_before(runtime.clock(), runtime.settings.produce_timeout_s)
        reconcile(runtime.engine, runtime.topics, runtime.readers, runtime.catalogue.active(contract), before)
