"""What is not documented about QuickBooks, as switches (section 1.17), and the sandbox's settings.

A client's safety must not rest on any of these: run its tests with each switch both ways.
"""

from __future__ import annotations

from typing import Literal

import msgspec

DAY_S = 86_400


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Changed at run time through ``PUT /sandbox/switches``; kept in the books."""

    requestid_ttl_s: int = DAY_S
    requestid_replays_faults: bool = False
    requestid_conflict: Literal["replay", "600"] = "replay"
    estimate_dup_docnumber: Literal["allow", "6140"] = "allow"
    docnumber_when_auto: Literal["ignore", "keep"] = "ignore"
    estimate_status_after_invoice: Literal["unchanged", "Closed", "Converted"] = "unchanged"
    estimate_token_bump_on_invoice: bool = True
    closed_books_block_estimates: bool = False
    amount_rounding: Literal["half_up", "tolerance"] = "half_up"
    sparse_needs_required: bool = False  # a sparse update without VendorRef, Name … is 2020
    nested_object_sparse: Literal["replace", "merge"] = "replace"
    inactive_name_suffix: bool = True
    us_account_number: Literal["20", "7"] = "20"  # characters; 20 elsewhere
    throttle: bool = True
    throttle_format: Literal["json429", "xml429", "xml403"] = "json429"
    default_media: Literal["json", "xml"] = "json"  # for who asks for neither
    auth_envelope: Literal["lower", "upper"] = "lower"
    taxcode_pseudo_rows: bool = True
    cdc_lag_ms: int = 0
    webhook_format: Literal["old", "cloudevents", "both"] = "cloudevents"
    short_pages: float = 0.0  # probability that a page holds one row less than asked
    refresh_rotation: Literal["every", "24h"] = "24h"
    refresh_grace_s: int = DAY_S
    auto_approve: bool = False
    delete_reopens_estimate: bool = True


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Fixed at start. ``realm`` is the seeded sample company, ``country`` its tax world."""

    realm: str = "4620816365000000001"
    country: Literal["US", "GB"] = "US"
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"  # noqa: S105 (published on purpose: nothing real here)
    webhook_url: str = ""
    webhook_verifier: str = "sandbox-verifier"
    switches: Switches = Switches()
