/** The one error this library throws on purpose. */

/**
 * What happened, for a program to tell apart:
 *
 * - `misuse`: the calling program asked for something that cannot be meant. Nothing was saved.
 * - `malformed`: bytes that are no valid frame, event, payload or file.
 * - `too_large`: a bound was passed. Nothing was saved.
 * - `forbidden`, `revoked`, `upgrade_required`: the server refuses this device; trying again as it
 *   is changes nothing, and unsent work stays here.
 * - `peer_gone`: no connection, or the time was over. Nothing is lost; try again.
 * - `storage_full`: nothing was saved. Tell the user now, make room, record again.
 * - `storage`: the outcome of a write is unknown. Close the client and open it again.
 * - `in_use`: the storage is open elsewhere.
 * - `corruption`: stored bytes do not verify. Keep them and ask for help.
 */
export type Code =
  | "misuse"
  | "malformed"
  | "too_large"
  | "forbidden"
  | "revoked"
  | "upgrade_required"
  | "peer_gone"
  | "storage_full"
  | "storage"
  | "in_use"
  | "corruption";

export class ReplicaError extends Error {
  override readonly name = "ReplicaError";
  readonly code: Code;
  /** What to do about it, where that is known; may be empty. */
  readonly hint: string;

  constructor(code: Code, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? "";
  }
}

export function malformed(message: string, cause?: unknown): ReplicaError {
  return new ReplicaError("malformed", message, { cause });
}

/** The words of anything that was thrown. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
