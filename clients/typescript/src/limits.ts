/** Every bound, with its unit in the name (wire-protocol.md §9 and §4.4). */

export const EVENT_BYTES_MAX = 196_608;
export const FRAME_BYTES_MAX = 262_144;
export const PUSH_BYTES_TARGET = 131_072;
export const PUSH_EVENTS_MAX = 500;
export const PUSHES_IN_FLIGHT_MAX = 8;
export const UNCONFIRMED_BYTES_MAX = 1_048_576;
export const DEPS_MAX = 8;
export const NESTING_DEPTH_MAX = 24;

export const CLOCK_MS_MAX = 253_402_300_799_999;
/** Below this the clock is good enough and nobody is told. */
export const CLOCK_NOISE_MS = 2_000;

export const CONNECT_TIMEOUT_MS = 10_000;
export const WELCOME_TIMEOUT_MS = 20_000;
export const RESULT_TIMEOUT_MS = 60_000;
export const SILENCE_TIMEOUT_MS = 150_000;
export const RECONNECT_DELAY_MS_MIN = 250;
export const RECONNECT_DELAY_MS_MAX = 30_000;
export const RECONNECT_DOUBLINGS_MAX = 7;
/** Connections a round sees fail in a row before it tells the user. */
export const SYNC_CONNECTIONS_MAX = 2;
export const PROOF_ASKS_MAX = 64;

/** A file carried by hand, and what it inflates to. */
export const CARRY_FILE_BYTES_MAX = 33_554_432;
export const CARRY_BODY_BYTES_MAX = 134_217_728;

/** Payloads of one `record` call. */
export const RECORD_PAYLOADS_MAX = 2_000;
/** Rows read from storage at once. */
export const STORAGE_READ_ROWS = 500;
export const SOFTWARE_CHARS_MAX = 100;

/** Asking the server over HTTP beside the websocket. */
export const ASK_TIMEOUT_MS = 30_000;
/** After an answer that did not come, at most so long until the next connection. */
export const ASK_RETRY_MS = 5_000;
export const ANSWER_BYTES_MAX = 33_554_432;
/** What a page or a chunk unpacks to. */
export const RAW_BYTES_MAX = 33_554_432;

/** Documents in bulk: so many events of the log have to be missing. */
export const BULK_EVENTS_MIN = 2_000;
export const MANIFEST_BYTES_MAX = 4_194_304;
/** Manifests begun in one go: a server may make its layers anew meanwhile. */
export const MANIFESTS_MAX = 4;

export const RECONCILE_QUESTION_BYTES_MAX = 61_440;
export const RECONCILE_LIST_IDS = 100;
export const RECONCILE_OPEN_RANGES_MAX = 16_384;
export const RECONCILE_ROUNDS_MAX = 4_096;
/** Hashes asked for at once. */
export const RECONCILE_DOCUMENTS_MAX = 1_000;

/** Pages of documents taken in one go, and documents that enter or leave with one change. */
export const SCOPE_PAGES_MAX = 10_000;
export const SCOPE_MOVES_MAX = 200_000;
/** The server's documents may change while they are compared. */
export const SCOPE_TRIES_MAX = 4;

/** Small frames that follow each other are confirmed together. */
export const CONFIRM_INTERVAL_MS = 100;
export const CONFIRM_BYTES = 131_072;
export const WINDOW_FRAME_BYTES_MIN = 512;
