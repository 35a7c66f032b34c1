"""Sync Now for devices, by their token: the plan, the press, and how far the run is.

A device sees counts and itself; documents reach it by its own sync, as far as it may have them.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replica.server.answers import Json, NotFound, device_of, told
from replica.server.plans import plan_values
from replica.server.runs import Run, proof_values
from replica.server.runtime import Runtime
from replica.store.access import Device


class DeviceSyncRoutes:
    """The three routes under ``/api/v1/device/sync-now``."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> list[Route]:
        """For devices with their token."""
        path = "/api/v1/device/sync-now"
        return [
            Route(f"{path}/plan", told(self.plan), methods=["POST"]),
            Route(path, told(self.press), methods=["POST"]),
            Route(path, told(self.run), methods=["GET"]),
        ]

    async def plan(self, request: Request) -> Response:
        """What a run would do now."""
        device = await self._device(request)
        plan = await self._runtime.planner.propose(device.account, device.name)
        return Json(plan_values(plan, device.device.hex()))

    async def press(self, request: Request) -> Response:
        """Start or join a run, by the plan that ``?plan=`` names."""
        device = await self._device(request)
        named = request.query_params.get("plan")
        plan = self._runtime.planner.named(device.account, named) if named else None
        run = self._runtime.sync_now.press(device.account, device.name, plan)
        return Json(_run_values(run, device))

    async def run(self, request: Request) -> Response:
        """The run that is on, or the last one."""
        device = await self._device(request)
        run = self._runtime.sync_now.current(device.account)
        if run is None:
            raise NotFound("nobody has pressed Sync Now since the server started")
        return Json(_run_values(run, device))

    async def _device(self, request: Request) -> Device:
        return await device_of(request, self._runtime.stores.control.check_token)


_NOT_COMPARED: dict[str, Any] = {
    "server_fingerprint": "",
    "device_fingerprint": "",
    "differing": [],
}


def _run_values(run: Run, device: Device) -> dict[str, Any]:
    identity = device.device.hex()
    proofs = (proof_values(proof) for proof in run.devices if proof.row.id == identity)
    mine = next(proofs, {"state": "", **_NOT_COMPARED})
    return {
        "run": run.id,
        "running": run.running,
        "plan": run.plan.id if run.plan else "",
        "received": run.received,
        "sent": run.sent,
        "fetched": run.fetched,
        "position": run.position,
        "equal": not run.running and run.equal,
        "proof": mine["state"],
        **{name: mine[name] for name in _NOT_COMPARED},
        "moved": run.moved,
        "problems": run.problems,
        "steps": run.steps,
    }
