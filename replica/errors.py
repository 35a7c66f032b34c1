"""Every error this package raises on purpose, in one tree.

The family says who is to blame and what the receiver does next:

- ``ReplicaError``
  - ``PeerError`` (theirs): tell the peer once, with the code; never retried as it is.
    - ``Malformed``     bytes that are no valid frame, event or payload
    - ``TooLarge``      a bound of :mod:`replica.limits` was passed
    - ``Forbidden``     not enrolled, revoked, another device's identity, no grant
    - ``Forked``        one (device, epoch, seq) with two contents; repair is a new epoch
    - ``UpgradeRequired``  no common protocol version; the device keeps its outbox
    - ``ProtocolViolation``  a valid frame at a time when it is not allowed
      - ``Gap``         a push above the end of the device's chain; resume from ``head_seq``
  - ``WorldError`` (the world's): retry with backoff and full jitter.
    - ``StoreUnavailable``  the log cannot commit now
    - ``StorageFull``       no room left; reads go on, writes are refused as retryable
    - ``PeerGone``          the connection ended
    - ``Overloaded``        a bounded queue is full; retry after the hint
  - ``MisuseError`` (the caller's): a bug or a wrong argument in the calling program.
    - ``InUse``         the journal of a device is open in another program
  - ``CorruptionError`` : stop, keep the evidence, call the operator.
    - ``StoreFailed``   an I/O error came out of a commit; the process must end (reliability D4)

``code`` is stable and appears on the wire and in logs (wire-protocol.md §8).
"""

from __future__ import annotations

from typing import Any


class ReplicaError(Exception):
    """Base of every error raised on purpose. ``code`` is stable; ``hint`` is for an operator.

    It can be pickled, for a caller in another process.
    """

    code: str = "error"
    hint: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args, self.__dict__)


class PeerError(ReplicaError):
    """The peer sent something we do not accept. Told once; sending it again changes nothing."""

    code = "peer_error"


class Malformed(PeerError):
    """Bytes that are not a valid frame, event or payload."""

    code = "malformed"


class TooLarge(PeerError):
    """A bound was passed. ``what`` names the bound, ``limit`` and ``actual`` share its unit."""

    code = "too_large"

    def __init__(self, what: str, *, limit: int, actual: int) -> None:
        super().__init__(f"{what} is {actual}, the limit is {limit}")
        self.what = what
        self.limit = limit
        self.actual = actual


class Forbidden(PeerError):
    """The peer may not do this: unknown or revoked token, another's identity, no grant."""

    code = "forbidden"


class Revoked(Forbidden):
    """The device was revoked. Its unsent work stays on it and can be exported."""

    code = "revoked"


class Forked(PeerError):
    """Two contents under one (device, epoch, seq): a clone or a restored backup.

    Repair: go on under ``next_epoch`` and offer unacknowledged work again (wire-protocol.md §6).
    """

    code = "forked"

    def __init__(self, *, epoch: int, seq: int, next_epoch: int) -> None:
        super().__init__(f"epoch {epoch} has another event at seq {seq}; continue as {next_epoch}")
        self.epoch = epoch
        self.seq = seq
        self.next_epoch = next_epoch


class UpgradeRequired(PeerError):
    """No common protocol version. The device keeps its outbox and asks for an update."""

    code = "upgrade_required"


class ProtocolViolation(PeerError):
    """A well-formed frame at a moment when the state machine does not allow it."""

    code = "protocol_violation"


class Gap(ProtocolViolation):
    """A push starts above the end of the device's chain. Go on from ``head_seq`` + 1."""

    code = "gap"

    def __init__(self, *, head_seq: int, first_seq: int) -> None:
        super().__init__(f"push starts at seq {first_seq}, the chain ends at {head_seq}")
        self.head_seq = head_seq
        self.first_seq = first_seq


class WorldError(ReplicaError):
    """Nobody's fault. Retry with backoff and full jitter."""

    code = "unavailable"


class StoreUnavailable(WorldError):
    """The log cannot take or give events at this moment."""

    code = "store_unavailable"


class StorageFull(StoreUnavailable):
    """No space left. Reads go on; a write may be retried once space was made."""

    code = "storage_full"


class PeerGone(WorldError):
    """The connection ended before the answer came. The outcome is unknown; ask again by id."""

    code = "peer_gone"


class Overloaded(WorldError):
    """A bounded queue is full. ``retry_after_ms`` is advice, not a promise."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after_ms: int = 1_000) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class MisuseError(ReplicaError):
    """The calling program asked for something that cannot be meant."""

    code = "misuse"


class InUse(MisuseError):
    """A journal that another program, or another object of this one, has open. Close that first."""

    code = "in_use"


class CorruptionError(ReplicaError):
    """Stored bytes do not verify. Stop, keep the evidence, tell the operator."""

    code = "corruption"


class StoreFailed(CorruptionError):
    """A commit ended in an I/O error. Nothing may be acknowledged; end the process and recover."""

    code = "store_failed"


def _made_again(
    kind: type[ReplicaError], args: tuple[Any, ...], state: dict[str, Any]
) -> ReplicaError:
    """The same error without its constructor, whose arguments became a message."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error
