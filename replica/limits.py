"""Every bound of the product: unit in the name, reason beside it.

A bound that two parties must share is part of the wire protocol (wire-protocol.md §9) and is sent
in WELCOME, so that a client in another language need not hard-code it.
"""

from __future__ import annotations

# Frames and events -----------------------------------------------------------------------------
# One websocket message. Large enough for 2,000 order lines in one event, small enough that
# decoding it cannot hold the event loop long enough for a heartbeat to be missed.
FRAME_BYTES_MAX = 262_144
# One event. A committed order is one event (it is sealed whole or not at all), so this bounds it.
EVENT_BYTES_MAX = 196_608
# One push: the frame bound usually bites first; the count bounds work per verdict list.
PUSH_EVENTS_MAX = 500
# What a sender aims at when it fills a frame; headers and the msgpack framing fit in the rest.
PUSH_BYTES_TARGET = 131_072
EVENTS_BYTES_TARGET = 131_072
# Pushes sent but not answered, per connection. Enough to hide a commit behind a round trip.
PUSHES_IN_FLIGHT_MAX = 8
# EVENTS frames sent but not confirmed by CURSOR, per connection, in bytes: the slow-reader bound.
UNCONFIRMED_BYTES_MAX = 1_048_576

# Values inside events --------------------------------------------------------------------------
ID_CHARS_MAX = 64
NAME_CHARS_MAX = 500  # QuickBooks DisplayName
TEXT_CHARS_MAX = 4_000  # QuickBooks PrivateNote and Description
ORDER_LINES_MAX = 2_000
DEPS_MAX = 8  # direct causes only; the rest follows through them
NESTING_DEPTH_MAX = 16  # a payload deeper than this is an attack, no form is
NUMBER_CHARS_MAX = 21  # QuickBooks DocNumber
# Money and quantities stay below 2**53 so that every JSON and JavaScript reader keeps them exact.
SAFE_INTEGER_MAX = 9_007_199_254_740_991

# Clock -----------------------------------------------------------------------------------------
# A corrected time may be this far ahead of receipt before it counts as disputed (reliability I-8).
CLOCK_AHEAD_MS_MAX = 300_000
# Offsets below this are noise of the measurement; the raw stamp is kept (pitfalls P60).
CLOCK_OFFSET_NOISE_MS = 2_000
STAMP_COUNTER_MAX = 0xFFFF
STAMP_MS_MAX = (1 << 48) - 1

# Connections -----------------------------------------------------------------------------------
FIRST_FRAME_TIMEOUT_MS = 10_000
HEARTBEAT_INTERVAL_MS = 20_000
HEARTBEAT_TIMEOUT_MS = 45_000
RECONNECT_DELAY_MS_MIN = 250
RECONNECT_DELAY_MS_MAX = 30_000

# Group commit ----------------------------------------------------------------------------------
# What one transaction takes at most: keeps the commit short and the acknowledgement near.
COMMIT_BYTES_MAX = 4_194_304
COMMIT_REQUESTS_MAX = 256
# Requests waiting for the writer before new ones are answered "overloaded".
COMMIT_QUEUE_MAX = 4_096

# Server process --------------------------------------------------------------------------------
LOG_EVENT_IDS_MAX = 8  # event ids on one log line; the count beside them is exact
LOG_TEXT_CHARS_MAX = 2_000
# One HTTP body: the largest form or JSON document anybody sends here is far below.
HTTP_BODY_BYTES_MAX = 65_536
PAGE_ROWS_MAX = 50
# Kernel memory and time one reader that stopped reading may hold (reliability D11).
SOCKET_SEND_BUFFER_BYTES = 131_072
SOCKET_USER_TIMEOUT_MS = 12_000
SEND_DEADLINE_S = 15.0
# Frames waiting for one device's socket, in bytes. Above it the session ends; the cursor resumes.
SESSION_QUEUE_BYTES_MAX = 2_097_152
# Frames of a device waiting to be worked on while its batch commits.
DEVICE_CONNECTIONS_MAX = 10_000
# How often one decision is taken again because the device head moved meanwhile.
HEAD_MOVED_RETRIES_MAX = 8
# A server-resident device has one writer per process; this bounds what may queue behind it.
LOCAL_EVENTS_MAX = 500
SHUTDOWN_GRACE_S = 10.0
RESTART_RETRY_AFTER_MS = 2_000

# Logins and enrolment ---------------------------------------------------------------------------
SESSION_LIFETIME_S = 12 * 3_600
PASSWORD_CHARS_MIN = 10
PASSWORD_CHARS_MAX = 1_000  # argon2 takes any length; a megabyte is an attack
ENROLMENT_CODE_LIFETIME_S = 600
# Failed tries before further ones wait, per login and per address. An office behind one address
# shares the second bound (pitfalls P64).
LOGIN_FAILURES_MAX = 5
ADDRESS_FAILURES_MAX = 50
FAILURE_WINDOW_S = 300
FAILURE_KEYS_MAX = 10_000

# Sync Now and background work -------------------------------------------------------------------
SYNC_DEVICE_WAIT_S = 20.0
SYNC_PROJECTION_WAIT_S = 30.0
SYNC_RUNS_KEPT_MAX = 20
# The projection lag bound: under load a step is taken at least this often.
PROJECTION_DELAY_MS_MAX = 500
PROJECTION_POLL_MS = 2_000
LIVE_STREAMS_MAX = 200
LIVE_HEARTBEAT_S = 15.0

assert PUSH_BYTES_TARGET <= FRAME_BYTES_MAX // 2
assert EVENT_BYTES_MAX + 16_384 <= FRAME_BYTES_MAX, "an event always fits in a frame of its own"
assert UNCONFIRMED_BYTES_MAX >= 2 * FRAME_BYTES_MAX, "two frames may be on the way"
assert COMMIT_BYTES_MAX >= FRAME_BYTES_MAX
