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
