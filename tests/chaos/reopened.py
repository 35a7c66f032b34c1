"""What has to be true of a directory that was found after a power loss, opened with the product."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from replica.crdt.digest import SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.device import Device
from replica.device.journal import State
from replica.events.event import AccountId, event_id
from replica.events.record import Record
from replica.projections.runner import Projector
from replica.projections.tables import open_views
from replica.store import migrations
from replica.store.backup import verify
from replica.store.engine import open_sqlite
from replica.store.sql import SqlLog
from tests.chaos.auditor import Ledger, LogAuditor, check_pages, demand
from tests.device.test_holding import check_chain


def check_server(folder: Path, told: Ledger, thorough: bool) -> None:
    """The log is whole and holds everything acknowledged; thoroughly, the server's own code opens
    and verifies it, and the read models go on from where they are and equal a rebuild."""
    path = folder / "log.db"
    if thorough:
        with closing(open_sqlite(path)) as database:
            if migrations.current(database) is None:
                migrations.upgrade(database)
            verify(database)
            _check_views(folder / "views.db", SqlLog(database))
    check_pages(path)
    auditor = LogAuditor(path)
    auditor.look()
    auditor.check(told)


def _check_views(path: Path, log: SqlLog) -> None:
    with closing(open_sqlite(path, profile="rebuildable")) as views:
        open_views(views.write)
        projector = Projector(views, log)
        with log._database.reading() as connection:
            rows = connection.exec_driver_sql("SELECT account FROM logs").all()
        for (account,) in rows:
            projector.catch_up(AccountId(account))
            rebuilt = projector.rebuild(AccountId(account))
            demand(rebuilt.equal is not False, "I-11: a rebuild gives another digest")
    check_pages(path)


class DeviceCheck:
    """For a device whose server ended with ``records`` in its log."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    def __call__(self, folder: Path, told: Ledger, thorough: bool) -> None:
        """The journal opens, holds everything saved in whole chains and everything answered, and
        its documents are what its answers and its cursor say they are."""
        path = folder / "journal.db"
        with Device.open(path) as device:
            holding = device._holding
            check_chain(holding)
            rows = {bytes(event_id(row.data)): row for row in holding.journal.own(1, 10_000)}
            lost = told.saved - rows.keys()
            demand(not lost, f"I-1: {len(lost)} of {len(told.saved)} saved events are lost")
            for identity, position in told.answered.items():
                answer = rows[identity].answer
                demand(answer is not None, "I-9: an answer that was shown is forgotten")
                demand(answer is None or answer.position == position, "I-4: another position")
            if thorough:
                self._check_documents(device)
        check_pages(path)

    def _check_documents(self, device: Device) -> None:
        journal = device._holding.journal
        rows = journal.own(1, 10_000)
        own = {event_id(row.data) for row in rows if row.state is State.ACKNOWLEDGED}
        documents: dict[DocKey, Document] = {}
        for position, record in enumerate(self._records, 1):
            if position <= journal.place.cursor or record.id in own:
                fold(documents, record)
        totals = SectionTotals()
        for key, document in documents.items():
            totals.add(key, document.encode())
        found = device._holding.level().sections
        demand(found == totals.sections(), "I-9: documents, answers and cursor do not fit")
