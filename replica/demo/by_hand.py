"""Work carried by hand: a rep for whom no network is in sight, a file, the office, a receipt."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from replica.demo.office import Office
from replica.demo.processes import Rep


def carry(name: str, rep: Rep, office: Office, folder: Path, say: Callable[[str], None]) -> None:
    """What ``rep`` has not sent goes to the office as a file and comes back as a receipt."""
    file, receipt = folder / "unsent.replica", folder / "unsent.replica.receipt"
    exported = rep.ask("export", path=str(file))
    say(
        f"{name} is far away: {exported['events']} unsent events go into one sealed file of "
        f"{exported['bytes']:,} bytes, carried by hand"
    )
    seen = office.carry(file.read_bytes(), preview=True)
    found = office.carry(file.read_bytes())
    again = office.carry(file.read_bytes())
    receipt.write_bytes(base64.b64decode(found["receipt"]))
    say(
        f"The office looks first ({seen['new']} new, {seen['known']} known, {seen['invalid']} not "
        f"acceptable), imports it, and once more by mistake: {again['new']} new"
    )
    taken = rep.ask("take_receipt", path=str(receipt))
    say(
        f"{name} takes the receipt, still without a network: {taken['synced']} events synced, "
        f"{taken['pending']} unsent"
    )
