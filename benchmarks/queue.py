"""A queue of orders sent to the sandbox with a company's limits on and every call answered late.

    python -m benchmarks.queue [--orders 200] [--latency-ms 200]

The clock is the real one, the pace the sink's own. The floor is what the pace allows: as many calls
as were made, at the calls per second that the sink grants itself. A call that the sandbox had to
refuse for its rate counts as a miss however fast the rest went.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import structlog
from starlette.applications import Starlette

from benchmarks.reconcile import ACCOUNT, BASE, ENVIRON, payloads, project, silent
from qbo_sink.config import from_env
from qbo_sink.port import QuickBooksSink
from qbo_sink.sandbox import InProcessTransport, Settings, Switches, create_sandbox
from replica.projections import tables
from replica.sink import SinkContext
from replica.store.engine import open_sqlite

ORDERS, LATENCY_MS = 200, 200
KNOWN = 20  # customers and products, each sent with an order before the clock starts
LIMIT_S = 30.0
THROTTLED = 429
PACED = {"QBO_API_BASE": BASE, "QBO_SECRET_KEY": ENVIRON["QBO_SECRET_KEY"]}


class Late(InProcessTransport):
    """Answers after ``latency_s``, and counts."""

    def __init__(self, app: Starlette, latency_s: float) -> None:
        super().__init__(app)
        self._latency_s = latency_s
        self.calls = self.throttled = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One exchange."""
        self.calls += 1
        await asyncio.sleep(self._latency_s)
        response = await super().handle_async_request(request)
        self.throttled += response.status_code == THROTTLED
        return response


async def measure(folder: Path, orders: int, latency_ms: int) -> dict[str, Any]:
    """Send the customers and products with an order each, then time the orders."""
    app = create_sandbox(str(folder / "books.db"), Settings(switches=Switches(throttle=True)))
    views = open_sqlite(folder / "views.db", profile="rebuildable")
    ledger = open_sqlite(folder / "ledger.db")
    tables.open_views(views.write)
    made = payloads(KNOWN + orders, customers=KNOWN, products=KNOWN)
    before, queued = made[:-orders], made[-orders:]
    transport = Late(app, latency_ms / 1_000)
    config = from_env(PACED)
    assert config is not None
    now_ms = lambda: time.time_ns() // 1_000_000  # noqa: E731 - a clock
    context = SinkContext(views.read, ledger.write, silent, now_ms, PACED)
    sink = QuickBooksSink(context, transport=transport, config=config)
    await sink.start()
    try:
        project(views, before, 1)
        report = await sink.run(ACCOUNT, "benchmark")
        assert (report.failed, report.waiting) == (0, 0), report
        project(views, queued, len(before) + 1)
        transport.calls = transport.throttled = 0
        began = time.perf_counter()
        report = await sink.run(ACCOUNT, "benchmark")
        took_s = time.perf_counter() - began
        assert (report.failed, report.waiting) == (0, 0), report
    finally:
        await sink.stop()
        views.close()
        ledger.close()
        app.state.sandbox.close()
    floor_s = transport.calls / config.requests_per_s
    return {
        "orders": orders,
        "latency_ms": latency_ms,
        "seconds": round(took_s, 2),
        "calls": transport.calls,
        "throttled": transport.throttled,
        "floor_s": round(floor_s, 2),
        "ratio": round(took_s / floor_s, 2),
        "met": took_s < LIMIT_S * orders / ORDERS and not transport.throttled,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--latency-ms", type=int, default=LATENCY_MS)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), options.orders, options.latency_ms))
    line = (
        "{orders} orders sent in {seconds} s by {calls} calls, {throttled} refused for their rate"
    )
    print(line.format(**found), file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
