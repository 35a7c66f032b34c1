"""Devices as the office deals with them: codes, enrolment, revocation, how they are doing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from replica.errors import Forbidden, Malformed
from replica.events.event import UUID_BYTES, AccountId, DeviceId
from replica.events.kinds import REGISTRY
from replica.events.payloads import DeviceEnrolled, DeviceRevoked, Payload
from replica.limits import ENROLMENT_CODE_TTL_MS, NAME_CHARS_MAX
from replica.server import beginning
from replica.server.answers import NotFound
from replica.server.beginning import Policy
from replica.server.connections import Connections
from replica.server.door import WEB, Door
from replica.server.scoped import granted
from replica.server.scopes import Wish
from replica.store.access import CODE_BYTES, TOKEN_BYTES, Device, Touch, make_code, make_token
from replica.store.control import Control
from replica.store.lives import Histories

CODE_MINUTES = ENROLMENT_CODE_TTL_MS // 60_000


@dataclass(frozen=True)
class Enrolled:
    """What a device gets for its code. ``token`` exists here and on the device only."""

    device: Device
    token: str

    def __repr__(self) -> str:
        return f"Enrolled(device={self.device.device.hex()})"


@dataclass(frozen=True)
class DeviceRow:
    """One device as shown. ``user`` is the id of who uses it, if that was said; ``pending`` and
    ``behind`` are None when nobody knows."""

    id: str
    name: str
    user: bytes | None
    state: str  # online, offline, never, revoked
    seen_ms: int | None
    pending: int | None
    behind: int | None
    offset_ms: int | None
    software: str
    outdated: str = ""  # why its program was sent away, in words, if it was
    life: int = 1  # above 1 it was copied, put back to an older state, or fetched everything again


class Devices:
    """The devices of all accounts. ``head`` reads the position of an account's log, blocking."""

    def __init__(
        self,
        control: Control,
        door: Door,
        connections: Connections,
        *,
        head: Callable[[AccountId], int],
        histories: Callable[[AccountId], Histories],
        now_ms: Callable[[], int],
    ) -> None:
        self._control = control
        self._door = door
        self._connections = connections
        self._head = head
        self._histories = histories
        self._now_ms = now_ms

    async def open_code(
        self,
        account: AccountId,
        name: str,
        user: bytes | None = None,
        wish: Wish | None = None,
    ) -> str:
        """A code that lets one device in during the next minutes. What ``wish`` leaves out is as
        the account's policy says. Raises ``Malformed`` for an unusable name and a scope that cannot
        be, ``TooLarge`` for one that is too long, and ``Overloaded`` while too many codes are
        open."""
        code = make_code(secrets.token_bytes(CODE_BYTES))
        await asyncio.to_thread(self._open, account, code, _checked_name(name), user, wish)
        return code

    def _open(
        self, account: AccountId, code: str, name: str, user: bytes | None, wish: Wish | None
    ) -> None:
        now_ms, stored = self._now_ms(), None
        if wish is not None and wish != Wish():
            stored = beginning.encode_wish(wish)
            policy = self._control.wish(account)
            beginning.check([one for one in (policy, stored) if one is not None], now_ms)
        self._control.open_enrolment(
            account, code, name=name, now_ms=now_ms, user=user, wish=stored
        )

    async def user(self, account: AccountId, login: str) -> bytes:
        """The user with this login. Raises ``NotFound``."""
        rows = await asyncio.to_thread(self._control.users, account)
        for row in rows:
            if row.login == login.casefold():
                return row.id
        raise NotFound("there is no such user", hint="see: replica user ls")

    async def policy(self, account: AccountId) -> Policy:
        """What new devices of an account begin with."""
        return beginning.policy_of(await asyncio.to_thread(self._control.wish, account))

    async def set_policy(self, account: AccountId, policy: Policy) -> Policy:
        """Let devices that enrol from now on begin with something else, and give that. Those that
        are in keep what they hold. Raises ``Malformed`` and ``TooLarge``."""
        stored = policy.stored()
        if stored is not None:
            beginning.check([stored], self._now_ms())
        await asyncio.to_thread(self._control.set_wish, account, stored)
        return beginning.policy_of(stored)

    async def enrol(self, code: str, *, software: str, address: str) -> Enrolled:
        """Exchange a code for an identity. Raises ``Forbidden`` for a wrong, used or expired code
        and ``Overloaded`` after too many of those from ``address``."""
        token = make_token(secrets.token_bytes(TOKEN_BYTES))
        identity, now_ms = DeviceId(secrets.token_bytes(UUID_BYTES)), self._now_ms()

        def first(wishes: Sequence[bytes]) -> bytes:
            return REGISTRY.say(beginning.first_scope(identity, wishes, now_ms)).body

        device = await asyncio.to_thread(
            self._control.enrol,
            code,
            identity,
            token,
            source=address,
            now_ms=now_ms,
            software=software[:NAME_CHARS_MAX],
            first=first,
        )
        user = device.user.hex() if device.user else ""
        facts: list[Payload] = [DeviceEnrolled(identity.hex(), device.name, user)]
        if device.scope is not None:
            facts.append(granted(device))
        await self._door.submit_local(device.account, WEB, facts)
        return Enrolled(device, token)

    async def revoke(self, account: AccountId, device: str) -> None:
        """Shut a device out now. Raises ``Forbidden`` when there is none of this id in use."""
        identity = parse_device(device)
        now_ms = self._now_ms()
        done = await asyncio.to_thread(self._control.revoke, account, identity, now_ms=now_ms)
        if not done:
            raise Forbidden("there is no such device, or it is revoked already")
        self._connections.revoke(account, identity)
        await self._door.submit_local(account, WEB, [DeviceRevoked(device=identity.hex())])

    async def rows(self, account: AccountId) -> list[DeviceRow]:
        """Every device, those in use first, by name."""
        left = self._connections.left()  # before reading: what is written meanwhile is in both
        devices = await asyncio.to_thread(self._control.devices, account)
        head = await asyncio.to_thread(self._head, account)
        left |= self._connections.left()
        lives = (await asyncio.to_thread(self._histories, account)).lives
        rows = [self._row(_after(device, left), head, lives) for device in devices]
        return sorted(rows, key=lambda row: (row.state == "revoked", row.name.casefold(), row.id))

    async def restored_ms(self, account: AccountId) -> int:
        """When the account's log was last put back to a backup; 0 for never, or not known."""
        return (await asyncio.to_thread(self._histories, account)).restored_ms

    def _row(self, device: Device, head: int, lives: Mapping[str, int]) -> DeviceRow:
        connection = self._connections.find(device.account, device.device)
        if device.revoked_ms is not None:
            state = "revoked"
        elif connection is not None and connection.met:
            state = "online"
        else:
            state = "offline" if device.last_seen_ms else "never"
        online = connection if state == "online" else None
        reported = online.reported if online else None
        never = state == "never"
        return DeviceRow(
            id=device.device.hex(),
            name=device.name,
            user=device.user,
            state=state,
            seen_ms=self._now_ms() if online else device.last_seen_ms,
            pending=reported.pending if reported else None,
            behind=max(0, head - online.confirmed) if online else None,
            offset_ms=online.offset_ms if online else None if never else device.offset_ms,
            software=online.hello.software if online else device.software,
            life=lives.get(device.device.hex(), 1),
            outdated="" if online else self._connections.outdated(device.account, device.device),
        )


def _after(device: Device, left: Mapping[tuple[AccountId, DeviceId], Touch]) -> Device:
    """``device`` with what is known of it and not written yet."""
    touch = left.get((device.account, device.device))
    if touch is None or touch.last_seen_ms <= (device.last_seen_ms or 0):
        return device
    return device._replace(
        last_seen_ms=touch.last_seen_ms, offset_ms=touch.offset_ms, software=touch.software
    )


def parse_device(text: str) -> DeviceId:
    """A device id from its 32 hexadecimal digits. Raises ``Malformed``."""
    try:
        identity = bytes.fromhex(text)
    except ValueError:
        identity = b""
    if len(identity) != UUID_BYTES:
        raise Malformed("a device id is 32 hexadecimal digits")
    return DeviceId(identity)


def _checked_name(name: str) -> str:
    cleaned = " ".join(name.split())
    if not 1 <= len(cleaned) <= 80 or not cleaned.isprintable():
        raise Malformed("a device's name is 1 to 80 printable characters")
    return cleaned
