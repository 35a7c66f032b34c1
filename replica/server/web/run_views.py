"""A run of Sync Now as its page shows it. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from replica.limits import SYNC_PAGE_DEVICES_MAX
from replica.projections.queries import Row
from replica.server.results import PART_MARK
from replica.server.runs import DIGEST_CHARS, DeviceProof, Run
from replica.server.web import marks, words
from replica.server.web.marks import Mark
from replica.sync.messages import SectionDigest

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
    in_order = sorted(run.devices, key=_urgency)
    shown = in_order[:SYNC_PAGE_DEVICES_MAX]
    took_ms = (run.finished_ms or now_ms) - run.started_ms
    return {
        "id": run.id,
        "running": run.running,
        "mark": agreed if not run.running and run.equal else unfinished,
        "started_ms": run.started_ms,
        "joined": run.presses,
        "done": sum(step.state in ("done", "attention") for step in run.steps),
        "steps": [
            {
                "title": step.title,
                "text": step.text,
                "done": step.done,
                "total": step.total if step.state == "running" else 0,
                **_STEP_LOOKS[step.state],
            }
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
        "devices": [_proof(proof) for proof in shown],
        "unshown": _unshown(in_order[len(shown) :]),
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
    unlike = sum(name in {one.section for one in proof.unlike} for proof in asked)
    mark = marks.DIFFERS if unlike else marks.EQUAL if asked else marks.UNPROVEN
    if unlike:
        mark = mark._replace(text=f"Differs on {unlike}")
    elif asked:
        mark = mark._replace(text=f"Equal on {len(asked)}")
    return {
        "title": SECTION_TITLES.get(name, name),
        "count": f"{number:,}",
        "digest": digest.hex()[:DIGEST_CHARS],
        "mark": mark,
    }


def _proof(proof: DeviceProof) -> dict[str, Any]:
    offline = proof.state == "offline"
    return {
        "name": proof.row.name,
        "mark": _PROOF_MARKS[proof.state],
        "text": "last seen" if offline and proof.row.seen_ms else "",
        "since_ms": proof.row.seen_ms if offline else None,
        "server": proof.fingerprints[0][:DIGEST_CHARS],
        "device": proof.fingerprints[1][:DIGEST_CHARS],
        "position": f"{proof.compared.position:,}" if proof.compared else "",
        "unlike": [
            {
                "title": SECTION_TITLES.get(one.section, one.section),
                "server": _side(one.server),
                "device": _side(one.device),
            }
            for one in proof.unlike[: len(SECTION_TITLES)]
        ],
    }


def _side(section: SectionDigest) -> str:
    return f"{section.count:,}, {section.digest.hex()[:DIGEST_CHARS]}"


def _urgency(proof: DeviceProof) -> int:
    """What needs somebody stands first, so that a long list cuts off what is well."""
    return 0 if proof.state == "differs" else 1 if proof.troubled else 2 + (proof.state == "equal")


def _unshown(proofs: Sequence[DeviceProof]) -> str:
    counts = Counter(_PROOF_MARKS[proof.state].text.lower() for proof in proofs)
    return "and " + ", ".join(f"{n:,} more {text}" for text, n in counts.items()) if proofs else ""


def past_run(row: Row) -> dict[str, Any]:
    """One earlier run, as its event says."""
    return {
        "id": row["id"],
        "finished_ms": row["finished_ms"],
        "mark": marks.DONE if row["equal"] else marks.ATTENTION,
        "pushed": f"{row['pushed']:,}",
        "pulled": f"{row['pulled']:,}",
        "took": words.span((row["finished_ms"] - row["started_ms"]) / 1_000),
    }


def result_page(row: Row, names: Mapping[str, str]) -> dict[str, Any]:
    """One event of a result; ``names`` of devices by their ids in hex."""
    report: dict[str, str] = json.loads(row["report"])
    run = row["id"].split(PART_MARK, maxsplit=1)[0]
    here, _, parts = report.pop("part", "1 of 1").partition(" of ")
    numbers = range(1, int(parts) + 1) if int(parts) > 1 else ()
    return {
        "finished_ms": row["finished_ms"],
        "mark": marks.DONE if row["equal"] else marks.ATTENTION,
        "parts": [
            {
                "number": number,
                "href": f"/sync/{run}" + (f"{PART_MARK}{number}" if number > 1 else ""),
                "here": number == int(here),
            }
            for number in numbers
        ],
        "entries": [
            {"title": _about(key, names), "texts": _texts(key, _readable(text, names))}
            for key, text in sorted(report.items(), key=lambda entry: _rank(entry[0]))
            if key != "plan.made_ms"
        ],
        "digest_chars": DIGEST_CHARS,
    }


_TITLES = {
    "by": "Pressed by",
    "position": "Position of the log",
    "received": "Events from devices",
    "checked": "Lists and totals",
    "problem": "What needs you",
    "device": "Device",
    "section": "Server",
    "sink": "Accounting",
    "plan": "Plan",
    "offline": "Offline, last seen",
    "equal": "Equal",
}
_RANKS = list(_TITLES)


def _rank(key: str) -> int:
    kind = key.partition(".")[0]
    return _RANKS.index(kind) if kind in _TITLES else len(_RANKS)


def _about(key: str, names: Mapping[str, str]) -> str:
    """The title of an entry of a report."""
    kind, _, rest = key.partition(".")
    title = _TITLES.get(kind, kind)
    if kind == "section":
        return f"{title}: {SECTION_TITLES.get(rest, rest)}"
    if kind in ("device", "sink"):
        return f"{title}: {names.get(rest, rest)}"
    return f"{title}: {rest.partition('.')[0]}" if kind == "plan" and rest else title


def _texts(key: str, text: str) -> list[str]:
    """A line for each section in which a device differs."""
    return text.split("; ") if key.startswith("device.") else [text]


def _readable(text: str, names: Mapping[str, str]) -> str:
    """Fingerprints cut, devices by name, times as times."""
    text = re.sub(r"\b([0-9a-f]{16})[0-9a-f]{48}\b", r"\1", text)
    text = re.sub(r"\b([0-9a-f]{32}) 0\b", r"\1 never", text)
    text = re.sub(
        r"\b([0-9a-f]{32}) (\d{13})\b", lambda m: f"{m[1]} {words.exact(int(m[2]))}", text
    )
    return re.sub(r"\b[0-9a-f]{32}\b", lambda m: names.get(m[0], m[0]), text)
