"""Work leaves the device as a file, and a receipt comes back (OFF-15, docs/carry-file.md).

For a device whose network will not come back soon, or that was shut out: what it holds is carried
to the office by hand. The file changes nothing here; the receipt does what a connection would have
done with the same answers, and either may come first.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from replica.device.holding import Holding
from replica.device.journal import State
from replica.errors import Forbidden, MisuseError, StorageFull, StoreUnavailable
from replica.events.event import event_id
from replica.sync import carry
from replica.sync.messages import Outcome
from replica.sync.verdicts import answers

_NEW_FILE = os.O_CREAT | os.O_WRONLY | os.O_TRUNC


class Exported(NamedTuple):
    """What was written. ``file`` is what names it on its way: the sum at its end, in hex."""

    events: int
    bytes: int
    file: str


class Receipt(NamedTuple):
    """What a receipt settled: own events that were waiting for an answer."""

    synced: int
    quarantined: int
    refused: int
    ignored: int  # answers about an epoch that is over, or that were known already


def export(
    holding: Holding, path: Path, *, everything: bool, now_ms: int, software: str
) -> Exported:
    """Write own events to ``path``: the unanswered ones, or ``everything`` this device said.

    Raises ``MisuseError`` when there is nothing, ``TooLarge`` when it is more than one file holds,
    ``StorageFull`` or ``StoreUnavailable`` when it cannot be written; ``path`` is then as before.
    """
    with holding.lock:
        identity = holding.identity
        chains = _everything(holding) if everything else _pending(holding)
        place = holding.journal.place
    count = sum(len(chain.events) for chain in chains)
    if not count:
        raise MisuseError("everything is on the server; there is nothing to carry")
    header = carry.Header(
        format=carry.FORMAT,
        sort=carry.WORK,
        account=identity.account,
        device=identity.device,
        made_ms=now_ms,
        software=software,
        events=count,
        log_id=place.log_id,
        generation=place.generation,
    )
    data = carry.encode_work(header, chains, carry.file_key(identity.token))
    _write(path, data)
    return Exported(count, len(data), carry.file_sum(data).hex())


def take_receipt(holding: Holding, data: bytes) -> Receipt:
    """Store the answers in a receipt. A second time, and after a sync, it changes nothing.

    Raises ``Malformed`` and its kin for a file that cannot be read, ``Forbidden`` when it is not
    for this device or not from its server, ``MisuseError`` when it answers events that this device
    does not have or is about another history of the log; then nothing changed.
    """
    receipt = carry.decode_receipt(data)
    header = receipt.header
    with holding.lock:
        identity, journal = holding.identity, holding.journal
        if (header.account, header.device) != (identity.account, identity.device):
            raise Forbidden("the receipt is another device's")
        if not carry.is_sealed(data, carry.file_key(identity.token)):
            raise Forbidden("the receipt was not made by this device's server")
        place = journal.place
        if place.log_id and (place.log_id, place.generation) != (header.log_id, header.generation):
            raise MisuseError(
                "the receipt is about another history of the server's log",
                hint="sync, or export again and import that",
            )
        epoch = journal.head.epoch
        mine = [one for one in receipt.answers if one.epoch == epoch and one.count]
        _check(holding, mine)
        if mine and not place.log_id:
            # Never connected: from now on it can be seen whether the log went back behind these.
            known = place._replace(log_id=header.log_id, generation=header.generation)
            holding.keep(known)
        before, states = journal.answered_n, [0, 0, 0]
        for one in mine:
            said = list(answers(one.verdicts, one.decisions))
            first_n = journal.lives[-1].first_n + one.first_seq - 1
            fresh = said[max(before + 1 - first_n, 0) :]
            for index, outcome in enumerate((Outcome.QUARANTINED, Outcome.REFUSED)):
                states[index] += sum(answer.outcome is outcome for answer in fresh)
            states[2] += len(fresh)
            if fresh:  # what is known stays as it was told: the log may have gone back since
                holding.settled(one.first_seq + len(said) - len(fresh), fresh)
    quarantined, refused, settled = states
    ignored = header.events - settled
    return Receipt(settled - quarantined - refused, quarantined, refused, ignored)


def _pending(holding: Holding) -> list[carry.Part]:
    journal = holding.journal
    first_seq = journal.answered_n + 1 - journal.lives[-1].first_n + 1
    events = tuple(row.data for row in journal.pending())
    return [carry.Part(journal.head.epoch, first_seq, events)] if events else []


def _everything(holding: Holding) -> list[carry.Part]:
    """Every life of this device, up to where one ended: what was said again in the next life is
    there, and must not be said twice."""
    journal = holding.journal
    ends = [life.first_n - 1 for life in journal.lives[1:]] + [journal.last_n]
    chains = []
    for life, end in zip(journal.lives, ends, strict=True):
        if life.device != holding.identity.device:
            continue
        events = []
        for row in journal.answered(life.first_n, end):
            if row.state is State.REMADE:
                break
            events.append(row.data)
        if events:
            chains.append(carry.Part(life.epoch, 1, tuple(events)))
    return chains


def _check(holding: Holding, answered: list[carry.Answered]) -> None:
    """Every answer is about an event that is here, and none before it is without one."""
    journal = holding.journal
    first_n = journal.lives[-1].first_n
    reached = journal.answered_n
    for one in answered:
        first, last = first_n + one.first_seq - 1, first_n + one.first_seq + one.count - 2
        rows = journal.own(last, last)
        if first > reached + 1 or not rows or event_id(rows[0].data) != one.head:
            raise MisuseError(
                "the receipt answers work that this device does not have",
                hint="it is for a copy of this device, or one restored since: sync to repair that",
            )
        reached = max(reached, last)


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing, and on the disk when this returns."""
    part = path.with_name(f"{path.name}.part")
    try:
        with os.fdopen(os.open(part, _NEW_FILE, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise StorageFull("no room for the file; nothing was written") from error
        raise StoreUnavailable(f"cannot write {path.name}: {error.strerror}") from error
