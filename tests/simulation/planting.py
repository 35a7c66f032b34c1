"""How a bug is planted: the product with one guard removed, for as long as a context lasts.

A simulator that finds nothing proves nothing, so each planted bug must be found within
``SEEDS_MAX`` seeds (reliability §2: every guard has a twin that fails without it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

SEEDS_MAX = 2_000

Mutant = Callable[[], AbstractContextManager[None]]
Patch = Callable[[], Any]


def planted(*patches: Patch) -> Mutant:
    """``patches`` make their context managers when the mutant is entered."""

    @contextmanager
    def mutant() -> Iterator[None]:
        with ExitStack() as stack:
            for make in patches:
                stack.enter_context(make())
            yield

    return mutant


def instead(target: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """A patch of ``target.name`` by ``make(original)``."""

    def planted() -> Any:
        return patch.object(target, name, make(getattr(target, name)))

    return planted


def same(value: Any) -> Callable[[Any], Any]:
    return lambda _: value
