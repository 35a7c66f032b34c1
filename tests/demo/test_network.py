"""The demo's network relays, can be cut, and comes back."""

from __future__ import annotations

import socket
import threading

import pytest

from replica.demo.network import Network


@pytest.fixture
def echo_port() -> int:
    """A port where each connection is sent back what it sent once."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(connection.recv(100))
                    connection.recv(100)

    threading.Thread(target=serve, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def has_ended(connection: socket.socket) -> bool:
    """Whether the other side is gone: an end of the stream or a reset, as the kernel likes."""
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


def test_cutting_ends_connections_and_restoring_lets_new_ones_through(echo_port: int) -> None:
    """A cut ends what is open and refuses what is new until the network returns (OFF-01)."""
    network = Network(echo_port)
    try:
        with socket.create_connection(("127.0.0.1", network.port), timeout=5) as first:
            first.sendall(b"hello")
            assert first.recv(100) == b"hello"
            network.cut()
            assert has_ended(first)
        network.restore()
        with socket.create_connection(("127.0.0.1", network.port), timeout=5) as second:
            second.sendall(b"again")
            assert second.recv(100) == b"again"
    finally:
        network.close()
