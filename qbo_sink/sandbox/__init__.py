"""A QuickBooks Online sandbox: an HTTP server that strangers' clients believe.

A product of its own: nothing of the sink or of ``replica`` is imported here. See
``docs/quickbooks-sandbox.md`` for how to start it and what it does.
"""

from __future__ import annotations

from qbo_sink.sandbox.app import create_sandbox, post_due, serve, server
from qbo_sink.sandbox.clock import Clock
from qbo_sink.sandbox.inprocess import InProcessTransport
from qbo_sink.sandbox.switches import Settings, Switches

__all__ = [
    "Clock",
    "InProcessTransport",
    "Settings",
    "Switches",
    "create_sandbox",
    "post_due",
    "serve",
    "server",
]
