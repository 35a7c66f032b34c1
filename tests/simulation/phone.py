"""A phone: the real holding over a journal in memory, and the real session without a socket."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from replica.device.chain import Fact, extend
from replica.device.holding import Holding
from replica.device.proof import Proof
from replica.device.session import Report, Session
from replica.events.payloads import Payload
from replica.limits import CLOCK_SET_MS
from replica.sync import effects as e
from replica.sync.table import State
from tests.simulation.disk import Disk, Image, MemoryJournal, disk_of, enrolled
from tests.simulation.fuse import Fuse
from tests.simulation.plain import PlainJournal
from tests.simulation.workload import Said


class SteadyClock:
    """What :class:`replica.device.session.Clock` is, over the world's time."""

    def __init__(self, wall_ms: Callable[[], int], world_ms: Callable[[], int]) -> None:
        self._wall_ms, self._world_ms = wall_ms, world_ms
        self._offset_ms = wall_ms() - world_ms()

    def now_ms(self) -> int:
        return self._world_ms() + self._offset_ms

    @property
    def was_set(self) -> bool:
        return abs(self._wall_ms() - self.now_ms()) > CLOCK_SET_MS


class Begun(NamedTuple):
    """What a session does beside itself, once the world comes to it."""

    session: Session
    work: Coroutine[Any, Any, None]


class TaskGroup:
    """That of a session: what is begun is left on its phone."""

    def __init__(self, phone: Phone, session: Session) -> None:
        self._phone, self._session = phone, session

    def create_task(self, work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        self._phone.begun.append(Begun(self._session, work))
        return work


class Phone:
    """One copy of one device. A clone is a second copy: the same device, another ``name``."""

    def __init__(
        self, name: str, device: bytes, world_ms: Callable[[], int], image: Image | None = None
    ) -> None:
        self.name = name
        self.device = device
        self.skew_ms = 0
        self.fuse = Fuse()
        self.session: Session | None = None
        self.revoked = False
        self.manual = False
        self.fetches_lost = 0
        self.begun: list[Begun] = []
        self._world_ms = world_ms
        self.report = self._reports()
        image = enrolled(device, real=False) if image is None else image
        self.holding = Holding(disk_of(image, self.fuse))

    def be_manual(self, manual: bool) -> None:
        """Its user wishes for the work of others, or it comes by itself."""
        self.manual = manual
        self.report = self._reports()

    @property
    def holds_back(self) -> bool:
        """Whether the work of others is to wait, by what its user chose and wished for."""
        report = self.report
        return self.manual and report.proof is None and report.unmended is None

    def _reports(self) -> Report:
        return Report(changed=lambda: None, manual=self.manual)

    def wall_ms(self) -> int:
        return self._world_ms() + self.skew_ms

    # The disk -------------------------------------------------------------------------------------

    @property
    def journal(self) -> Disk:
        journal = self.holding.journal
        assert isinstance(journal, MemoryJournal | PlainJournal)
        return journal

    def image(self) -> Image:
        return self.journal.image()

    def start_from(self, image: Image) -> None:
        """The program starts on this disk; what was in memory is gone."""
        self.drop_begun()
        self.journal.close()
        self.fuse.left = 0
        self.session = None
        self.fetches_lost = 0
        self.report = self._reports()
        self.holding = Holding(disk_of(image, self.fuse))

    # The user -------------------------------------------------------------------------------------

    def save(self, payload: Payload) -> None:
        self.holding.append([payload], self.wall_ms())

    def smuggle(self, said: Said) -> bytes:
        """Append what this program would not let its user say; a newer program would."""
        journal = self.journal
        fact = Fact(said.kind, said.version, said.body, said.deps)
        made = extend(self.holding.author, journal.head, [fact], self.wall_ms())
        journal.append(made, journal.numbers)
        self.holding.overlay = self.holding._laid()
        return made[0].id

    # The connection -------------------------------------------------------------------------------

    @property
    def online(self) -> bool:
        return self.session is not None and self.session._peer.state is not State.CLOSED

    def drop_begun(self) -> None:
        """What was begun and has not been done is not done any more."""
        for one in self.begun:
            one.work.close()
        self.begun = []

    def connect(self) -> list[bytes | e.Close]:
        self.drop_begun()
        self.session = Session(self.holding, self.report, wall_ms=self.wall_ms, software="sim")
        clock = SteadyClock(self.wall_ms, self._world_ms)
        self.session._clock = clock  # type: ignore[assignment]
        self.session._tasks = TaskGroup(self, self.session)  # type: ignore[assignment]
        self.session._perform(self.session._peer.opened(clock.now_ms()))
        return self._said()

    def receive(self, data: bytes) -> list[bytes | e.Close]:
        assert self.session is not None
        peer = self.session._peer
        self.session._perform(peer.receive(data, self.session._clock.now_ms()))
        return self._said()

    def tick(self, *, rang: bool) -> list[bytes | e.Close]:
        """What the session's ticker does: the bell rang, or a timer may be due."""
        assert self.session is not None
        peer, clock = self.session._peer, self.session._clock
        effects: Sequence[e.Effect]
        if clock.was_set:
            effects = peer.close("closed", "the device's clock was set")
        elif rang:
            effects = peer.offer(clock.now_ms())
        else:
            effects = peer.tick(clock.now_ms())
        self.session._perform(effects)
        return self._said()

    def hang_up(self) -> None:
        if self.session is not None:
            self.session._peer.lost()
            self.session = None

    def wish_for_proof(self) -> None:
        self.report.proof, self.report.proved = Proof(), None

    @property
    def held_back(self) -> bool:
        """Whether work of others is here, and waits for its user."""
        return self.session is not None and self.session._held is not None

    def prove(self) -> list[bytes | e.Close]:
        if self.session is not None:
            self.session._perform([])
        return self._said()

    def _said(self) -> list[bytes | e.Close]:
        said: list[bytes | e.Close] = []
        while self.session is not None and not self.session._outgoing.empty():
            said.append(self.session._outgoing.get_nowait())
        return said
