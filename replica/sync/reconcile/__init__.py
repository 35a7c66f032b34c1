"""Which items of two sets differ, in time and bytes of the differences (wire-protocol.md §13).

Range-based set reconciliation in the wire format of the public Negentropy Protocol V1, so any
implementation of that may be the other side. Pure, without recursion, bounded per message.

    asking = Initiator(items)
    message = asking.initiate()
    while message is not None:
        answer = ...                      # the other side's Responder(items).reconcile(message)
        message, have, need = asking.reconcile(answer)
"""

from replica.sync.reconcile.exchange import Initiator, Responder, Split, Step
from replica.sync.reconcile.items import Bound, Item, Items, ItemSet

__all__ = ["Bound", "Initiator", "Item", "ItemSet", "Items", "Responder", "Split", "Step"]
