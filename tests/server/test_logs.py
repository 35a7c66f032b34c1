"""Logs: one JSON object per line, whatever somebody typed, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from replica.limits import LOG_EVENT_IDS_MAX, LOG_TEXT_CHARS_MAX
from replica.server import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Logging configured onto a string, put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    target = io.StringIO()
    logs.configure("info", target)
    yield target
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "t0p-s3cret-value"},
        {"password": "t0p-s3cret-value"},
        {"Authorization": "Bearer t0p-s3cret-value"},
        {"header": "Bearer t0p-s3cret-value"},
        {"url": "postgresql+psycopg://user:t0p-s3cret-value@db/x"},
        {"note": "t0p-s3cret-value_t0p-s3cret-value_t0p-s3cret-value"},
        {"items": ["Bearer t0p-s3cret-value"]},
    ],
)
def test_secrets_never_reach_a_log(stream: io.StringIO, fields: dict[str, object]) -> None:
    """A secret is masked by its key or its shape, in our lines and in those of libraries (I-18)."""
    logs.get_logger().info("step", **fields)
    logging.getLogger("library").error("%s", fields.get("header", "Bearer t0p-s3cret-value"))
    assert "t0p-s3cret" not in stream.getvalue()
    assert logs.REDACTED in stream.getvalue()


def test_an_exception_with_a_secret_is_masked(stream: io.StringIO) -> None:
    """A traceback goes through the same mask as every other value (I-18)."""
    try:
        int("postgresql://user:t0p-s3cret@db/x")
    except ValueError:
        logs.get_logger().exception("failed")
    assert "t0p-s3cret" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "\x1b[31m", "\u2028", "\u202e", "\x00"])
def test_control_characters_stay_inside_their_line(stream: io.StringIO, evil: str) -> None:
    """No text of a user starts a line or colours a terminal (reliability I-26)."""
    logs.get_logger().info(evil, name=evil)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text)["name"] == evil


@given(name=st.text(max_size=50))
def test_every_line_is_one_json_object(name: str) -> None:
    """Whatever is logged, a line parses back (reliability I-26)."""
    target = io.StringIO()
    logs.configure("info", target)
    logs.get_logger().info("step", name=name)
    lines = target.getvalue().split("\n")
    assert len(lines) == 2
    assert json.loads(lines[0])["event"] == "step"
    structlog.reset_defaults()


def test_ids_and_texts_are_bounded(stream: io.StringIO) -> None:
    """A large batch or an endless text cannot flood the log (reliability I-20)."""
    ids = logs.event_ids(bytes([n]) * 32 for n in range(100))
    logs.get_logger().info("batch", ids=ids, text="x " * LOG_TEXT_CHARS_MAX)
    line = json.loads(stream.getvalue())
    assert line["ids"] == [bytes([n]).hex() * 32 for n in range(LOG_EVENT_IDS_MAX)]
    assert len(line["text"]) <= LOG_TEXT_CHARS_MAX
