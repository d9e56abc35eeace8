"""The index of dead letters can be made again from the topic."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select

from bus.letters import reconcile
from bus.store.tables import quarantine
from tests.running import Running, resident


def test_letters_that_a_crash_kept_from_the_index_are_found_again(bus: Running) -> None:
    bus["publisher"].publish(bus.contract, [resident(i, phone="x") for i in range(20)])
    runtime, active = bus.runtime, bus.runtime.catalogue.active(bus.contract)
    mine = quarantine.c.contract == bus.contract
    facts = (quarantine.c.offset, quarantine.c.key, quarantine.c.error_class, quarantine.c.path, quarantine.c.receipt)
    with runtime.engine.begin() as connection:
        before = connection.execute(select(*facts).where(mine).order_by(quarantine.c.offset)).all()
        connection.execute(delete(quarantine).where(mine, quarantine.c.offset % 3 == 0))
    parts = (runtime.engine, runtime.topics, runtime.readers, active)
    assert reconcile(*parts, bus.clock() - timedelta(minutes=1)) == 0, "what is young may be on its way"
    assert reconcile(*parts, bus.clock() + timedelta(minutes=1)) == 7
    with runtime.engine.begin() as connection:
        assert connection.execute(select(*facts).where(mine).order_by(quarantine.c.offset)).all() == before
    assert reconcile(*parts, bus.clock() + timedelta(minutes=1)) == 0
