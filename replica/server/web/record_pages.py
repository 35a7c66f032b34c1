"""The page of one order and of one customer, with what may be done about it.

What the accounting program offers about an order are its buttons; a customer is changed through the
door, field by field.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from replica.crdt.documents import DocKey
from replica.crdt.view import view
from replica.events.payloads import CustomerDeleted, CustomerRestored
from replica.limits import SINK_TEXT_CHARS_MAX
from replica.projections import queries
from replica.server.answers import NotFound, describe
from replica.server.auth import Principal, Right
from replica.server.web import queue_views, views
from replica.server.web.forms import customer_change
from replica.server.web.group import Form, PageGroup
from replica.sink import Deed, Refusal


class RecordPages(PageGroup):
    """One order, one customer."""

    def routes(self) -> list[BaseRoute]:
        return [
            self._show("/orders/{id}", self.order),
            self._change("/orders/{id}/{action}", self.act_on_order, Right.EDIT),
            self._show("/customers/{id}", self.customer),
            self._change("/customers/{id}", self.save_customer, Right.EDIT),
            self._change("/customers/{id}/delete", self.delete_customer, Right.EDIT),
            self._change("/customers/{id}/restore", self.restore_customer, Right.EDIT),
        ]

    async def order(self, request: Request, who: Principal, problem: str = "") -> Response:
        identity = request.path_params["id"]
        row = await self._runtime.read(queries.sealed_one, who.account, "order", identity)
        if row is None:
            raise NotFound("There is no such order.")
        in_lines = [line["product"] for line in row["lines"]]
        products = await self._runtime.read(queries.names, who.account, "product", in_lines)
        party = await self._runtime.read(
            queries.document, who.account, DocKey("customer", row["customer"])
        )
        sinks = self._runtime.sinks
        order = views.order_page(
            row,
            products=products,
            devices=await self._device_names(who.account),
            waiting=await sinks.row_of(who.account, "order", identity),
            customer=view(party) if party is not None else None,
        )
        offers = await sinks.offers(who.account, "order", identity)
        return await self._page(
            request,
            who,
            "order.html",
            order=order,
            offers=[queue_views.offer(one) for one in offers],
            problem=problem,
            may_edit=who.may(Right.EDIT),
            status=409 if problem else 200,
        )

    async def act_on_order(self, request: Request, who: Principal, form: Form) -> Response:
        """Carry out what the accounting program offers about an order; why not, on its page."""
        identity, action = request.path_params["id"][:80], request.path_params["action"][:40]
        deed = Deed(by=who.name, text=form.get("text", "").strip()[:SINK_TEXT_CHARS_MAX])
        try:
            await self._runtime.sinks.desk.act(who.account, f"order:{identity}", action, deed)
        except Refusal as refusal:
            return await self.order(request, who, describe(refusal)[0])
        self._runtime.live.tell(who.account, "run", "The queue has changed")
        where = f"/orders/{quote(identity, safe='')}?done={quote(action, safe='')}"
        return RedirectResponse(where, status_code=303)

    async def customer(self, request: Request, who: Principal) -> Response:
        customer, fields = views.customer_page(await self._customer_view(request, who))
        return await self._page(request, who, "customer.html", customer=customer, fields=fields)

    async def save_customer(self, request: Request, who: Principal, form: Form) -> Response:
        seen = await self._customer_view(request, who)
        change = customer_change(seen, form)
        if change is not None:
            await self._runtime.write(who.account, change)
        done = "saved" if change is not None else "unchanged"
        return _to_customer(seen["id"], done)

    async def delete_customer(self, request: Request, who: Principal, _: Form) -> Response:
        seen = await self._customer_view(request, who)
        await self._runtime.write(who.account, CustomerDeleted(customer=seen["id"]))
        return _to_customer(seen["id"], "deleted")

    async def restore_customer(self, request: Request, who: Principal, _: Form) -> Response:
        seen = await self._customer_view(request, who)
        await self._runtime.write(who.account, CustomerRestored(customer=seen["id"]))
        return _to_customer(seen["id"], "restored")

    async def _customer_view(self, request: Request, who: Principal) -> dict[str, Any]:
        key = DocKey("customer", request.path_params["id"])
        document = await self._runtime.read(queries.document, who.account, key)
        if document is None:
            raise NotFound("There is no such customer.")
        return view(document)


def _to_customer(identity: str, done: str) -> Response:
    return RedirectResponse(f"/customers/{identity}?done={done}", status_code=303)
