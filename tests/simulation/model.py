"""What documents must say, in the shortest words: slow, from nothing, each time from all events.

Written from the rules (architecture §5, requirements CON-01 … CON-09, decisions 0002 and 0004), not
from the product. Compared with the product's views on every replica.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from replica.crdt.documents import DocKey, Document
from replica.crdt.view import view
from tests.simulation.auditor import Row, demand

WEB = 2
CONTENTS_KEPT = 4  # the first seals of an order are kept, the log has the rest
Said = list[tuple[Row, Any]]


class Model:
    """Everything that was said, oldest tag first."""

    def __init__(self, rows: Sequence[Row]) -> None:
        known = [row for row in rows if row.version == 1 and row.kind != "parcel.weighed"]
        self.said: Said = [(row, row.said) for row in sorted(known, key=lambda row: row.tag)]

    def of(self, kinds: Iterable[str], name: str, identity: str) -> Said:
        wanted = set(kinds)
        return [
            (row, said)
            for row, said in self.said
            if row.kind in wanted and said.get(name) == identity
        ]

    def ids(self, kind: str, name: str) -> set[str]:
        return {said[name] for row, said in self.said if row.kind.startswith(kind + ".")}

    # Catalogue ------------------------------------------------------------------------------------

    def exists(self, kind: str, identity: str) -> bool:
        """The newest word of the office about deleting counts first; then the newest of all."""
        gates = self.of((f"{kind}.deleted", f"{kind}.restored"), kind, identity)
        office = [row for row, _ in gates if row.origin == WEB]
        if office and office[-1].kind.endswith("deleted"):
            return False
        everything = self.of(
            [f"{kind}.{word}" for word in ("created", "changed", "deleted", "restored")],
            kind,
            identity,
        )
        asserting = [row for row, _ in everything if not row.kind.endswith("deleted")]
        if not asserting:
            return False
        return not everything[-1][0].kind.endswith("deleted")

    def fields(self, kinds: Sequence[str], name: str, identity: str) -> dict[str, Any]:
        """Field by field, whoever wrote last."""
        found: dict[str, Any] = {}
        for _, said in self.of(kinds, name, identity):
            found.update(said["fields"])
        return found

    # Twins ----------------------------------------------------------------------------------------

    def twins(self) -> list[tuple[str, str]]:
        """Customers of one name, each with the next one by id; spelled out, not as the product."""
        named: dict[str, list[str]] = {}
        for identity in sorted(self.ids("customer", "customer")):
            meant = self.fields(("customer.created", "customer.changed"), "customer", identity)
            name = " ".join((meant.get("name") or "").lower().split())
            if name and self.exists("customer", identity):
                named.setdefault(name, []).append(identity)
        return [(ids[at], ids[at + 1]) for ids in named.values() for at in range(len(ids) - 1)]

    def choice(self, twin: str) -> tuple[str, str]:
        """What the office said last of a pair."""
        said = self.of(["twin.decided"], "twin", twin)
        return (said[-1][1]["choice"], said[-1][1].get("stays", "")) if said else ("ask", "")

    # Stock ----------------------------------------------------------------------------------------

    def on_hand_e3(self, product: str) -> int:
        counts = self.of(["stock.counted"], "product", product)
        since, sold_e3 = self.sold(product)
        on_hand_e3 = (counts[-1][1]["qty_e3"] if counts else 0) - sold_e3
        for row, said in self.of(["stock.moved"], "product", product):
            if row.tag > since:
                on_hand_e3 += said["qty_e3"]
        return int(on_hand_e3)

    def sold(self, product: str) -> tuple[bytes, int]:
        """The tag of the newest stock-take, and what all sales since then took."""
        counts = self.of(["stock.counted"], "product", product)
        since, sold_e3 = counts[-1][0].tag if counts else b"", 0
        for order in self.ids("order", "order"):
            content = self.content(order)
            cancelled = self.of(["order.cancelled"], "order", order)
            if content is not None and not cancelled and self.seal(order).tag > since:
                sold_e3 += _quantity_e3(content, product)
        for back in self.ids("return", "return"):
            row, said = self.of(["return.committed"], "return", back)[0]
            if row.tag > since:
                sold_e3 += _quantity_e3(said["content"], product)
        return since, sold_e3

    # Orders ---------------------------------------------------------------------------------------

    def seal(self, order: str) -> Row:
        return self.of(["order.committed"], "order", order)[0][0]

    def content(self, order: str) -> Any:
        """The first seal, or the newest amendment of it; None while nothing is sealed."""
        seals = self.of(["order.committed"], "order", order)
        if not seals:
            return None
        amended = self.of(["order.amended"], "order", order)
        return (amended[-1] if amended else seals[0])[1]["content"]

    def state(self, order: str) -> str:
        if self.of(["order.cancelled"], "order", order):
            return "cancelled"
        if self.content(order) is not None:
            return "sealed"
        drafts = ("order.drafted", "order.changed", "order.line_put", "order.line_removed")
        return "draft" if self.of(drafts, "order", order) else "unknown"

    def lines(self, order: str) -> dict[str, dict[str, Any]]:
        """Lines of the draft: every put that no removal names."""
        removed = {
            put
            for _, said in self.of(["order.line_removed"], "order", order)
            for put in said["seen"]
        }
        lines: dict[str, dict[str, Any]] = {}
        for row, said in self.of(["order.line_put"], "order", order):
            if row.id not in removed:
                lines.setdefault(said["line"], {}).update(said["fields"])
        return lines

    def other_seals(self, order: str) -> list[bytes]:
        """Seals that came second, say something else, and that nobody had seen since."""
        (first, _), *others = self.of(["order.committed"], "order", order)[:CONTENTS_KEPT]
        amended = [row for row, _ in self.of(["order.amended"], "order", order)]
        authors = {row.device[8:] for row in [first, *amended]}
        named = any(row.deps for row in [first, *amended])
        content = _plain(self.content(order))
        return [
            row.id
            for row, said in others
            if not named and row.device[8:] not in authors and _plain(said["content"]) != content
        ]


def _quantity_e3(content: Any, product: str) -> int:
    return sum(line[2] for line in content["lines"] if line[1] == product)


def _plain(content: Any) -> tuple[Any, ...]:
    """What can be compared of a content, from bytes or from a view."""
    lines = [tuple(line.values()) if isinstance(line, dict) else line for line in content["lines"]]
    return (
        content["customer"],
        content["currency"],
        content["total_minor"],
        content.get("note") or "",
        content.get("shipping_minor") or 0,
        [tuple(line)[:4] for line in lines],
    )


def check_documents(model: Model, documents: Mapping[DocKey, Document]) -> None:
    """Every document says what the model says, and none is missing or too many (I-10, I-28)."""
    checks: dict[str, tuple[str, Callable[[Model, str, Any], None]]] = {
        "customer": ("customer", _check_catalogue),
        "product": ("product", _check_catalogue),
        "order": ("order", _check_order),
        "quote": ("quote", _check_quote),
        "return": ("return", _check_return),
        "payment": ("payment", _check_payment),
        "twin": ("twin", _check_twin),
    }
    for kind, (name, check) in checks.items():
        ids = model.ids(kind, name)
        there = {key.id for key in documents if key.type == kind}
        demand(ids == there, f"I-10: {kind} documents are {sorted(there)}, not {sorted(ids)}")
        for identity in sorted(ids):
            check(model, identity, view(documents[DocKey(kind, identity)]))
    for product in model.ids("stock", "product"):
        seen = view(documents[DocKey("stock", product)])
        counts = model.of(["stock.counted"], "product", product)
        counted = counts[-1][1]["qty_e3"] if counts else None
        demand(seen["counted_e3"] == counted, f"CON-09: the newest count of {product}")


def check_twins(model: Model) -> None:
    """Once there is peace, everybody of one name is in a pair, and each pair was found once."""
    found = [
        (said["first"], said["second"]) for row, said in model.said if row.kind == "twin.found"
    ]
    missing = set(model.twins()) - set(found)
    demand(not missing, f"P57: nobody was asked about {sorted(missing)}")
    demand(len(found) == len(set(found)), f"P57: a pair was found twice: {sorted(found)}")


def _check_twin(model: Model, identity: str, seen: Any) -> None:
    (pair,) = {
        (said["first"], said["second"]) for _, said in model.of(["twin.found"], "twin", identity)
    }
    demand((seen["first"], seen["second"]) == pair, f"P57: whom the pair {identity} is about")
    choice = (seen["choice"], seen["stays"])
    demand(choice == model.choice(identity), f"P57: {identity} is {choice}")


def _check_catalogue(model: Model, identity: str, seen: Any) -> None:
    kind = seen["type"]
    demand(seen["exists"] == model.exists(kind, identity), f"I-28: whether {identity} exists")
    meant = model.fields((f"{kind}.created", f"{kind}.changed"), kind, identity)
    for name, value in seen["fields"].items():
        demand(value == meant.get(name), f"CON-01: {identity} {name} is {value}")


def _check_order(model: Model, identity: str, seen: Any) -> None:
    demand(seen["state"] == model.state(identity), f"I-10: {identity} is {seen['state']}")
    content = model.content(identity)
    if content is None:
        meant = model.fields(("order.drafted", "order.changed"), "order", identity)
        for name, value in seen["fields"].items():
            demand(value == meant.get(name), f"CON-01: {identity} {name} is {value}")
    else:
        demand(_plain(seen["content"]) == _plain(content), f"0002: the content of {identity}")
        listed = {bytes.fromhex(item["event"]) for item in seen["amendments"]}
        missing = set(model.other_seals(identity)) - listed
        demand(not missing, f"CON-10: a second seal of {identity} is not listed")
    lines = model.lines(identity)
    shown = {line["id"]: line for line in seen["lines"]}
    demand(shown.keys() == lines.keys(), f"I-10: the lines of {identity} are {sorted(shown)}")
    for line, fields in lines.items():
        for name, value in fields.items():
            demand(shown[line][name] == value, f"CON-01: {identity} {line} {name}")


def _check_quote(model: Model, identity: str, seen: Any) -> None:
    commits = model.of(["quote.committed"], "quote", identity)
    content = commits[-1][1]["content"] if commits else None
    shown = seen["content"]
    demand((shown is None) == (content is None), f"I-10: {identity} is committed or not")
    if content is not None:
        demand(_plain(shown) == _plain(content), f"CON-01: the content of {identity}")
    withdrawn = model.of(["quote.withdrawn"], "quote", identity)
    gone = bool(withdrawn) and (not commits or withdrawn[-1][0].tag > commits[-1][0].tag)
    demand((seen["state"] == "withdrawn") == gone, f"CON-01: whether {identity} is withdrawn")


def _check_return(model: Model, identity: str, seen: Any) -> None:
    first = model.of(["return.committed"], "return", identity)[0][1]
    demand(_plain(seen["content"]) == _plain(first["content"]), f"0002: the content of {identity}")


def _check_payment(model: Model, identity: str, seen: Any) -> None:
    first = model.of(["payment.recorded"], "payment", identity)[0][1]
    for name in ("amount_minor", "method", "currency"):
        demand(seen[name] == first[name], f"I-10: {identity} {name}")
