"""Imports: a carried file through the pages, without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from replica.device import CustomerCreated, CustomerFields, Device, StockMoved
from replica.events.event import Position
from replica.events.kinds import REGISTRY
from replica.events.record import Origin
from replica.limits import UPLOADS_MAX
from replica.server.web.import_views import KIND_TITLES
from replica.store.access import Role
from replica.sync import carry
from tests.device.desk import careless, order
from tests.server.world import PASSWORD, Company, Pages, World


@pytest.fixture
def device(world: World, company: Company, tmp_path: Path) -> Iterator[Device]:
    """A device that has synced once, and holds a new customer and an order since."""
    with Device.open(tmp_path / "till.db") as made:
        made.enrol(world.url, world.code(company, "Till"), "Till")
        made.sync()
        made.append(CustomerCreated("c-1", CustomerFields(name="Ann")), order(1))
        yield made


def exported(device: Device, path: Path) -> bytes:
    device.export(path)
    return path.read_bytes()


def looked_at(pages: Pages, data: bytes) -> str:
    """The address of the preview."""
    answer = pages.upload("/imports", data)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def size_of_log(world: World, company: Company) -> int:
    return sum(one.count for one in world.stores.log.read(company.account, Position(0), 1 << 20))


def test_a_file_is_looked_at_imported_and_answered(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """The preview takes nothing and says in words what there is; the import takes it; the receipt
    comes as a file and settles the device; choosing it again adds nothing (OFF-15, OFF-16)."""
    data = exported(device, tmp_path / "unsent.replica")
    before = size_of_log(world, company)
    with world.browser(company) as pages:
        where = looked_at(pages, data)
        seen = pages.text(where)
        assert "Import from Till" in seen
        assert "New customers" in seen
        assert "Import 2 new events" in seen
        assert pages.get(f"{where}/receipt").status_code == 404
        assert size_of_log(world, company) == before
        assert pages.post(f"{where}/take").headers["location"] == where
        assert "were taken in" in pages.text(where)
        receipt = pages.get(f"{where}/receipt")
        assert receipt.headers["content-disposition"].endswith('.replica.receipt"')
        assert size_of_log(world, company) == before + 2
        assert "Nothing is new" in pages.text(looked_at(pages, data))
        pages.post(f"{where}/take")
        assert size_of_log(world, company) == before + 2
        pages.post(f"{where}/discard")
        assert pages.get(where).status_code == 404
    (tmp_path / "receipt").write_bytes(receipt.content)
    assert device.take_receipt(tmp_path / "receipt").synced == 2
    assert device.status().pending == 0


def test_what_is_not_acceptable_is_named(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """Each event that would be set aside is shown with why and what to do, before and after."""
    good = order(2)
    spoilt = msgspec.structs.replace(good.content, total_minor=1)
    with careless():
        device.append(msgspec.structs.replace(good, content=spoilt))
    with world.browser(company) as pages:
        where = looked_at(pages, exported(device, tmp_path / "file"))
        assert "Import 2 new events" in pages.text(where)
        assert "order/o-2" in pages.text(where)
        pages.post(f"{where}/take")
        assert "something needs attention" in pages.text(where)


def test_a_file_that_cannot_be_imported_is_explained(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """No file, damage, another account's device, and a file that the device did not write: each is
    told with what to do, and nothing is kept or taken (OFF-16, I-7, I-20)."""
    data = exported(device, tmp_path / "file")
    work = carry.decode_work(data)
    parts = [carry.Part(1, 1, tuple(one for part in work.parts for one in part.events))]
    forged = carry.encode_work(work.header, parts, carry.file_key("guessed"))
    before = size_of_log(world, company)
    with world.browser(company) as pages:
        for bad, status, text in (
            (b"", 400, "no carry file"),
            (data[:-40] + b"\0" + data[-39:], 400, "damaged"),
            (forged, 403, "on the device itself"),
        ):
            answer = pages.upload("/imports", bad)
            assert answer.status_code == status, answer.text
            assert text in answer.text
            assert "Nothing of it was taken" in answer.text
    with world.browser(world.company()) as pages:
        answer = pages.upload("/imports", data)
        assert answer.status_code == 403
        assert "in the account that the device was enrolled in" in answer.text
    assert size_of_log(world, company) == before
    assert not list((world.config.data / "uploads" / company.account.hex()).glob("*"))


def test_work_of_a_revoked_device_is_asked_about(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """It is taken by a button that says so, and by no other (OFF-23)."""
    data = exported(device, tmp_path / "file")
    assert device.identity is not None
    identity = device.identity.device.hex()
    with world.browser(company) as pages:
        where = looked_at(pages, data)
        world.on_loop(lambda: world.runtime.devices.revoke(company.account, identity))
        assert "was revoked" in pages.post(f"{where}/take").text
        assert "Import the work of a revoked device" in pages.text(where)
        pages.post(f"{where}/take", revoked="1")
        assert "were taken in" in pages.text(where)


def test_few_files_are_kept_for_few_people(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """The oldest make room; another account, a role that does not manage devices and a form of
    somebody else's making get nothing (I-16, I-17)."""
    with world.browser(company) as pages:
        first = ""
        for number in range(UPLOADS_MAX + 1):
            device.append(StockMoved("tea", number + 1))
            where = looked_at(pages, exported(device, tmp_path / "file"))
            first = first or where
        assert pages.get(where).status_code == 200
        kept = world.config.data / "uploads" / company.account.hex()
        assert len(list(kept.iterdir())) == UPLOADS_MAX
        assert {one.stat().st_mode & 0o777 for one in kept.iterdir()} == {0o600}
        stranger = {"file": ("file", b"")}
        assert pages.client.post("/imports", files=stranger).status_code == 403
        assert pages.get("/imports/" + "z" * 64).status_code == 404
    with world.browser(world.company()) as pages:
        assert pages.get(where).status_code == 404
    with world.operator(company) as office:
        made = {"login": f"rep-{company.login}", "role": Role.REP, "password": PASSWORD}
        assert office.post("/users", json=made).status_code == 200
    with world.browser(company, made["login"]) as pages:
        assert "/imports" not in pages.text("/devices")
        assert pages.get("/imports").status_code == 403
        assert pages.get(where).status_code == 403


def test_every_kind_of_a_device_has_words() -> None:
    """No page shows a kind's name where it could say what it is."""
    said = {name for name, kind in REGISTRY.newest.items() if Origin.DEVICE in kind.origins}
    assert said == KIND_TITLES.keys()
