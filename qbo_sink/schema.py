"""The ledger's tables. Names start with ``qbo_``: on PostgreSQL all tables share one database."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

from qbo_sink.model import OPEN

metadata = MetaData()
_OPEN_STATES = "state IN ({})".format(", ".join(f"'{state}'" for state in OPEN))
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _account() -> Column[bytes]:
    return Column("account", LargeBinary, nullable=False)


def _key() -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in ("entity", "local_type", "local_id")]


# One company per account. Tokens are sealed (``vault``); a realm belongs to one account only.
connections = Table(
    "qbo_connections",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("realm", Text, nullable=False, unique=True),
    _text("state"),  # connected, expired, revoked, stopped
    _text("reason"),
    Column("access", LargeBinary, nullable=False),
    Column("refresh", LargeBinary, nullable=False),
    _number("access_expires_ms"),
    _number("refresh_expires_ms"),
    _number("hard_expires_ms"),
    _text("preferences"),  # JSON of ``Preferences``
    _number("preferences_ms"),
    _number("paused_until_ms"),
    _number("scanned_ms"),  # 0: documents there have not been searched for our markers
    _text("changes_since"),  # server time of the last change data capture
    _number("last_run_ms"),
    _number("last_failed"),
    _number("reads"),  # metered calls in ``reads_month``
    _text("reads_month"),  # YYYY-MM
)
authorisations = Table(
    "qbo_authorisations",
    metadata,
    Column("state", Text, primary_key=True),
    _account(),
    _number("created_ms"),
    _text("redirect_uri"),  # a code is exchanged with the address it was asked for
)
checkpoints = Table(
    "qbo_checkpoints",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    _number("position"),
)
wanted = Table(
    "qbo_wanted",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    *[Column(name, Text, primary_key=True) for name in ("entity", "local_type", "local_id")],
    _number("position"),
    _text("hash"),
    Column("content", LargeBinary, nullable=False),
    Column("cancelled", Boolean, nullable=False, server_default=false()),
    _text("form"),  # what it was first meant to be made as; a new default does not move it
)
intents = Table(
    "qbo_intents",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    _account(),
    *_key(),
    _text("op"),
    _number("generation"),
    _text("hash"),
    _text("state"),
    _number("position"),
    _number("rank"),  # raised by "move to bottom"
    _number("queued_ms"),
    Column("body", LargeBinary, nullable=False),  # frozen before the first send of a generation
    _text("requestid"),
    _number("sends"),
    _number("looks"),  # that found nothing since the last send
    _number("first_sent_ms"),
    _number("sent_ms"),
    _number("looked_ms"),
    _number("due_ms"),
    _number("cycles"),  # data faults counted towards a correction
    _text("corrections"),  # names of the rules that were applied, comma-separated
    _text("code"),
    _text("cause"),
    _text("fix"),
    _text("detail"),
    Column("told", Boolean, nullable=False, server_default=false()),
    Index("ix_qbo_intents_account", "account", "state"),
)
# One open intent per document: what lets a restart find its place without guessing.
Index(
    "ux_qbo_intents_open",
    intents.c.account,
    intents.c.entity,
    intents.c.local_type,
    intents.c.local_id,
    unique=True,
    sqlite_where=text(_OPEN_STATES),
    postgresql_where=text(_OPEN_STATES),
)
attempts = Table(
    "qbo_attempts",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    _account(),
    _number("intent"),
    _number("generation"),
    _text("requestid"),
    _number("started_ms"),
    _number("finished_ms"),
    _text("outcome"),
    _number("status"),
    _text("tid"),
    _text("code"),
    _text("detail"),
    Index("ix_qbo_attempts_intent", "account", "intent"),
)
# Unique both ways: a second document that claims one entity there is an error, not a second link.
mappings = Table(
    "qbo_mappings",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    *[Column(name, Text, primary_key=True) for name in ("entity", "local_type", "local_id")],
    Column("realm", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    _text("sync_token"),
    _text("number"),
    _text("hash"),  # of the content that was acknowledged
    _text("total"),  # TotalAmt less tax, as acknowledged
    # Empty: as we left it; else changed, deleted, inactive, invoiced, differs, or accepted: theirs
    # was taken as it is.
    _text("drift"),
    _text("snapshot"),  # JSON, the row there as acknowledged
    _text("agreed"),  # JSON, what both sides agreed on field by field (``twoway``)
    _number("updated_ms"),
    UniqueConstraint("realm", "entity", "external_id"),
)
# Events that are still to be submitted: written with the acknowledgement, in one transaction.
answers = Table(
    "qbo_answers",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    _account(),
    _text("kind"),
    Column("payload", LargeBinary, nullable=False),
    Column("pending", Boolean, nullable=False, server_default=true()),
)
Index("ix_qbo_answers_pending", answers.c.account, answers.c.pending)
corrections = Table(
    "qbo_corrections",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    _account(),
    _number("intent"),
    _text("rule"),
    _text("code"),
    _text("before"),
    _text("after"),
    _number("at_ms"),
    _number("undone_ms"),  # an undone rule is not applied to its document again
    _text("undone_by"),
)
Index("ix_qbo_corrections_intent", corrections.c.account, corrections.c.intent)
# What somebody chose for an account, over what the environment says.
settings = Table(
    "qbo_settings",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("name", Text, primary_key=True),
    _text("value"),
)
# Entities that somebody gave up as deleted there: a document that still names one is not linked to
# it again.
forgotten = Table(
    "qbo_forgotten",
    metadata,
    Column("realm", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
)
# The comparison that is on, or the last one: where it goes on after a crash, and what it found.
comparisons = Table(
    "qbo_comparisons",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    _text("state"),  # fetching, done
    _number("started_ms"),
    _number("finished_ms"),
    _number("fetched"),  # rows there taken in
    _number("next_start"),  # the row there that the next page begins with
    _number("reads"),
    _number("equal"),
    _text("months"),  # JSON of the control totals
    _text("entity"),  # whose pages are read
)
# Estimates and invoices there as that comparison saw them, without their content.
theirs = Table(
    "qbo_theirs",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    _number("seen_ms"),  # the start of the comparison that saw it last
    _text("sync_token"),
    _text("number"),
    _text("date"),
    _text("customer"),
    _text("currency"),
    _text("status"),
    _text("total"),  # before tax
    _text("local_type"),  # what its marker says, empty without one of ours
    _text("local_id"),
    _text("drift"),  # of the document that it is linked to
    _text("fields"),  # what was changed there, comma-separated
)
# What the last comparison found to differ, and who said that it may.
findings = Table(
    "qbo_findings",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    _account(),
    _text("kind"),  # missing, changed, deleted, differs, duplicate, orphan
    _text("local_type"),
    _text("local_id"),
    _text("external_id"),
    _text("sync_token"),
    _text("number"),
    _text("date"),
    _text("currency"),
    _text("ours"),  # totals before tax, empty where there is none
    _text("theirs"),
    _text("fields"),  # what differs, comma-separated
    _text("entity"),
)
Index("ix_qbo_findings_account", findings.c.account, findings.c.id)
ignored = Table(
    "qbo_ignored",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("local_type", Text, primary_key=True),
    Column("local_id", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    _text("sync_token"),  # a later change there is a new difference
    _text("reason"),
    _text("by"),
    _number("at_ms"),
)
# The accounting lists as they were last pulled (``lists``): one row for each list …
lists = Table(
    "qbo_lists",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("name", Text, primary_key=True),
    _number("loaded_ms"),  # 0: not read through yet
    _number("pulled_ms"),
    _number("began_ms"),  # of the reading that is under way; 0: none is
    _number("next_start"),  # where it goes on
    _text("reason"),  # why QuickBooks did not tell the newest; empty when it did
    _number("refused_ms"),
)
# … and one for each row there, with what its columns show and nothing else.
list_rows = Table(
    "qbo_list_rows",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("list", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    _text("label"),
    _text("number"),
    _text("date"),
    _number("amount_e4"),
    _text("state"),  # empty, inactive or deleted
    _text("text"),  # what a filter looks in, folded
    _text("content"),  # JSON: column → text
    _number("seen_ms"),  # of the reading that showed it last
    Index("ix_qbo_list_rows_label", "account", "list", "label", "external_id"),
    Index("ix_qbo_list_rows_date", "account", "list", "date", "external_id"),
)
# A field that was changed on both sides to different values: what counts, and what was given up.
overruled = Table(
    "qbo_overruled",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    _account(),
    *_key(),
    _text("field"),
    _text("base"),
    _text("ours"),
    _text("theirs"),
    _text("kept"),  # "ours" or "theirs"
    _number("at_ms"),
    _number("settled_ms"),  # when somebody chose the other value, or said that this one is right
    _text("settled_by"),
    Index("ix_qbo_overruled_account", "account", "id"),
)
# Records here and there that share a name and nothing else: somebody says whether they are one.
matches = Table(
    "qbo_matches",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    *[Column(name, Text, primary_key=True) for name in ("entity", "local_type", "local_id")],
    _text("external_id"),
    _text("name"),
    _text("shown"),  # what tells them apart: e-mail, phone, place, SKU
    _text("decision"),  # empty: not yet; "link" or "apart"
    _text("by"),
    _number("at_ms"),
)
# Names that were merged there into others, as far as it was told or seen.
merges = Table(
    "qbo_merges",
    metadata,
    Column("realm", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("loser", Text, primary_key=True),
    Column("survivor", Text, nullable=False),
    _number("at_ms"),
)
