/** The frames of the protocol, version 1: shapes only (wire-protocol.md §4). */

import { HASH_BYTES, ID_BYTES, bytesOf, countOf, wordOf } from "./event.ts";
import { STAMP_BYTES } from "./clock.ts";
import { malformed } from "./errors.ts";
import { pack, unpack, type Value, type ValueMap } from "./msgpack.ts";
import type { Bytes } from "./bytes.ts";

export const PROTOCOL_VERSION = 1;
export const SUBPROTOCOL = "replica.v1";

export const Outcome = { accepted: 1, duplicate: 2, quarantined: 3, refused: 4 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** How a field is read and written. */
interface Field<T> {
  read(value: Value | undefined): T;
  write(value: T): Value;
  /** Stands for a field that is missing at the end. */
  readonly missing?: T;
}

type Shape = Readonly<Record<string, Field<unknown>>>;
type Of<S extends Shape> = { readonly [K in keyof S]: ReturnType<S[K]["read"]> };

function plain<T extends Value>(read: (value: Value | undefined) => T): Field<T> {
  return { read, write: (value) => value };
}

const count = plain(countOf);
const ms = plain((value) => {
  if (typeof value !== "number") throw malformed("not milliseconds");
  return value;
});
const words = plain(wordOf);
const bytes = plain((value) => bytesOf(value));
const uuid = plain((value) => bytesOf(value, ID_BYTES));
const hash = plain((value) => bytesOf(value, HASH_BYTES));
const stamp = plain((value) => bytesOf(value, STAMP_BYTES));
const limits: Field<Readonly<Record<string, number>>> = {
  read: (value) => {
    if (value === null || typeof value !== "object") throw malformed("limits are missing");
    if (Array.isArray(value) || value instanceof Uint8Array) throw malformed("limits are a map");
    const entries = Object.entries(value as ValueMap);
    return Object.fromEntries(entries.map(([name, limit]) => [name, countOf(limit)]));
  },
  write: (value) => value,
};

function or<T>(field: Field<T>, missing: T): Field<T> {
  return { ...field, missing };
}

function list<T>(field: Field<T>): Field<readonly T[]> {
  return {
    read: (value) => {
      if (!Array.isArray(value)) throw malformed("not an array");
      return value.map((one: Value) => field.read(one));
    },
    write: (value) => value.map((one) => field.write(one)),
  };
}

function struct<S extends Shape>(shape: S): Field<Of<S>> {
  return {
    read: (value) => {
      if (!Array.isArray(value)) throw malformed("not an array");
      return readShape(shape, value);
    },
    write: (value) => writeShape(shape, value),
  };
}

function readShape<S extends Shape>(shape: S, values: readonly Value[]): Of<S> {
  const fields = Object.entries(shape).map(([name, field], place) => {
    const absent = place >= values.length && field.missing !== undefined;
    return [name, absent ? field.missing : field.read(values[place])];
  });
  return Object.fromEntries(fields) as Of<S>;
}

function writeShape<S extends Shape>(shape: S, values: Of<S>): Value[] {
  return Object.entries(shape).map(([name, field]) => field.write(values[name]));
}

const outcome = plain((value) => {
  const found = Object.values(Outcome).find((one) => one === value);
  if (found === undefined) throw malformed("an unknown outcome");
  return found;
});

const VERDICT = {
  outcome,
  count,
  first_position: or(count, 0),
  received_ms: or(ms, 0),
  code: or(words, ""),
  detail: or(words, ""),
};
const DECISION = { index: count, stamp, flags: count };
export const SEGMENT = struct({
  first: count,
  count,
  chain: hash,
  device: uuid,
  epoch: count,
  origin: count,
  received_ms: ms,
  records: bytes,
});
export const VERDICTS = list(struct(VERDICT));
export const DECISIONS = list(struct(DECISION));
const SECTION = { section: words, count, digest: hash };
export const SECTIONS = list(struct(SECTION));

const FRAMES = {
  HELLO: {
    version_min: count,
    version_max: count,
    token: words,
    account: uuid,
    device: uuid,
    epoch: count,
    head_seq: count,
    log_id: bytes,
    generation: count,
    cursor: count,
    chain: bytes,
    sent_ms: ms,
    software: words,
    knows: or(list(words), []),
  },
  WELCOME: {
    version: count,
    session: bytes,
    log_id: uuid,
    generation: count,
    position: count,
    resume_after: count,
    device_seq: count,
    device_hash: hash,
    next_epoch: count,
    probe_sent_ms: ms,
    limits,
    scope: or(count, 0),
  },
  PROBE_REPLY: { probe_sent_ms: ms, received_ms: ms, sent_ms: ms },
  PROBE: { probe_sent_ms: ms, offset_ms: ms },
  PUSH: { number: count, first_seq: count, events: list(bytes) },
  RESULT: {
    number: count,
    verdicts: VERDICTS,
    decisions: or(DECISIONS, []),
  },
  EVENTS: { through: count, chain: hash, segments: list(SEGMENT) },
  CURSOR: { position: count },
  GOODBYE: {
    code: words,
    message: words,
    close_code: count,
    retry_after_ms: or(count, 0),
    next_epoch: or(count, 0),
  },
  DIGEST_REQUEST: { position: count },
  DIGEST: { position: count, sections: SECTIONS, pending: or(count, 0) },
  SYNC_REQUEST: { run: words },
};

const NUMBERS = {
  HELLO: 1,
  WELCOME: 2,
  PROBE_REPLY: 3,
  PROBE: 4,
  PUSH: 10,
  RESULT: 11,
  EVENTS: 20,
  CURSOR: 21,
  GOODBYE: 31,
  DIGEST_REQUEST: 40,
  DIGEST: 41,
  SYNC_REQUEST: 42,
} as const satisfies Record<FrameName, number>;

export type FrameName = keyof typeof FRAMES;
/** What a frame of that name says. */
export type Said<N extends FrameName> = Of<(typeof FRAMES)[N]>;
export type Frame = { [N in FrameName]: { readonly name: N; readonly says: Said<N> } }[FrameName];

export type Verdict = Of<typeof VERDICT>;
export type Decision = Of<typeof DECISION>;
export type Segment = ReturnType<(typeof SEGMENT)["read"]>;
export type SectionDigest = Of<typeof SECTION>;
export type Goodbye = Said<"GOODBYE">;

export const FRAME_NAMES = Object.keys(FRAMES) as readonly FrameName[];

const NAMES = new Map<Value, FrameName>(FRAME_NAMES.map((name) => [NUMBERS[name], name]));

export function encodeFrame<N extends FrameName>(name: N, says: Said<N>): Bytes {
  return pack([NUMBERS[name], ...writeShape(FRAMES[name] as Shape, says as Of<Shape>)]);
}

/** Throws `malformed` for anything that is no frame. Unknown elements at the end are ignored. */
export function decodeFrame(data: Uint8Array): Frame {
  const value = unpack(data);
  if (!Array.isArray(value)) throw malformed("not a frame");
  const name = NAMES.get((value as readonly Value[])[0] ?? null);
  if (name === undefined) throw malformed("an unknown frame");
  return { name, says: readShape(FRAMES[name] as Shape, value.slice(1)) } as unknown as Frame;
}
