"""A receipt settles what waits for an answer, and nothing else."""

from __future__ import annotations

from pathlib import Path

from replica.device.carrying import take_receipt
from replica.device.holding import Holding
from replica.sync import carry
from replica.sync.messages import Outcome, Verdict
from tests.device.desk import ACCOUNT, NOW_MS, customer, opened

LOG_ID = b"the-log-of-tests"


def receipt(holding: Holding, position: int) -> bytes:
    """One that says the device's only event is in the log at ``position``."""
    header = carry.Header(
        format=carry.FORMAT,
        sort=carry.RECEIPT,
        account=ACCOUNT,
        device=holding.identity.device,
        made_ms=NOW_MS,
        software="test",
        events=1,
        log_id=LOG_ID,
        generation=3,
    )
    verdict = Verdict(Outcome.ACCEPTED, 1, position)
    answered = carry.Answered(1, 1, holding.journal.head.id, (verdict,))
    return carry.encode_receipt(header, [answered], carry.file_key(holding.identity.token))


def test_a_late_receipt_leaves_what_is_known(tmp_path: Path) -> None:
    """A receipt of a log that was put back unnoticed does not replace what the device was told
    since: what is answered stays as it is (OFF-15, I-3; first seen in a simulation)."""
    holding = opened(tmp_path / "device.db")
    holding.append([customer(1)], NOW_MS)
    late = receipt(holding, 9)
    assert take_receipt(holding, receipt(holding, 4)).synced == 1
    taken = take_receipt(holding, late)
    assert (taken.synced, taken.ignored) == (0, 1)
    assert [row.answer.position for row in holding.journal.own(1, 1) if row.answer] == [4]
    assert holding.journal.place.reach == 4
    holding.close()


def test_a_device_that_never_connected_remembers_the_log_of_its_receipt(tmp_path: Path) -> None:
    """It says so when it meets the server, which then can tell it that its log was restored since
    and has to be told again (OFF-15, I-10; first seen in a simulation)."""
    holding = opened(tmp_path / "device.db")
    holding.append([customer(1)], NOW_MS)
    take_receipt(holding, receipt(holding, 4))
    standing = holding.standing("test")
    assert (standing.log_id, standing.generation, standing.cursor) == (LOG_ID, 3, 0)
    holding.close()
