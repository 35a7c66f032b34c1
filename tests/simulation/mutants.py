"""Planted bugs: the product with one guard removed, each for as long as a context lasts.

Those about scopes are in :mod:`tests.simulation.mutants_scope`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from itertools import count
from typing import Any
from unittest.mock import patch

from qbo_sink import doubt, estimate, marker
from qbo_sink import plan as sink_plan
from replica import ingest
from replica.crdt import order as orders
from replica.crdt import retention, stock, twins, view
from replica.crdt.digest import SectionTotals
from replica.crdt.documents import Document
from replica.crdt.registers import read
from replica.device import carrying, session
from replica.device import chunks as device_chunks
from replica.device import holding as device
from replica.device.holding import Holding
from replica.device.journal import Journal, State
from replica.events import rules
from replica.events.clock import ZERO_STAMP, Corrected, correct
from replica.events.event import decode_event
from replica.events.kinds import decode_payload
from replica.store import memory
from replica.sync import carry, server_peer
from replica.sync.downstream import Downstream
from replica.sync.effects import Apply
from replica.sync.messages import Outcome
from replica.sync.verdicts import answers
from tests.simulation import errands, mutants_scope, workload
from tests.simulation import server as sim_server
from tests.simulation.books import Sink
from tests.simulation.disk import DiskLog
from tests.simulation.nemesis import Nemesis
from tests.simulation.plain import PlainJournal
from tests.simulation.planting import Mutant, Patch, instead, planted, same

MUTANTS: dict[str, Mutant] = {}


def _plant(name: str, *patches: Patch) -> None:
    MUTANTS[name] = planted(*patches)


# Log and door -----------------------------------------------------------------------------------


def _unsynced(append: Any) -> Any:
    """Every third commit reaches the disk; a crash takes what came after it."""

    @wraps(append)
    def planted(self: Any, requests: Any) -> Any:
        self.appends += 1
        if self.appends % 3 == 1:
            self.synced = self.backup()
        return append(self, requests)

    return planted


def _stop_without_sync(stop: Any) -> Any:
    @wraps(stop)
    def planted(self: Any, server: Any, dice: Any) -> None:
        stop(self, server, dice)
        synced = getattr(self.log, "synced", None)
        if synced is not None and self.backup is None:
            self.log.restore(synced, raised=False)
            self._head = (synced.position, synced.chain)
            self.log.synced = None

    return planted


_plant(
    "acknowledge before commit",
    instead(DiskLog, "append", _unsynced),
    instead(Nemesis, "_stop", _stop_without_sync),
)


def _admit_again(admit: Any) -> Any:
    def planted(context: Any, head: Any, first_seq: int, events: Sequence[bytes]) -> Any:
        if not 0 < first_seq <= head.seq:
            return (yield from admit(context, head, first_seq, events))
        before = head._replace(seq=first_seq - 1, hash=decode_event(events[0]).prev)
        judged = ingest.judge(context, before, events)
        request = judged.request
        assert request is not None
        result = yield request._replace(before=head)
        return ingest.Admitted(ingest.settle(judged, result), request.after, result.segment)

    return planted


_plant("no dedupe at the door", instead(sim_server, "admit", _admit_again))
_plant("two writers of one chain", instead(memory, "same_end", same(lambda one, other: True)))
_plant("bad events get in", instead(ingest, "decode_payload", same(lambda event: None)))
_plant("anybody answers for a sink", instead(ingest, "ORIGINS", same({})))


def _hold_all(reason: Any) -> Any:
    return lambda self, event: (
        ("payload", "something before it is bad") if self._held else reason(self, event)
    )


def _hold_unknown(reason: Any) -> Any:
    return lambda self, event: (
        reason(self, event)
        or (("payload", "unknown kind") if decode_payload(event) is None else None)
    )


def _hold_alone(reason: Any) -> Any:
    def planted(self: Any, event: Any) -> Any:
        found = reason(self, event)
        return None if found and found[0] == ingest.QUARANTINE_WAITS_ON else found

    return planted


_plant("quarantine blocks the rest", instead(ingest._Bench, "_reason_to_hold", _hold_all))
_plant("unknown kinds are not taken", instead(ingest._Bench, "_reason_to_hold", _hold_unknown))
_plant("dependants do not wait", instead(ingest._Bench, "_reason_to_hold", _hold_alone))
_plant("kept aside without a reason", instead(ingest, "bounded", same(lambda text: "")))


# Time -------------------------------------------------------------------------------------------

_plant(
    "any time is believed",
    instead(ingest, "correct", same(lambda raw, **_: Corrected(raw, disputed=False))),
)
_plant(
    "the clock offset is ignored",
    instead(
        ingest, "correct", lambda _: lambda raw, **said: correct(raw, **{**said, "offset_ms": 0})
    ),
)
_plant(
    "merge time may go back",
    instead(
        ingest,
        "correct",
        lambda _: lambda raw, **said: correct(raw, **{**said, "last": ZERO_STAMP}),
    ),
)
_plant(
    "decided stamp ignored on the device",
    instead(
        Holding,
        "_decided",
        lambda decided: lambda self, n, own, said: decided(self, n, own, said._replace(stamp=None)),
    ),
)

# Down -------------------------------------------------------------------------------------------


def _page_without_first(serve: Any) -> Any:
    return lambda self, segments, kept: serve(self, segments, kept[1:] if len(kept) > 1 else kept)


def _others_of_any_life(_: Any) -> Any:
    return lambda self, segments: tuple(one for one in segments if one.device != self._own[0])


def _offer_over_gaps(_: Any) -> Any:
    def planted(self: Any, offer: Any, *, hold: bool = False) -> Any:
        self.head = max(self.head, offer.last)
        if hold or self.reading or offer.last <= self.passed:
            return None
        return self._serve(offer.segments, self._others(offer.segments))

    return planted


def _same_log_at_all(_: Any) -> Any:
    return lambda hello, standing: hello.cursor <= standing.head.position


def _same_generation(_: Any) -> Any:
    return lambda hello, standing: (
        not hello.log_id
        or (
            (hello.log_id, hello.generation) == standing.head[:2]
            and hello.cursor <= standing.head.position
        )
    )


_plant("cursor one too far", instead(Downstream, "_serve", _page_without_first))
_plant("other lives count as own", instead(Downstream, "_others", _others_of_any_life))
_plant("an offer skips a gap", instead(Downstream, "offer", _offer_over_gaps))
_plant("the window never opens", instead(Downstream, "confirm", same(lambda self, at: None)))
_plant("generation ignored", instead(server_peer, "_same_history", _same_log_at_all))
_plant("chain unchecked", instead(server_peer, "_same_history", _same_generation))

# The device -------------------------------------------------------------------------------------


def _answers_first(settled: Any) -> Any:
    def planted(self: Any, first_seq: int, answers: Any) -> None:
        first = self._n_of(first_seq)
        own = [device._made(row) for row in self.journal.own(first, first + len(answers) - 1)]
        decided = [self._decided(first + at, own[at], said) for at, said in enumerate(answers)]
        with self.journal.commit():
            self.journal.put_answers(decided)
        settled(self, first_seq, answers)

    return planted


def _cursor_first(received: Any) -> Any:
    def planted(self: Any, segments: Any, through: int, chain_hash: bytes) -> None:
        place = self.journal.place._replace(cursor=through, chain=chain_hash)
        with self.journal.commit():
            self.journal.put_place(place)
        received(self, segments, through, chain_hash)

    return planted


def _fork_in_place(_: Any) -> Any:
    def planted(self: Any, next_epoch: int) -> None:
        if next_epoch > self.journal.head.epoch:
            self._renew(self.journal.identity, next_epoch, self.journal.place)

    return planted


def _keep_answers(start_over: Any) -> Any:
    return lambda self, log_id, generation, known_seq: start_over(
        self, log_id, generation, self.journal.head.seq
    )


def _one_further(answers: Any) -> Any:
    return lambda *said: (one._replace(position=one.position + 1) for one in answers(*said))


_plant("answers stored before their fold", instead(Holding, "settled", _answers_first))
_plant("cursor stored before its page", instead(Holding, "received", _cursor_first))
_plant("a fork keeps the cursor", instead(Holding, "fork", _fork_in_place))
_plant("a fork drops what waits", instead(device, "remake", same(lambda *_: [])))
_plant("a reset keeps the documents", instead(Journal, "drop_base", same(lambda self: None)))
_plant("a reset keeps the answers", instead(Holding, "start_over", _keep_answers))
_plant(
    "kept aside is told as taken",
    lambda: patch.dict(device._STATES, {Outcome.QUARANTINED: State.ACKNOWLEDGED}),
)
_plant("answers name the next position", instead(session, "answers", _one_further))
_plant(
    "epochs are used again",
    instead(sim_server, "next_epoch", same(lambda heads, epoch: epoch)),
    instead(server_peer, "next_epoch", same(lambda heads, epoch: epoch)),
)

# What goes other ways than the wire --------------------------------------------------------------


def _any_history(take: Any) -> Any:
    def planted(holding: Holding, data: bytes) -> Any:
        journal, header = holding.journal, carry.read_header(data)
        log_id, generation = journal.place.log_id, journal.place.generation
        theirs = journal.place._replace(log_id=header.log_id, generation=header.generation)
        journal.place = theirs
        try:
            return take(holding, data)
        finally:
            journal.place = journal.place._replace(log_id=log_id, generation=generation)

    return planted


def _all_answers(_: Any) -> Any:
    def planted(holding: Holding, data: bytes) -> Any:
        found = carry.decode_receipt(data)
        for one in found.answers:
            if one.epoch == holding.journal.head.epoch:
                said = list(answers(one.verdicts, one.decisions))
                holding.settled(one.first_seq, said)
        return carrying.Receipt(0, 0, 0, found.header.events)

    return planted


def _confirm_held(keep: Any) -> Any:
    def planted(self: Any, effect: Any) -> Any:
        held = keep(self, effect)
        if isinstance(effect, Apply) and self._held is effect:
            return self._peer.appended(effect.through, self._clock.now_ms())
        return held

    return planted


def _arrived_first(take: Any) -> Any:
    def planted(self: Any, data: bytes) -> None:
        self._holding.keep(self._arrived(self._holding.journal.place))
        take(self, data)

    return planted


def _import_stays(drop: Any) -> Any:
    def planted(self: Any) -> None:
        kept = self._tables.imports
        drop(self)
        self._tables.imports = kept

    return planted


def _far_is_enough(wanted: Any) -> Any:
    def planted(holding: Holding, server_position: int) -> bool:
        place = holding.journal.place
        far = server_position - place.cursor >= vars(device_chunks)["CHUNKED_EVENTS_MIN"]
        idle = not holding.journal.pending_count
        return wanted(holding, server_position) or bool(place.cursor and far and idle)

    return planted


_plant("an import counts what it knows as new", instead(errands, "admit", _admit_again))
_plant("any history's receipt is believed", instead(carrying, "take_receipt", _any_history))
_plant("a receipt is not looked at", instead(carrying, "take_receipt", _all_answers))
_plant("a page that waits is confirmed", instead(session.Session, "_keep", _confirm_held))
_plant("nobody waits for a wish", instead(session.Report, "holds_back", same(False)))
_plant("an import's cursor comes first", instead(device_chunks.Import, "take", _arrived_first))
_plant("chunks take own later work away", instead(Holding, "own_behind", same(lambda *_: {})))
_plant("a base that goes leaves its import", instead(PlainJournal, "drop_base", _import_stays))
_plant("who starts anew fetches in bulk", instead(device_chunks, "wanted", _far_is_enough))

# Merging ----------------------------------------------------------------------------------------


def _arrival_order(_: Any) -> Any:
    def planted(self: Document, kind: str, fact: Any) -> bool:
        facts = self.facts.setdefault(kind, [])
        if any(one.tag == fact.tag for one in facts):
            return False
        facts.append(fact)
        return True

    return planted


def _twice(insert: Any) -> Any:
    def planted(self: Document, kind: str, fact: Any) -> bool:
        if not insert(self, kind, fact):
            self.facts[kind].append(fact)
        return True

    return planted


def _last_seal(effective: Any) -> Any:
    def planted(document: Document) -> Any:
        found = effective(document)
        if found is None or found.amended is not None:
            return found
        seal = document.facts["order.committed"][-1]
        return found._replace(content=orders.content_of("order.committed", seal), seal=seal)

    return planted


def _removed_lines_stay_away(draft: Any) -> Any:
    def planted(document: Document) -> Any:
        found = draft(document)
        gone = {said.line for _, _, said in read(document, "order.line_removed")}
        lines = {line: fields for line, fields in found.lines.items() if line not in gone}
        return found._replace(lines=lines)

    return planted


def _without_unset(registers: Any) -> Any:
    def planted(writes: Any) -> Any:
        found = {
            name: [write for write in given if write.value is not None]
            for name, given in registers(writes).items()
        }
        return {name: given for name, given in found.items() if given}

    return planted


def _dropped(kind: str) -> Any:
    def drop(document: Document, _: Any) -> None:
        document.facts.pop(kind, None)

    rule = retention.Rule((kind,), drop)
    return lambda: patch.dict(retention.RULES, {kind: rule})


class _NoOffice:
    WEB = 99


_plant("merge in order of arrival", instead(Document, "insert", _arrival_order))
_plant("the fold counts twice", instead(Document, "insert", _twice))
_plant("the last seal wins", instead(orders, "effective", _last_seal))
_plant("a removed line stays away", instead(orders, "draft", _removed_lines_stay_away))
_plant("unset is forgotten", instead(view, "registers", _without_unset))
_plant("tombstone dropped", _dropped("customer.deleted"))
_plant("a delete by the office is like any", instead(view, "Origin", same(_NoOffice)))
_plant(
    "stock by last write",
    instead(stock, "read", lambda read: lambda *said: list(read(*said))[-1:]),
)
_plant(
    "digests never forget",
    instead(SectionTotals, "remove", same(lambda self, key, state: None)),
)


def _in_floats(content: Any) -> int:
    places = 0 if content.currency == "JPY" else 2
    total = sum(round(line.qty_e3 * line.price_e4 / 1e7, places) for line in content.lines)
    charges = content.shipping_minor + content.fees_minor - content.discount_minor
    return int(total * 10**places) + int(charges)


_plant(
    "money in floats",
    instead(rules, "content_total_minor", same(_in_floats)),
    instead(workload, "content_total_minor", same(_in_floats)),
)

# The sink ---------------------------------------------------------------------------------------


def _random_ids(_: Any) -> Any:
    numbers = count()
    return lambda self, intent: f"random-{next(numbers)}"


_plant(
    "request id at random",
    instead(Sink, "_request", _random_ids),
    instead(doubt, "next_move", lambda _: lambda one, due_ms: doubt.Next(doubt.Move.SEND, due_ms)),
)
_plant("what is in doubt is replaced", instead(sink_plan, "UNKNOWN_OUTCOME", same(())))
_plant(
    "the sink forgets what stands there",
    instead(
        sink_plan,
        "decide",
        lambda decide: (
            lambda digest, **said: decide(
                digest, **{**said, "acknowledged_hash": None, "cancelled": False}
            )
        ),
    ),
)
_plant(
    "a cancelled order stays accepted",
    instead(
        sink_plan,
        "_needed",
        lambda needed: (
            lambda digest, *, cancelled, acknowledged_hash: needed(
                digest, cancelled=False, acknowledged_hash=acknowledged_hash
            )
        ),
    ),
)
_plant("no marker in the note", instead(marker, "append", same(lambda note, mark, limit: note)))
_plant(
    "lines are cut off, not rounded",
    instead(
        estimate,
        "line_total_minor",
        same(lambda qty, price, currency: qty * price // 10 ** (5 if currency == "USD" else 7)),
    ),
)


# Twins ------------------------------------------------------------------------------------------

_plant("names are compared letter by letter", instead(twins, "normalised", same(str)))

MUTANTS.update(mutants_scope.MUTANTS)
