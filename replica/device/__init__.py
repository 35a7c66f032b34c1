"""The device SDK: orders are taken where there is no network and meet the server when there is.

See docs/device-sdk.md. Importing this package loads neither asyncio's event loop, nor the
websocket library, nor anything of the server.
"""

from replica.device.device import Device
from replica.device.drafts import Draft, Sealed
from replica.device.journal import Identity
from replica.device.notices import Notice
from replica.device.status import Ladder, Mode, Rejected, Status, SyncResult
from replica.events.payloads import (
    Address,
    Content,
    CustomerChanged,
    CustomerCreated,
    CustomerDeleted,
    CustomerFields,
    CustomerRestored,
    LineFields,
    NoteEdited,
    OrderAmended,
    OrderCancelled,
    OrderChanged,
    OrderCommitted,
    OrderDrafted,
    OrderFields,
    OrderLinePut,
    OrderLineRemoved,
    PaymentRecorded,
    ProductChanged,
    ProductCreated,
    ProductDeleted,
    ProductFields,
    ProductRestored,
    QuoteCommitted,
    QuoteWithdrawn,
    ReturnCommitted,
    SealedLine,
    StockCounted,
    StockMoved,
)

__all__ = [
    "Address",
    "Content",
    "CustomerChanged",
    "CustomerCreated",
    "CustomerDeleted",
    "CustomerFields",
    "CustomerRestored",
    "Device",
    "Draft",
    "Identity",
    "Ladder",
    "LineFields",
    "Mode",
    "NoteEdited",
    "Notice",
    "OrderAmended",
    "OrderCancelled",
    "OrderChanged",
    "OrderCommitted",
    "OrderDrafted",
    "OrderFields",
    "OrderLinePut",
    "OrderLineRemoved",
    "PaymentRecorded",
    "ProductChanged",
    "ProductCreated",
    "ProductDeleted",
    "ProductFields",
    "ProductRestored",
    "QuoteCommitted",
    "QuoteWithdrawn",
    "Rejected",
    "ReturnCommitted",
    "Sealed",
    "SealedLine",
    "Status",
    "StockCounted",
    "StockMoved",
    "SyncResult",
]
