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
# Groups of them at the door at a time, per connection: one is decided while the other is committed.
APPENDS_IN_FLIGHT_MAX = 2
# And per account, over all of its connections: what one account has decided and not durable yet.
# The devices of a busy account wait for each other, not those of another one for them.
ACCOUNT_APPENDS_MAX = 16
PUSHES_TOGETHER_MAX = PUSHES_IN_FLIGHT_MAX // APPENDS_IN_FLIGHT_MAX
# EVENTS frames sent but not confirmed by CURSOR, per connection, in bytes: the slow-reader bound.
UNCONFIRMED_BYTES_MAX = 1_048_576

# Sync peers -------------------------------------------------------------------------------------
# Event bytes of one push that holds more than one event, and of pushes decided together. Chosen so
# that the resulting segment, with its decisions, always fits into one EVENTS frame.
PUSH_BYTES_MAX = 196_608
# A device confirms at once, but not more often than this unless as many bytes wait for it: one
# frame then confirms many. Far below the window, so that the server never waits for it.
CONFIRM_INTERVAL_MS = 100
CONFIRM_BYTES = 131_072
HELLO_KNOWS_MAX = 32  # things that a device says it can do
# An EVENTS frame counts at least this much in the window, which bounds how many may be on the way.
WINDOW_FRAME_BYTES_MIN = 512
# A reason told with an outcome: a sentence. 500 of them fit into one RESULT.
DETAIL_BYTES_MAX = 200
TOKEN_CHARS_MAX = 512
# A fresh clock sample per minute; a device that leaves a probe unanswered is not there.
PROBE_SAMPLES = 3
PROBE_INTERVAL_MS = 60_000
PROBE_TIMEOUT_MS = 45_000
AUTHENTICATE_TIMEOUT_MS = 15_000
# The server may group-commit behind others; after this the connection is taken for dead.
RESULT_TIMEOUT_MS = 60_000
# A server probes every minute, so two and a half silent minutes mean that it is gone.
SILENCE_TIMEOUT_MS = 150_000
# An empty page below a hinted head means the read ran behind the hint: ask again after this.
READ_RETRY_MS = 500
# Samples that count towards a clock offset: the first burst and some minutes.
SKEW_SAMPLES_MAX = 8
# A device whose own events move its cursor is told at the end of its pushes, or after this.
CURSOR_FLUSH_MS = 500
# Digests asked of one peer and not answered yet.
DIGEST_ASKS_MAX = 8
# Times one write is decided anew because another writer of the same device was first.
HEAD_MOVES_MAX = 16

# Values inside events --------------------------------------------------------------------------
ID_CHARS_MAX = 64
NAME_CHARS_MAX = 500  # QuickBooks DisplayName
TEXT_CHARS_MAX = 4_000  # QuickBooks PrivateNote and Description
ORDER_LINES_MAX = 2_000
SCOPE_IDS_MAX = 4_000  # customers, prospects or products chosen for one device
DEPS_MAX = 8  # direct causes only; the rest follows through them
NESTING_DEPTH_MAX = 16  # a payload deeper than this is an attack, no form is
NUMBER_CHARS_MAX = 21  # QuickBooks DocNumber
DAYS_REMEMBERED_MAX = 1_024  # days of the calendar whose spelling was checked already
# Money and quantities stay below 2**53 so that every JSON and JavaScript reader keeps them exact.
SAFE_INTEGER_MAX = 9_007_199_254_740_991

# Contents of events and documents --------------------------------------------------------------
# 9999-12-31T23:59:59.999Z: the last millisecond every calendar library can show.
EPOCH_MS_MAX = 253_402_300_799_999
# Puts one removal may name: each costs 34 bytes, and a removal must fit into one event.
SEEN_PUTS_MAX = 4_096
REPORT_ENTRIES_MAX = 256
REPORT_BYTES_MAX = 65_536  # every device takes it in; what is more goes into another event
# One keystroke is some 30 bytes; a pasted text of TEXT_CHARS_MAX in four-byte characters fits.
NOTE_UPDATE_BYTES_MAX = 32_768
# What a view applies of one note, oldest first; the rest is listed as unreadable.
NOTE_BYTES_MAX = 1_048_576
NOTE_EDITS_MAX = 5_000
# Overridden values kept beside the winner of a register, newest first. The log holds all of them.
LOSERS_PER_FIELD_MAX = 8
# Whole contents kept beside the effective one (a second seal, a superseded amendment).
CONTENTS_KEPT_MAX = 4
# Line edits of one draft that count, oldest first: bounds the document, far above any real draft.
DRAFT_EDITS_MAX = 20_000

# Clock -----------------------------------------------------------------------------------------
# A corrected time may be this far ahead of receipt before it counts as disputed (reliability I-8).
CLOCK_AHEAD_MS_MAX = 300_000
# Offsets below this are noise of the measurement; the raw stamp is kept (pitfalls P60).
CLOCK_OFFSET_NOISE_MS = 2_000
STAMP_COUNTER_MAX = 0xFFFF
STAMP_MS_MAX = (1 << 48) - 1
# The last moment a clock is believed to show, the end of the year 9999: above it there is room for
# counters to overflow into, so stamps go on increasing whatever a clock says.
CLOCK_MS_MAX = 253_402_300_799_999

# Connections -----------------------------------------------------------------------------------
FIRST_FRAME_TIMEOUT_MS = 10_000
HEARTBEAT_INTERVAL_MS = 20_000
HEARTBEAT_TIMEOUT_MS = 45_000
RECONNECT_DELAY_MS_MIN = 250
RECONNECT_DELAY_MS_MAX = 30_000
RECONNECT_HINT_MS_MAX = 300_000  # however long a server asks for

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
LIST_ROWS_MAX = 50  # rows of one page of a list
LIST_START_MAX = 10_000_000  # where a page of a list may begin
# New container objects before a garbage collection looks at them: some megabytes at most.
GARBAGE_OBJECTS_MIN = 20_000
# Kernel memory and time one reader that stopped reading may hold (reliability D11).
SOCKET_SEND_BUFFER_BYTES = 131_072
SOCKET_USER_TIMEOUT_MS = 12_000
SEND_DEADLINE_S = 15.0
# Frames waiting for one device's socket, in bytes. Above it the session ends; the cursor resumes.
SESSION_QUEUE_BYTES_MAX = 2_097_152
DEVICE_CONNECTIONS_MAX = 10_000
# A server-resident device has one writer per process; this bounds what may queue behind it.
LOCAL_EVENTS_MAX = 500
SHUTDOWN_GRACE_S = 10.0
RESTART_RETRY_AFTER_MS = 2_000

# Files carried by hand ----------------------------------------------------------------------------
# A month alone with 10,000 transactions is some 6 MB before compression (OFF-14).
CARRY_FILE_BYTES_MAX = 33_554_432
CARRY_BODY_BYTES_MAX = 134_217_728
CARRY_PROBLEMS_SHOWN_MAX = 200  # events named one by one in a preview; the rest are counted
# Files that were uploaded on a page and neither imported nor discarded yet, per account.
UPLOADS_MAX = 8
UPLOAD_AGE_S = 86_400  # then it is chosen anew
UPLOAD_FORM_BYTES_MAX = 8_192  # of a form around its file

# Sync Now and background work -------------------------------------------------------------------
ACCOUNT_SYNC_POLL_S = 0.2  # between a device's looks at the run that it pressed
ACCOUNT_SYNC_ANSWER_BYTES_MAX = 1_048_576
SYNC_PLAN_ROWS_MAX = 500  # rows of a plan that are named one by one; the rest are counted
SYNC_PLAN_WAIT_S = 2.0  # for devices that are asked what they hold
SYNC_PLANS_KEPT_MAX = 4  # plans of one account that a press may still name
# Folding as many events again takes 1.6 s of one core; of a longer log the position is checked.
SYNC_CHECK_EVENTS_MAX = 50_000
SYNC_PROGRESS_S = 1.0  # between two words of a run on how far it is
SYNC_PAGE_DEVICES_MAX = 200  # shown of one run, those that need somebody first
SYNC_PROBLEMS_MAX = 200  # of one run that are told one by one; the rest are counted
SYNC_DEVICE_WAIT_S = 20.0
SYNC_PROJECTION_WAIT_S = 30.0
# A device and the server are compared at one position; this often they may miss each other.
SYNC_PROOF_ROUNDS_MAX = 30
SYNC_PROOF_WAIT_S = 0.2
# A device that differs mends itself in a second or two; this often it is looked at again.
SYNC_MEND_ROUNDS_MAX = 25
# "Last seen" of devices is written this often, one transaction for all of them.
TOUCH_INTERVAL_S = 15.0
# How long read models let the door go first: what a burst of writes costs those who look on.
PROJECTION_DELAY_MS_MAX = 1_000
# The same once they have taken all that there was: a steady trickle is taken in few steps.
PROJECTION_TRICKLE_MS = 250
# How often they look whether it is quiet, and how long the door counts as busy after an answer.
DOOR_QUIET_MS = 5
# One step while writes wait: short, because it may share the interpreter with the door.
PROJECTION_BUSY_BYTES = 262_144
# Where it does, it works on for so long before those who wait for an answer go first; how long it
# rests in all.
PROJECTION_SLICE_US = 500
PROJECTION_REST_MS_MAX = 50
# How far the process of the read models stands back where others want the processor, and how long
# it waits for that of a server which was killed.
PROJECTION_NICE = 10
PROJECTION_LOCK_S = 30.0
# Events of a push that are worth the way to another process: below, deciding takes less than that.
# How much is decided here, where everything else about a push is done, too.
JUDGE_APART_EVENTS_MIN = 32
JUDGE_HERE_TENTHS = 4
# A projection that could not step for this long makes the server not ready.
PROJECTION_OVERDUE_S = 30.0
PROJECTION_POLL_MS = 2_000
# How long a page waits to show what was just saved on it.
READ_OWN_WRITE_WAIT_S = 5.0
LIVE_STREAMS_MAX = 200
LIVE_HEARTBEAT_S = 15.0

assert PUSH_BYTES_TARGET <= FRAME_BYTES_MAX // 2
assert EVENT_BYTES_MAX + 16_384 <= FRAME_BYTES_MAX, "an event always fits in a frame of its own"
assert UNCONFIRMED_BYTES_MAX >= 2 * FRAME_BYTES_MAX, "two frames may be on the way"
assert COMMIT_BYTES_MAX >= FRAME_BYTES_MAX
assert CLOCK_MS_MAX < STAMP_MS_MAX
# 97 bytes is the smallest event, 25 the most a record adds to it, 256 covers all headers.
assert PUSH_BYTES_MAX + 25 * (PUSH_BYTES_MAX // 97) + 256 <= FRAME_BYTES_MAX
assert PUSH_EVENTS_MAX * (DETAIL_BYTES_MAX + 64) <= FRAME_BYTES_MAX
assert PUSH_BYTES_TARGET <= PUSH_BYTES_MAX
assert SILENCE_TIMEOUT_MS > PROBE_INTERVAL_MS + PROBE_TIMEOUT_MS

# Store -----------------------------------------------------------------------------------------
# Bytes waiting for the writer: what a stuck disk may cost in memory (the count alone would allow
# a gibibyte of full frames).
COMMIT_QUEUE_BYTES_MAX = 67_108_864
# A second connection waits this long for SQLite's write lock before "unavailable".
SQLITE_BUSY_MS = 5_000
# Statements that a connection keeps prepared: every table's, in every number of rows.
SQLITE_STATEMENTS_PREPARED = 512
# The write-ahead log is copied back above this size; it stays far below the 64 MiB alarm.
WAL_CHECKPOINT_BYTES = 16_777_216
# Quiet time after which the writer empties the write-ahead log.
CHECKPOINT_IDLE_MS = 1_000
# Segments in one page, beside the byte bound: single-event segments are small.
READ_SEGMENTS_MAX = 4_096
# Device heads the only writer remembers between commits; about 200 bytes each.
HEAD_CACHE_ENTRIES_MAX = 65_536
READ_CONNECTIONS_MAX = 4
POSTGRES_CONNECTIONS_MAX = 4
POOL_WAIT_MS_MAX = 10_000
# A parked PostgreSQL session must not hold an account's lock (pitfalls P3).
POSTGRES_LOCK_MS_MAX = 5_000
POSTGRES_STATEMENT_MS_MAX = 30_000
POSTGRES_IDLE_IN_TRANSACTION_MS_MAX = 10_000

# Set reconciliation ------------------------------------------------------------------------------
# One message: below FRAME_BYTES_MAX with the frame around it, and half a second of work at most.
RECONCILE_FRAME_BYTES_MAX = 131_072
# One question: fits into a request's body (HTTP_BODY_BYTES_MAX).
RECONCILE_QUESTION_BYTES_MAX = 61_440
# What other implementations use at least; a list of ids always fits.
RECONCILE_FRAME_BYTES_MIN = 4_096
RECONCILE_LIST_IDS_MAX = 100  # ids listed in one range
# Items of a block of the sorted set, up to twice as many: the smaller, the more totals to renew.
RECONCILE_BLOCK_ITEMS = 128
RECONCILE_OPEN_RANGES_MAX = 16_384  # ranges known to differ that wait for their turn
RECONCILE_ROUNDS_MAX = 4_096  # 10 % of a million items take some hundreds
# Sets that a process keeps for whoever compares with it, of the accounts asked for last: 45 MB for
# a million events.
RECONCILE_SETS_MAX = 4
# Documents asked for in one request, and what one answer holds of them beside the first.
RECONCILE_DOCUMENTS_MAX = 1_000
RECONCILE_DOCUMENTS_BYTES_TARGET = 1_048_576
# Documents that a device mends one by one; when more differ, everything is fetched again.
MEND_DOCUMENTS_MAX = 5_000
MEND_TRIES_MAX = 4  # the server's documents may change while they are fetched
RECONCILE_WAIT_S = 10.0  # for the read models to reach the asker's position

# Access control in the store --------------------------------------------------------------------
ENROLMENT_CODE_TTL_MS = 600_000
ENROLMENT_CODES_OPEN_MAX = 100  # unused codes of one account at a time
# Wrong tries before the next one has to wait, and the longest wait: nobody is locked out for ever,
# and never by somebody else's tries from elsewhere (reliability S2). An office behind one address
# shares the second bound (pitfalls P64).
LOGIN_TRIES_FREE = 5
SOURCE_TRIES_FREE = 50
TRY_WAIT_MS_MIN = 1_000
TRY_WAIT_MS_MAX = 300_000
TRY_FORGET_MS = 3_600_000
# A session ends when it is not used, and after a week even if it is (reliability S3).
SESSION_IDLE_MS_MAX = 43_200_000
SESSION_AGE_MS_MAX = 604_800_000
# How often "last seen" is written; a page view must not cost a flush of the disk.
SESSION_TOUCH_MS = 60_000
PASSWORD_CHARS_MIN = 10
PASSWORD_CHARS_MAX = 1_000  # argon2 takes any length; a megabyte is an attack

# Fan-out ---------------------------------------------------------------------------------------
# Closes the loop when a hint was lost or another server process committed (reliability §2.3).
FANOUT_POLL_MS = 1_000
# Newest segments kept in memory for devices that are a little behind, all accounts together.
TAIL_BYTES_MAX = 16_777_216

assert COMMIT_QUEUE_BYTES_MAX >= COMMIT_BYTES_MAX
assert FANOUT_POLL_MS <= 5_000, "a lost hint delays by at most five seconds"

# Device ----------------------------------------------------------------------------------------
# Rows a device reads from its journal at once: bounds memory on a phone.
NOTICES_KEPT_MAX = 20  # sentences for the user of a device, read and unread; then the oldest go
JOURNAL_READ_ROWS = 500
# Pages of the journal in its write-ahead log before it is folded back. The disk writes over a log
# that was folded back in half of the time it takes to make one longer, so for a user at work: few.
JOURNAL_CHECKPOINT_PAGES = 256
# While much is taken in: 16 MiB of disk and half of that in memory buy a first sync that writes a
# fraction of the bytes.
JOURNAL_CATCH_UP_PAGES = 4_096
JOURNAL_CACHE_KIB = 8_192
# Payloads in one append: more than any form makes at once, and still a short commit.
APPEND_PAYLOADS_MAX = 2_000
SOFTWARE_CHARS_MAX = 100  # name and version of the embedding program, for the office
ENROL_TIMEOUT_MS = 15_000
ENROL_ANSWER_BYTES_MAX = 65_536
# Questions for one proof. The log of a busy account moves between question and answer.
PROOF_ASKS_MAX = 64
# Proofs that fail one after the other until a device trusts nothing that it was told: the first
# sends it back to the server, which finds a copy that wrote elsewhere.
PROOFS_UNEQUAL_MAX = 2
# 250 ms doubled seven times passes the longest delay.
RECONNECT_DOUBLINGS_MAX = 7
CONNECT_TIMEOUT_MS = 10_000
# Connections in a row that a round sees fail before it tells the user: one may end for a good
# reason (a new epoch, a server that restarts).
SYNC_CONNECTIONS_MAX = 2
CLOSE_TIMEOUT_MS = 2_000
# Wall clock against monotonic clock within one connection: beyond this somebody set the clock, and
# the skew has to be measured again.
CLOCK_SET_MS = 2_000

# Projections -----------------------------------------------------------------------------------
# What one step folds in one transaction: bounds its memory (documents and rows are some ten times
# the log's bytes) and how long a reader's snapshot can hold back the write-ahead log.
PROJECTION_STEP_BYTES_MAX = 2_097_152
# Keys in one IN (…) list; SQLite takes 32,766 parameters, PostgreSQL 65,535.
PROJECTION_KEYS_MAX = 5_000
# Characters kept of an error that a poison record raised.
PROJECTION_ERROR_CHARS_MAX = 500
# Events of one explanation whose times are looked up in the log, a few reads each.
WHY_EVENTS_MAX = 200
PAGE_ROWS_MAX = 200
# Twins (decision 0016): documents looked at in one go; orders of one number that are told apart at
# once; records that stand for each other in a row; how long a process that died is waited for.
TWIN_PAGE_DOCUMENTS = 500
NUMBER_SUFFIXES_MAX = 50
TWIN_CHAIN_MAX = 16
TWIN_CLAIM_MS = 10_000

# First sync and long absences by chunks ---------------------------------------------------------
# Documents of one chunk, before compression: enough to compress well, little to fetch again.
CHUNK_BYTES_TARGET = 1_048_576
# Devices whose sales one chunk holds: many of them sell little, and the manifest names each.
CHUNK_AUTHORS_MAX = 256
# What a chunk may unpack to: the target and one document, the largest there is.
CHUNK_RAW_BYTES_MAX = 33_554_432
# Larger states are left whole in a chunk: taken apart, a chunk of them might not fit into memory.
CHUNK_APART_BYTES_MAX = 262_144
MANIFEST_BYTES_MAX = 4_194_304
# Manifests one fetch begins: the server may replace one under a slow device, but not for ever.
MANIFESTS_MAX = 4
# Connections lost in a row, without a chunk taken in, before the log is tried instead.
CHUNK_FAILURES_MAX = 3
# A replica that lacks fewer events gets them from the log: a page or two.
CHUNKED_EVENTS_MIN = 2_000
# A tail of this part of the log is worth a layer of its own.
CHUNKED_TAIL_PART = 10
# Layers before all of them are made one again, without what newer ones replaced.
CHUNKED_LAYERS_MAX = 8
CHUNK_FETCH_TIMEOUT_S = 15.0
# The first device to ask waits for the layers to be made, others with it; then the log serves.
CHUNK_BUILD_WAIT_S = 10.0

# History ---------------------------------------------------------------------------------------
# What an event adds around its payload, rounded up: ids, stamp, chain, kind, up to eight deps.
HISTORY_ENVELOPE_BYTES = 1_024
# Rows decoded from a file at once.
HISTORY_BATCH_ROWS = 8_192
HISTORY_DEVICES_MAX = 64
# Events in one durable append of a loading device: enough to share a flush, a second's work.
HISTORY_BUNDLE_EVENTS = 50
# A device that makes no progress for this long has lost its server.
HISTORY_STALL_S = 60.0
HISTORY_START_S = 30.0
HISTORY_PROOFS_MAX = 10
HISTORY_STOP_S = 30.0
# Rejected events named one by one in the report of a load; the rest are counted.
HISTORY_REJECTED_SHOWN_MAX = 20

# A sink's desk ---------------------------------------------------------------------------------
SINK_ROWS_MAX = 50  # rows of a queue, or of a list of differences, on one page
SINK_CALLS_SHOWN_MAX = 50  # newest calls of a row
SINK_CORRECTIONS_SHOWN_MAX = 50  # newest corrections
SINK_RUN_WAIT_S = 3.0  # a page waits this long for a run that it started, then shows it going on
SINK_TEXT_CHARS_MAX = 500  # of a reason or a number that a person types

# QuickBooks sink -------------------------------------------------------------------------------
# Intuit closes a request after 120 s, so a read that waits longer knows that it has ended.
QBO_CONNECT_TIMEOUT_S = 5.0
QBO_READ_TIMEOUT_S = 125.0
QBO_SERVER_TIME_MS_MAX = 120_000
# Below the allowance of 10 requests/s and 500/min per company, with room for other programs.
QBO_REQUESTS_PER_S = 8.0
QBO_REQUESTS_PER_MIN = 450.0
QBO_CONCURRENT_CALLS = 4
QBO_THROTTLE_PAUSE_MS = 60_000  # what Intuit asks for after a 429
QBO_ANSWER_BYTES_MAX = 33_554_432
QBO_EXCERPT_CHARS = 500  # kept of an answer in no known format
QBO_PAGE_ROWS = 1_000
QBO_PAGES_MAX = 1_000
QBO_CONFIRM_IDS = 100  # ids asked for in one statement
QBO_COMPARISON_AGE_MS = 3_600_000  # a comparison that was cut off longer ago begins anew
QBO_CHANGES_MAX = 1_000  # objects in one answer of change data capture
QBO_CHANGES_OVERLAP_MS = 300_000
QBO_CHANGES_WINDOW_MS = 30 * 86_400_000
QBO_CHANGES_CALLS_MAX = 20  # for one entity of which more changed than one answer holds
QBO_LIST_PAGES_PER_RUN = 20  # of one list that is read through; the next run goes on
QBO_POLL_AGE_MS = 3_600_000  # between readings of lists whose changes QuickBooks does not tell
QBO_MATCHES_MAX = 2_000  # names on both sides that wait for somebody's word, per look
QBO_OVERRULED_MAX = 1_000  # values given up in a conflict that are kept to be seen, per account
QBO_REFUSED_AGE_MS = 86_400_000  # before a list that was refused is asked for again
QBO_LINES_MAX = 10_000
QBO_TAXABLE_LINES_MAX = 750
# Waits before an unknown outcome is looked into again; the last one repeats.
QBO_DOUBT_WAITS_MS = (2_000, 8_000, 30_000, 60_000, 120_000, 240_000, 480_000, 960_000, 1_800_000)
# How long a request id is trusted to be remembered there (no figure is documented).
QBO_REQUESTID_TRUST_MS = 86_400_000
QBO_LOOK_GAP_MS = 60_000  # between the two looks that must both find nothing after that
# A run waits for rows that fall due this soon instead of leaving them to the next run.
QBO_RUN_LINGER_MS = 10_000
QBO_CYCLES_MAX = 3  # unchanged tries of a data error before a correction (QB-23)
QBO_GENERATIONS_MAX = 50  # definitive faults of one intent before it only waits for somebody
QBO_TOKEN_SLACK_MS = 600_000  # an access token with less life than this is refreshed first
QBO_PREFERENCES_AGE_MS = 86_400_000
QBO_DEADLINE_NEAR_MS = 30 * 86_400_000  # a permission that ends this soon is said to end
QBO_READS_PER_MONTH = 500_000  # metered reads that the lowest tier of the programme includes
QBO_STATE_LIFETIME_MS = 600_000  # of an authorisation that was begun
QBO_FEED_ROWS = 500
QBO_ANSWERS_AT_ONCE = 100
QBO_WEBHOOK_BYTES_MAX = 1_048_576

# Scope -----------------------------------------------------------------------------------------
SCOPE_PAGE_BYTES_TARGET = 262_144  # of states in one page; it is deflated to about half of that
# Documents in the sets that are kept for devices with a scope, together: some 500 bytes each.
SCOPED_DOCUMENTS_KEPT_MAX = 400_000
SCOPE_MOVES_MAX = 200_000  # documents that enter or leave with one change of scope
# A device that just asked for documents lets what others do gather so long before it asks again.
SCOPE_GATHER_MS = 500
SCOPE_WAITING_MAX = 1_000  # changes that a device is told to be waiting; there may be more
SCOPE_PAGES_MAX = 10_000  # pages taken in one go
SCOPE_GRANT_TRIES_MAX = 8  # grants to one device at the same time wait for each other
SCOPE_HANDOVER_MAX = 1_000  # customers handed over at once
HANDED_SHOWN_MAX = 5  # customers of one handover that are shown by name
SCOPE_LINK_KBPS = 1_000  # what a cost in seconds is reckoned for, unless told otherwise
SCOPE_SAMPLE_DOCUMENTS = 200  # whose compression stands for that of all
SCOPE_ROWS_SHOWN_MAX = 200  # of a list to choose from
SCOPE_DAYS_MAX = 3_660
SCOPE_TTL_S_MAX = 366 * 86_400
SCOPE_LINK_KBPS_MAX = 10_000_000

# Analytics -------------------------------------------------------------------------------------
EXPORT_ROWS = 10_000  # in memory at once while a file is written
