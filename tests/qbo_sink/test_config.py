"""Configuration, pace, schedule: values in, values out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.config import LOCAL_SANDBOX, from_env
from qbo_sink.pace import Pace
from qbo_sink.schedule import HOUR_MS, Schedule, next_due, parse, zone
from replica.errors import MisuseError

REAL = {"QBO_CLIENT_ID": "id", "QBO_CLIENT_SECRET": "secret"}


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_a_base_on_this_machine_is_enough() -> None:
    """The demonstration needs the sandbox's address and nothing else."""
    config = from_env({"QBO_API_BASE": "http://127.0.0.1:8850/"})
    assert config is not None
    assert config.profile == LOCAL_SANDBOX
    assert config.token_url == "http://127.0.0.1:8850/oauth2/v1/tokens/bearer"


def test_without_a_quickbooks_there_is_no_config() -> None:
    """A server without accounting starts."""
    assert from_env({}) is None


def test_production_is_the_default_for_real_credentials() -> None:
    """Base and endpoints are Intuit's unless others are named."""
    config = from_env(REAL)
    assert config is not None
    assert config.api_base == "https://quickbooks.api.intuit.com"
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    "environ",
    [
        {**REAL, "QBO_API_BASE": "https://example.org"},
        {**REAL, "QBO_TOKEN_URL": "https://intuit.com.example.org/token"},
        {"QBO_PROFILE": "local-sandbox", "QBO_API_BASE": "https://example.org"},
        {**REAL, "QBO_API_BASE": "http://quickbooks.api.intuit.com"},
        {"QBO_PROFILE": "production"},
        {"QBO_PROFILE": "moon"},
        {**REAL, "QBO_REQUESTS_PER_S": "fast"},
        {**REAL, "QBO_ITEM_TYPE": "Inventory"},
    ],
)
def test_guards_refuse(environ: dict[str, str]) -> None:
    """Real credentials to strangers, plain http outside, unknown values: refused by name (§3)."""
    with pytest.raises(MisuseError):
        from_env(environ)


@given(
    gaps=st.lists(st.integers(0, 400), min_size=1, max_size=200),
    stalls=st.lists(st.integers(0, 2_000), max_size=10),
)
@settings(deadline=None)
def test_no_second_sees_more_calls_than_allowed(gaps: list[int], stalls: list[int]) -> None:
    """However callers come and the process stalls, a second holds nine calls at eight a second."""
    now, made, late = 0, [], list(stalls)

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += int(seconds * 1_000) + (late.pop() if late else 0)
        await asyncio.sleep(0)

    pace = Pace(per_s=8, per_min=100_000, at_once=4, now_ms=lambda: now, sleep=sleep)

    async def call(gap: int) -> None:
        nonlocal now
        now += gap
        async with pace.call():
            made.append(now)
            await asyncio.sleep(0)

    async def work() -> None:
        await asyncio.gather(*[call(gap) for gap in gaps])

    asyncio.run(work())
    for start in made:
        assert sum(start <= at < start + 1_000 for at in made) <= 9


def test_never_is_never() -> None:
    """A month of asking gives no automatic run (QB-13)."""
    assert all(
        next_due(parse("never"), zone("UTC"), 0, day * 86_400_000) is None for day in range(31)
    )


def test_hourly_is_an_hour_after_the_last_run() -> None:
    """And one that was missed for days is owed once (QB-12)."""
    last = ms("2026-11-20T10:15:00+00:00")
    assert next_due(parse("hourly"), zone("UTC"), last, last + 50 * HOUR_MS) == last + HOUR_MS


@pytest.mark.parametrize(
    ("text", "last", "due"),
    [
        ("daily 03:00", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"),
        # 02:30 does not exist on that day in Berlin.
        ("daily 02:30", "2026-03-28T12:00:00+01:00", "2026-03-29T03:30:00+02:00"),
        # 02:30 exists twice on that day; the first counts, and only once.
        ("daily 02:30", "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"),
        ("daily 02:30", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"),
        ("weekly fri 18:00", "2026-11-21T00:00:00+01:00", "2026-11-27T18:00:00+01:00"),
    ],
)
def test_wall_times_are_kept_over_daylight_saving(text: str, last: str, due: str) -> None:
    """The next local time is meant, also where clocks change (QB-12)."""
    found = next_due(parse(text), zone("Europe/Berlin"), ms(last), ms(last))
    assert found is not None
    assert datetime.fromtimestamp(found / 1000, UTC) == datetime.fromisoformat(due)


@given(st.integers(ms("2026-01-01T00:00:00+00:00"), ms("2028-01-01T00:00:00+00:00")))
def test_a_run_is_due_after_the_last_one_and_within_its_period(last: int) -> None:
    """Every daily and weekly schedule moves on, once per period."""
    berlin = zone("Europe/Berlin")
    for text, hours in (("daily 02:30", 26), ("weekly mon 02:30", 24 * 8)):
        due = next_due(parse(text), berlin, last, last)
        assert due is not None
        assert last < due <= last + hours * HOUR_MS


@pytest.mark.parametrize("text", ["sometimes", "daily 25:00", "weekly someday 03:00", "hourly 5"])
def test_other_words_are_no_schedule(text: str) -> None:
    """A misspelt schedule is an error with the choices, not a silent never."""
    with pytest.raises(MisuseError):
        parse(text)


def test_words_alone_have_a_time() -> None:
    """daily and weekly mean three in the morning, weekly on Monday."""
    assert parse("daily") == parse("daily 03:00")
    assert parse("weekly") == Schedule("weekly", parse("daily 03:00").at, 0)
