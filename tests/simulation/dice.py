"""Randomness that a step carries with it: dropping one step leaves every other step as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_MASK = (1 << 64) - 1


class Dice:
    """Splitmix64: the same seed throws the same numbers on every machine."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def throw(self) -> int:
        """64 random bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, count: int) -> int:
        return self.throw() % count

    def chance(self, percent: int) -> bool:
        return self.throw() % 100 < percent

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.throw() % len(choices)]
