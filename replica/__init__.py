"""An event-sourced CRDT replication server for orders taken where there is no network."""

__version__ = "0.1.0"
