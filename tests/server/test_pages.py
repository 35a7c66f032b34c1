"""The pages: what they show, what they write, and whom they keep out."""

from __future__ import annotations

import html

import httpx2
import pytest
from markupsafe import escape

from replica.crdt.documents import DocKey
from replica.crdt.view import view
from replica.events.payloads import (
    Content,
    CustomerCreated,
    CustomerFields,
    OrderCommitted,
    ProductCreated,
    ProductFields,
    SealedLine,
)
from replica.projections import queries
from replica.server.web.marks import ORDER_MARKS
from replica.store.access import Role
from tests.server.raw import RawDevice
from tests.server.world import PASSWORD, Company, Pages, World

PATHS = ("/orders", "/queue", "/devices", "/customers", "/products", "/conflicts", "/sync")


def order(identity: str, number: str, customer: str = "c-1") -> OrderCommitted:
    line = SealedLine("1", "p-1", 2_500, 39_900, "Tea")
    content = Content(number, customer, "USD", "2026-11-21", 998, (line,), memo="For the kitchen")
    return OrderCommitted(order=identity, content=content)


def stock(world: World, company: Company) -> None:
    world.write(
        company,
        CustomerCreated(customer="c-1", fields=CustomerFields(name="Acme", phone="1")),
        ProductCreated(product="p-1", fields=ProductFields(name="Earl Grey", price_e4=39_900)),
        order("o-1", "A-0001"),
    )


def fields_of(world: World, company: Company, customer: str) -> dict[str, object]:
    with world.stores.views.reading() as connection:
        found = queries.document(connection, company.account, DocKey("customer", customer))
    assert found is not None
    return dict(view(found))


# Who is let in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PATHS, "/orders/o-1", "/customers/c-1", "/live"])
def test_without_a_session_every_page_leads_to_the_login(world: World, path: str) -> None:
    """Nothing is shown to a stranger (reliability I-16)."""
    answer = httpx2.get(world.url + path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_signing_in_and_out(world: World, company: Company) -> None:
    """A login opens a session in a cookie that scripts cannot read; signing out ends it (I-18)."""
    with httpx2.Client(base_url=world.url) as client:
        pages = Pages(client)
        answer = pages.sign_in(company.login)
        assert (answer.status_code, answer.headers["location"]) == (303, "/orders")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        kept = dict(client.cookies)
        assert company.name in pages.text("/orders")
        pages.post("/logout")
        client.cookies.update(kept)
        assert pages.get("/orders").status_code == 303, "the old cookie is worth nothing"


def test_wrong_passwords_are_told_alike_and_then_slowed(world: World) -> None:
    """A wrong login and a wrong password read the same, and guessing slows down (S2)."""
    company = world.company()
    with httpx2.Client(base_url=world.url) as client:
        pages = Pages(client)
        texts, statuses = set(), []
        for login in (company.login, "nobody-at-all"):
            for _ in range(8):
                answer = pages.sign_in(login, "wrong password")
                statuses.append(answer.status_code)
                if answer.status_code == 403:
                    texts.add(answer.text.replace(login, ""))
        assert len(texts) == 1
        assert statuses[0] == 403
        assert statuses[-1] == 429


def test_a_form_without_its_token_changes_nothing(world: World, company: Company) -> None:
    """A form of somebody else's making is refused (reliability §2.4 CSRF)."""
    stock(world, company)
    with world.browser(company) as pages:
        for form in ({}, {"form_token": "0" * 64}):
            assert pages.client.post("/customers/c-1/delete", data=form).status_code == 403
        headers = {"sec-fetch-site": "cross-site"}
        assert pages.client.post("/sync-now", headers=headers).status_code == 403
        headers = {"origin": "https://evil.example"}
        assert pages.client.post("/sync-now", headers=headers).status_code == 403
    assert fields_of(world, company, "c-1")["exists"]


def test_a_viewer_sees_and_changes_nothing(world: World, company: Company) -> None:
    """A role bounds what its user may do (reliability I-17)."""
    stock(world, company)
    with world.operator(company) as office:
        made = {"login": f"viewer-{company.login}", "role": Role.VIEWER, "password": PASSWORD}
        assert office.post("/users", json=made).status_code == 200
    with world.browser(company, made["login"]) as pages:
        assert "A-0001" in pages.text("/orders")
        assert pages.post("/customers/c-1/delete").status_code == 403
        assert pages.post("/devices/enrol", name="Phone").status_code == 403


@pytest.mark.parametrize(
    "path", ["/login", "/nowhere", "/static/replica.css", "/healthz", "/api/v1/me", "/orders"]
)
def test_every_answer_carries_the_security_headers(world: World, path: str) -> None:
    """Pages, files, errors and redirects alike say what a browser may do (reliability §2.4)."""
    headers = httpx2.get(world.url + path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "server" not in headers


# What is shown -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_account_explains_itself(world: World, company: Company, path: str) -> None:
    """Every page has something to say before there is anything to show (ui.md §3)."""
    with world.browser(company) as pages:
        text = pages.text(path)
    assert 'class="empty"' in text
    assert "//" not in text.replace("http://www.w3.org", ""), "nothing is loaded from elsewhere"


def test_orders_show_state_and_estimate(world: World, company: Company) -> None:
    """An order shows where it is, its total and its lines (SYN-20, QB-06)."""
    stock(world, company)
    with world.browser(company) as pages:
        text = pages.text("/orders")
        assert "A-0001" in text
        assert "Acme" in text
        assert "9.98 USD" in text
        assert 'data-state="on_server"' in text
        assert ORDER_MARKS["on_server"].text in text
        one = pages.text("/orders/o-1")
        assert "Earl Grey" in one
        assert "2.5" in one
        assert "In QuickBooks" in one
        assert "For the kitchen" in one
        assert pages.get("/orders/o-2").status_code == 404


def test_orders_can_be_found(world: World, company: Company) -> None:
    """The list is filtered by state and searched by number and customer (ui.md W5)."""
    stock(world, company)
    world.write(company, order("o-2", "B-0002", "c-2"))
    with world.browser(company) as pages:
        assert "B-0002" not in pages.text("/orders?q=acme")
        assert "A-0001" not in pages.text("/orders?q=b-00")
        assert "No order matches" in pages.text("/orders?q=100%25")
        assert "No order matches" in pages.text("/orders?state=in_qbo")


def test_long_lists_come_in_pages(world: World, company: Company) -> None:
    """Following the links shows every order once (pitfalls P33)."""
    world.write(company, *[order(f"o-{n}", f"N-{n:04d}") for n in range(120)])
    seen: list[str] = []
    with world.browser(company) as pages:
        path = "/orders"
        while path:
            text = pages.text(path)
            seen += [part.split("<")[0] for part in text.split(">N-")[1:]]
            following = text.split('rel="next"')[0].rsplit('href="', 1)[-1].split('"')[0]
            path = html.unescape(following) if 'rel="next"' in text else ""
    assert sorted(seen) == [f"{n:04d}" for n in range(120)]


@pytest.mark.parametrize("key", ["x", "WzFd", "bm90IGpzb24", "WyIxIiwyXQ"])
def test_a_page_key_of_somebodys_making_is_refused(
    world: World, company: Company, key: str
) -> None:
    """A key that this list did not give is bad input, not a crash (reliability I-20)."""
    with world.browser(company) as pages:
        assert pages.get(f"/orders?after={key}").status_code == 400


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "a&b"]
)
def test_names_stay_text(world: World, company: Company, name: str) -> None:
    """No name becomes markup, whatever a device sends (reliability I-26)."""
    created = CustomerCreated(customer="c-1", fields=CustomerFields(name=name))
    world.write(company, created, order("o-1", "A-1"))
    with world.browser(company) as pages:
        for path in ("/customers", "/customers/c-1", "/orders", "/orders/o-1"):
            text = pages.text(path)
            assert str(escape(name)) in text
            assert "<" not in name or name not in text


# What is written ---------------------------------------------------------------------------------


def test_the_office_edits_a_customer(world: World, company: Company) -> None:
    """Only what was changed on the page is written, and it is on the next page (CON-01)."""
    stock(world, company)
    before = world.caught_up(company)
    form = {"name": "Acme", "was.name": "Acme", "phone": "2", "was.phone": "1"}
    with world.browser(company) as pages:
        answer = pages.post("/customers/c-1", **form)
        assert answer.headers["location"] == "/customers/c-1?done=saved"
        assert 'value="2"' in pages.text("/customers/c-1?done=saved")
        assert world.caught_up(company) == before + 1
        again = pages.post("/customers/c-1", **form | {"was.phone": "2"})
        assert again.headers["location"] == "/customers/c-1?done=unchanged"
    assert world.caught_up(company) == before + 1


def test_the_office_deletes_and_restores(world: World, company: Company) -> None:
    """A delete by the office gates the customer until the office restores it (CON-05)."""
    stock(world, company)
    with world.browser(company) as pages:
        pages.post("/customers/c-1/delete")
        assert "Acme" not in pages.text("/customers")
        assert "Acme" in pages.text("/customers?deleted=1")
        assert fields_of(world, company, "c-1")["deleted_by"] == "office"
        pages.post("/customers/c-1/restore")
        assert "Acme" in pages.text("/customers")


@pytest.mark.parametrize("form", [{"name": ""}, {"name": "x" * 501}, {"phone": "1\x00"}])
def test_a_value_that_cannot_be_is_refused(
    world: World, company: Company, form: dict[str, str]
) -> None:
    """A form is judged by the same rules as an event (architecture §4)."""
    stock(world, company)
    with world.browser(company) as pages:
        was = {f"was.{name}": "Acme" if name == "name" else "1" for name in form}
        assert pages.post("/customers/c-1", **form, **was).status_code == 400


def test_a_device_is_enrolled_with_the_code_of_the_page(world: World, company: Company) -> None:
    """The page shows a code once; a device comes in with it; revoking shows (ui.md W6)."""
    with world.browser(company) as pages:
        page = pages.post("/devices/enrol", name="Ana's phone").text
        code = page.split('id="code">')[1].split("<")[0]
        body = {"code": code.lower().replace("-", " "), "software": "test"}
        answer = httpx2.post(f"{world.url}/api/v1/enrol", json=body).json()
        assert answer["name"] == "Ana's phone"
        assert httpx2.post(f"{world.url}/api/v1/enrol", json=body).status_code == 403
        text = pages.text("/devices")
        assert code not in text
        assert "Never seen" in text
        device = RawDevice(
            world,
            bytes.fromhex(answer["account"]),
            bytes.fromhex(answer["device"]),
            answer["token"],
        )
        device.meet()
        device.close()
        pages.post(f"/devices/{answer['device']}/revoke")
        assert "Revoked" in pages.text("/devices")


def test_what_lost_is_listed(world: World, company: Company) -> None:
    """An overridden value is shown with what replaced it and the rule (CON-10)."""
    stock(world, company)
    form = {"phone": "555-0199", "was.phone": "1"}
    with world.browser(company) as pages:
        pages.post("/customers/c-1", **form)
        text = pages.text("/conflicts")
    assert "555-0199" in text
    assert "newer value wins" in text
    assert "the office" in text


def test_what_the_door_kept_out_is_listed(world: World, company: Company) -> None:
    """The office sees the same row as the author, with the reason (reliability I-19)."""
    device = RawDevice.enrol(world, company, "Till 1")
    device.meet()
    garbage = device.follow(b"no event")
    device.settle([garbage])
    device.close()
    with world.browser(company) as pages:
        text = pages.text("/conflicts")
    assert "Till 1" in text
    assert "Refused" in text
    assert "malformed" in text
