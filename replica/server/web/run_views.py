"""A run of Sync Now as its page shows it. Pure."""

from __future__ import annotations

from typing import Any

from replica.projections.queries import Row
from replica.server.runs import DIGEST_CHARS, DeviceProof, Run
from replica.server.web import marks, words
from replica.server.web.marks import Mark

SECTION_TITLES = {
    "class": "Classes",
    "department": "Departments",
    "customer": "Customers",
    "device": "Devices",
    "note": "Notes",
    "order": "Orders",
    "payment": "Payments",
    "product": "Products",
    "quote": "Quotes",
    "return": "Returns",
    "stock": "Stock",
    "sync": "Sync runs",
}


def run_page(run: Run, now_ms: int) -> dict[str, Any]:
    """A run of Sync Now, while it goes on and afterwards."""
    unfinished = marks.RUNNING if run.running else marks.ATTENTION
    agreed = Mark("done", "Everything agrees", "check", "ok")
    offline = [proof for proof in run.devices if proof.state == "offline"]
    took_ms = (run.finished_ms or now_ms) - run.started_ms
    return {
        "id": run.id,
        "running": run.running,
        "mark": agreed if not run.running and run.equal else unfinished,
        "started_ms": run.started_ms,
        "joined": run.presses,
        "done": sum(step.state in ("done", "attention") for step in run.steps),
        "steps": [
            {"title": step.title, "text": step.text, **_STEP_LOOKS[step.state]}
            for step in run.steps
        ],
        "lanes": [
            _figure("From devices", "phone", run.received, f"in {words.span(took_ms / 1_000)}"),
            _figure("To QuickBooks", "book", run.sent, "sent and answered"),
            _figure("From QuickBooks", "book", run.fetched, "changes fetched"),
            _figure("Offline", "clock", len(offline), "listed with the time they were last seen"),
        ],
        "sections": [
            _section(run, section.section, section.count, section.digest)
            for section in run.sections
        ],
        "devices": [_proof(proof) for proof in run.devices],
        "moved": run.moved,
        "problems": run.problems,
    }


_STEP_LOOKS = {
    "waiting": {"icon": "clock", "tone": ""},
    "running": {"icon": "spinner", "tone": ""},
    "done": {"icon": "check", "tone": "done"},
    "attention": {"icon": "alert", "tone": "bad"},
}
_PROOF_MARKS = {
    "equal": marks.EQUAL,
    "differs": marks.DIFFERS,
    "pending": Mark("pending", "Has unsent work", "phone", "warn"),
    "silent": Mark("silent", "No answer", "clock", "warn"),
    "moving": Mark("moving", "Still changing", "retry", "warn"),
    "offline": marks.OFFLINE,
}


def _figure(title: str, icon: str, number: int, text: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "figure": f"{number:,}", "text": text}


def _section(run: Run, name: str, number: int, digest: bytes) -> dict[str, Any]:
    asked = [proof for proof in run.devices if proof.state in ("equal", "differs")]
    unlike = [proof for proof in asked if name in proof.differing]
    mark = marks.DIFFERS if unlike else marks.EQUAL if asked else marks.UNPROVEN
    if asked and not unlike:
        mark = mark._replace(text=f"Equal on {len(asked)}")
    return {
        "title": SECTION_TITLES.get(name, name),
        "count": f"{number:,}",
        "digest": digest.hex()[:DIGEST_CHARS],
        "mark": mark,
    }


def _proof(proof: DeviceProof) -> dict[str, Any]:
    offline = proof.state == "offline"
    text = f"differs in {', '.join(proof.differing)}" if proof.differing else ""
    return {
        "name": proof.row.name,
        "mark": _PROOF_MARKS[proof.state],
        "text": "last seen" if offline and proof.row.seen_ms else text,
        "since_ms": proof.row.seen_ms if offline else None,
    }


def past_run(row: Row) -> dict[str, Any]:
    """One earlier run, as its event says."""
    return {
        "finished_ms": row["finished_ms"],
        "mark": marks.DONE if row["equal"] else marks.ATTENTION,
        "pushed": f"{row['pushed']:,}",
        "pulled": f"{row['pulled']:,}",
        "took": words.span((row["finished_ms"] - row["started_ms"]) / 1_000),
    }
