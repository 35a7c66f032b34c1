"""Questions over a connection that is kept between them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from replica.device.asking import Line
from replica.device.journal import Identity
from replica.errors import PeerGone


class _Desk(ThreadingTCPServer):
    """Answers so many questions on each connection, and hangs up without a word."""

    daemon_threads = True
    patience = 0
    connections = 0


class _Handler(StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Desk)
        self.server.connections += 1
        for _ in range(self.server.patience):
            line = self.rfile.readline()
            while line not in {b"\r\n", b""}:
                line = self.rfile.readline()
            if not line:
                return
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


@contextmanager
def desk(patience: int) -> Iterator[tuple[_Desk, Line]]:
    with _Desk(("127.0.0.1", 0), _Handler) as server:
        server.patience = patience
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        line = Line(Identity(bytes(16), bytes(16), "token", "Phone", url))
        try:
            yield server, line
        finally:
            line.close()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("patience", "connections"), [(9, 1), (1, 3)])
def test_a_kept_connection_serves_and_one_that_ended_is_made_anew(
    patience: int, connections: int
) -> None:
    """Questions share a connection, and one that the server ended in between costs a new one and
    no error (SYN-28)."""
    with desk(patience) as (server, line):
        for _ in range(3):
            with line.server() as asked:
                assert asked.ask("scope", 100).data == b"ok"
        assert server.connections == connections


def test_a_server_that_answers_nothing_is_gone() -> None:
    """A question is asked again where a connection had served before, and nowhere else."""
    with desk(0) as (server, line):
        with pytest.raises(PeerGone), line.server() as asked:
            asked.ask("scope", 100)
        assert server.connections == 1
