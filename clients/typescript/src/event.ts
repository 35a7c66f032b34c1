/** Events: canonical bytes, identity, chain (wire-protocol.md §2). */

import { sha256 as hash } from "@noble/hashes/sha2.js";
import { concat, same, type Bytes } from "./bytes.ts";
import { STAMP_BYTES } from "./clock.ts";
import { malformed } from "./errors.ts";
import { DEPS_MAX } from "./limits.ts";
import { pack, unpack, type Value } from "./msgpack.ts";

export const ID_BYTES = 16;
export const HASH_BYTES = 32;
/** `prev` of a first event, and the hash of an empty chain. */
export const NO_HASH: Bytes = new Uint8Array(HASH_BYTES);

const FORMAT = 1;

export interface Event {
  readonly account: Uint8Array;
  readonly device: Uint8Array;
  readonly epoch: number;
  readonly seq: number;
  readonly prev: Uint8Array;
  readonly stamp: Uint8Array;
  readonly kind: string;
  readonly version: number;
  readonly deps: readonly Uint8Array[];
  readonly payload: Uint8Array;
}

export function sha256(data: Uint8Array): Bytes {
  return hash(data);
}

/** The last eight bytes of a device id, as they stand in its stamps. */
export function nodeOf(device: Uint8Array): Uint8Array {
  return device.subarray(ID_BYTES / 2);
}

export function encodeEvent(event: Event): Bytes {
  return pack([
    FORMAT,
    event.account,
    event.device,
    event.epoch,
    event.seq,
    event.prev,
    event.stamp,
    event.kind,
    event.version,
    event.deps,
    event.payload,
  ]);
}

/** The event of canonical bytes. Throws `malformed` for any others. */
export function decodeEvent(data: Uint8Array): Event {
  const value = unpack(data);
  if (!Array.isArray(value) || value.length !== 11 || value[0] !== FORMAT) {
    throw malformed("not an event");
  }
  const [, account, device, epoch, seq, prev, stamp, kind, version, deps, payload] =
    value as readonly Value[];
  if (!Array.isArray(deps) || deps.length > DEPS_MAX) throw malformed("deps of an event");
  const event: Event = {
    account: bytesOf(account, ID_BYTES),
    device: bytesOf(device, ID_BYTES),
    epoch: countOf(epoch),
    seq: countOf(seq),
    prev: bytesOf(prev, HASH_BYTES),
    stamp: bytesOf(stamp, STAMP_BYTES),
    kind: wordOf(kind),
    version: countOf(version),
    deps: deps.map((dep: Value) => bytesOf(dep, HASH_BYTES)),
    payload: bytesOf(payload),
  };
  if (!same(encodeEvent(event), data)) throw malformed("an event that is not canonical");
  return event;
}

/** The chain hash of a log after these events (wire-protocol.md §4.3). */
export function chainAfter(chain: Uint8Array, ids: Iterable<Uint8Array>): Uint8Array {
  let after = chain;
  for (const id of ids) after = sha256(concat(after, id));
  return after;
}

export function bytesOf(value: Value | undefined, size?: number): Uint8Array {
  if (!(value instanceof Uint8Array) || (size !== undefined && value.length !== size)) {
    throw malformed(size === undefined ? "bytes are missing" : `not ${size} bytes`);
  }
  return value;
}

export function countOf(value: Value | undefined): number {
  if (typeof value !== "number" || value < 0) throw malformed("not a count");
  return value;
}

export function wordOf(value: Value | undefined): string {
  if (typeof value !== "string") throw malformed("not a text");
  return value;
}
