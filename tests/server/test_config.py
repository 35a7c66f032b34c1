"""The configuration: what an environment means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from replica.errors import MisuseError
from replica.server.config import Config, describe, from_env


def test_an_empty_environment_means_the_defaults() -> None:
    """Nothing has to be set to serve one machine (architecture §10)."""
    assert from_env({}) == Config()
    assert from_env({"PATH": "/bin", "REPLICA_PORT": ""}) == Config()


def test_every_setting_is_read_from_its_variable() -> None:
    """A variable sets the field of the same name, parsed to its type (architecture §11)."""
    config = from_env(
        {
            "REPLICA_DATA": "/srv/replica",
            "REPLICA_PORT": "0",
            "REPLICA_PUBLIC_URL": "https://orders.example",
            "REPLICA_ORIGINS": "https://a.example, http://b.example:8000",
        }
    )
    assert config.data == Path("/srv/replica")
    assert config.port == 0
    assert config.secure_cookies
    assert config.browser_origins == {
        "https://orders.example",
        "https://a.example",
        "http://b.example:8000",
    }


def test_a_misspelt_key_is_refused_with_the_nearest_one() -> None:
    """A setting that would silently do nothing is an error with a suggestion (dependencies §8)."""
    with pytest.raises(MisuseError) as caught:
        from_env({"REPLICA_PROT": "80"})
    assert "REPLICA_PROT" in str(caught.value)
    assert caught.value.hint == "did you mean REPLICA_PORT?"


def test_keys_of_a_sink_are_left_to_the_sink() -> None:
    """A prefix that a sink owns is no unknown key of the server (architecture §6)."""
    assert from_env({"REPLICA_QBO_CLIENT_ID": "x"}, foreign=("REPLICA_QBO_",)) == Config()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("REPLICA_PORT", "http"),
        ("REPLICA_PORT", "65536"),
        ("REPLICA_PORT", "-1"),
        ("REPLICA_LOG_LEVEL", "loud"),
        ("REPLICA_CHILDREN", "two"),
        ("REPLICA_PUBLIC_URL", "orders.example"),
    ],
)
def test_a_value_that_does_not_parse_names_its_variable(key: str, value: str) -> None:
    """A wrong value is refused at start, not when it is first used (architecture §11)."""
    with pytest.raises(MisuseError):
        from_env({key: value})


def test_secrets_are_masked_when_shown() -> None:
    """``config show`` and a printed config never carry a secret (reliability I-18)."""
    environ = {
        "REPLICA_ADMIN_PASSWORD": "correct horse",
        "REPLICA_DATABASE_URL": "postgresql+psycopg://u:hunter2@db/x",
    }
    config = from_env(environ)
    text = repr(describe(config, environ)) + repr(config)
    assert "correct horse" not in text
    assert "hunter2" not in text
    assert [line.origin for line in describe(config, environ) if line.value == "(set)"] == [
        "environment",
        "environment",
    ]
