"""A phone that holds a part of the account for a while, and then everything again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from replica.demo.processes import Rep

SECTIONS = ("customer", "order", "product")


def narrow(name: str, rep: Rep, customers: list[str], say: Callable[[str], None]) -> None:
    """``rep`` takes only ``customers`` with what belongs to them, proves it, and goes back."""
    some = rep.ask("choose", wish={"customers": customers, "prospects": [], "orders": "team"})
    say(
        f"{name} takes only {len(customers)} customers along: {_counts(some['before'])} become "
        f"{_counts(some['after'])}; {_moves(some)}; "
        f"{'equal' if some['equal'] else 'NOT equal'} to what the server grants"
    )
    every = rep.ask("choose", wish={"customers": "all", "prospects": "all"})
    say(f"{name} takes everything again: {_counts(every['after'])}; {_moves(every)}")


def _counts(sections: Mapping[str, int]) -> str:
    return ", ".join(f"{section} {sections.get(section, 0)}" for section in SECTIONS)


def _moves(answer: Mapping[str, Any]) -> str:
    cost = answer["cost"]
    return (
        f"{cost['enters']} documents enter (about {cost['enters_bytes']:,} bytes), "
        f"{cost['leaves']} leave"
    )
