/**
 * Which ids only one of two sides holds, in bytes of the differences: the asking side of the public
 * Negentropy Protocol V1 (wire-protocol.md §13.1). Pure; whoever uses it carries the messages.
 */

import { compare, concat, hex, same, type Bytes } from "./bytes.ts";
import { malformed, ReplicaError } from "./errors.ts";
import { HASH_BYTES, sha256 } from "./event.ts";
import {
  RECONCILE_LIST_IDS,
  RECONCILE_OPEN_RANGES_MAX,
  RECONCILE_QUESTION_BYTES_MAX,
  RECONCILE_ROUNDS_MAX,
} from "./limits.ts";

/** A number and a 32-byte id; sets are sorted by the number and then by the id. */
export interface Item {
  readonly time: bigint;
  readonly id: Uint8Array;
}

/** What one answer told, and the next question; null when nothing is left to ask. */
export interface Step {
  readonly message: Bytes | null;
  /** Ids that only this side has. */
  readonly have: readonly Uint8Array[];
  /** Ids that only the other side has. */
  readonly need: readonly Uint8Array[];
}

/** How a range that differs is said: below `list` items by their ids, else in at most `parts`. */
export interface Split {
  readonly parts: number;
  readonly list: number;
  readonly partItems: number;
}

const VERSION = 0x61;
const INFINITE_TIME = 2n ** 64n - 1n;
const NUMBER_DIGITS_MAX = 10;
const FINGERPRINT_BYTES = 16;
/** A skip up to where the rest begins, and the fingerprint of the rest, at their longest. */
const REST_BYTES = 64;
const Mode = { skip: 0, fingerprint: 1, ids: 2 } as const;

const FIRST_SPLIT: Split = { parts: 64, list: 2, partItems: 4 };
const NEXT_SPLIT: Split = { parts: 32, list: 2, partItems: 4 };

/** Below every item of `time` whose id is the prefix with zeros, or greater. */
interface Bound {
  readonly time: bigint;
  readonly prefix: Uint8Array;
}

const NO_PREFIX = new Uint8Array(0);
const START: Bound = { time: 0n, prefix: NO_PREFIX };
const END: Bound = { time: INFINITE_TIME, prefix: NO_PREFIX };

interface Span {
  readonly start: Bound;
  readonly end: Bound;
}

/** A range of the own set: indices of its items beside its bounds. */
interface Part extends Span {
  readonly first: number;
  readonly last: number;
}

interface Piece extends Span {
  readonly body: Uint8Array;
}

/** Asks. One object for one exchange, over a set that does not change meanwhile. */
export class Initiator {
  readonly #items: readonly Item[];
  /** Sums of the first ids as little-endian numbers, not reduced. */
  readonly #sums: readonly bigint[];
  readonly #nextSplit: Split;
  #split: Split;
  #open: Span[] = [{ start: START, end: END }];
  #asked: Span[] = [];
  #rounds = 0;

  constructor(items: Iterable<Item>, first: Split = FIRST_SPLIT, next: Split = NEXT_SPLIT) {
    this.#items = [...items].sort(order);
    const sums = [0n];
    for (const { id } of this.#items) sums.push(sums.at(-1)! + littleEndian(id));
    this.#sums = sums;
    this.#split = first;
    this.#nextSplit = next;
  }

  /** The first question; every answer goes into `reconcile`. */
  initiate(): Bytes {
    return this.#ask();
  }

  /**
   * Throws `upgrade_required` for another version of the protocol, `malformed` for bytes that are
   * no message, `too_large` when it does not end, which with a truthful other side it does.
   */
  reconcile(answer: Uint8Array): Step {
    if (answer[0] !== VERSION) {
      throw new ReplicaError("upgrade_required", "the server reconciles in another version");
    }
    const have: Uint8Array[] = [];
    const need: Uint8Array[] = [];
    const differing: Span[] = [];
    for (const { start, end, mode, payload } of readRanges(answer)) {
      const part = this.#part({ start, end });
      if (mode === Mode.ids) {
        const ours = this.#items.slice(part.first, part.last).map(({ id }) => id);
        const theirs = idsOf(payload);
        have.push(...without(ours, theirs));
        need.push(...without(theirs, ours));
      } else if (mode === Mode.fingerprint && !same(this.#fingerprint(part), payload)) {
        differing.push(...this.#askedIn(start, end));
      }
    }
    this.#open = [...differing, ...this.#open];
    if (this.#open.length > RECONCILE_OPEN_RANGES_MAX) {
      // What is far from its turn is taken together again: it costs rounds, and no memory.
      const [far] = this.#open.splice(RECONCILE_OPEN_RANGES_MAX - 1);
      this.#open.push({ start: far!.start, end: END });
    }
    return { message: this.#open.length > 0 ? this.#ask() : null, have, need };
  }

  #ask(): Bytes {
    this.#rounds += 1;
    if (this.#rounds > RECONCILE_ROUNDS_MAX) {
      throw new ReplicaError("too_large", "reconciling does not come to its end");
    }
    const split = this.#split;
    this.#split = this.#nextSplit;
    const writer = new Writer(RECONCILE_QUESTION_BYTES_MAX);
    this.#asked = [];
    for (let at = 0; at < this.#open.length; at++) {
      const { start, end } = this.#open[at]!;
      for (const piece of this.#said(this.#part({ start, end }), split)) {
        if (writer.add(piece)) continue;
        this.#asked.push({ start, end: piece.start });
        this.#open = [{ start: piece.start, end }, ...this.#open.slice(at + 1)];
        return writer.message();
      }
      this.#asked.push({ start, end });
    }
    this.#open = [];
    return writer.message();
  }

  /**
   * What was asked of a range. An answer that had no room names all that follows by one
   * fingerprint; of that, some was settled before and some is open anyway.
   */
  *#askedIn(start: Bound, end: Bound): Generator<Span> {
    for (const asked of this.#asked) {
      if (below(asked.end, start) || equal(asked.end, start)) continue;
      if (!below(asked.start, end)) return;
      yield {
        start: below(asked.start, start) ? start : asked.start,
        end: below(asked.end, end) ? asked.end : end,
      };
    }
  }

  #part({ start, end }: Span): Part {
    return { start, end, first: this.#find(start), last: this.#find(end) };
  }

  /** How many items lie below `bound`. */
  #find(bound: Bound): number {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { time, id } = this.#items[middle]!;
      if (time < bound.time || (time === bound.time && compare(id, bound.prefix) < 0)) {
        low = middle + 1;
      } else high = middle;
    }
    return low;
  }

  #fingerprint({ first, last }: Part): Uint8Array {
    let sum = BigInt.asUintN(256, this.#sums[last]! - this.#sums[first]!);
    const bytes = new Uint8Array(HASH_BYTES);
    for (let at = 0; at < HASH_BYTES; at++, sum >>= 8n) bytes[at] = Number(sum & 0xffn);
    return sha256(concat(bytes, number(BigInt(last - first)))).subarray(0, FINGERPRINT_BYTES);
  }

  /** A range as this side says it. */
  *#said(part: Part, split: Split): Generator<Piece> {
    const count = part.last - part.first;
    if (count < split.list) return yield* this.#listed(part);
    const parts = Math.max(1, Math.min(split.parts, Math.floor(count / split.partItems)));
    const size = Math.floor(count / parts);
    const sizes = Array.from({ length: parts }, (_, at) => (at < count % parts ? size + 1 : size));
    for (const one of this.#cut(part, sizes)) {
      const body = concat(Uint8Array.of(Mode.fingerprint), this.#fingerprint(one));
      yield { start: one.start, end: one.end, body };
    }
  }

  /** All ids of a range, some at a time, so that each part fits into any message. */
  *#listed(part: Part): Generator<Piece> {
    const count = Math.max(part.last - part.first, 1);
    const sizes = Array.from(
      { length: Math.ceil(count / RECONCILE_LIST_IDS) },
      () => RECONCILE_LIST_IDS,
    );
    for (const { start, end, first, last } of this.#cut(part, sizes)) {
      const ids = this.#items.slice(first, last).map(({ id }) => id);
      const body = concat(Uint8Array.of(Mode.ids), number(BigInt(ids.length)), ...ids);
      yield { start, end, body };
    }
  }

  *#cut(part: Part, sizes: readonly number[]): Generator<Part> {
    let { first, start } = part;
    for (const size of sizes) {
      const last = Math.min(first + size, part.last);
      const inside = last < part.last;
      const end = inside ? between(this.#items[last - 1]!, this.#items[last]!) : part.end;
      yield { start, end, first, last };
      first = last;
      start = end;
    }
  }
}

/** A message being written, within its limit; what lies between its pieces is skipped. */
class Writer {
  readonly #limit: number;
  readonly #parts: Uint8Array[] = [Uint8Array.of(VERSION)];
  #size = 1;
  #end = START;
  #time = 0n;

  constructor(limitBytes: number) {
    this.#limit = limitBytes - REST_BYTES;
  }

  /** False, and nothing was added, when there is no room. */
  add({ start, end, body }: Piece): boolean {
    const time = this.#time;
    const parts: Uint8Array[] = [];
    if (below(this.#end, start)) parts.push(...this.#bound(start), Uint8Array.of(Mode.skip));
    parts.push(...this.#bound(end), body);
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    if (this.#size + size > this.#limit) {
      this.#time = time;
      return false;
    }
    this.#parts.push(...parts);
    this.#size += size;
    this.#end = end;
    return true;
  }

  message(): Bytes {
    return concat(...this.#parts);
  }

  #bound({ time, prefix }: Bound): readonly Uint8Array[] {
    if (time === INFINITE_TIME) return [Uint8Array.of(0, 0)];
    const offset = time - this.#time;
    this.#time = time;
    return [number(offset + 1n), number(BigInt(prefix.length)), prefix];
  }
}

interface Range extends Span {
  readonly mode: number;
  readonly payload: Uint8Array;
}

/** The ranges of a message. Throws `malformed` where its bytes stop being one. */
function* readRanges(message: Uint8Array): Generator<Range> {
  let at = 1; // after the version
  let time = 0n;
  const take = (size: number): Uint8Array => {
    const part = message.subarray(at, at + size);
    if (part.length < size) throw malformed("a reconciliation message ends too soon");
    at += size;
    return part;
  };
  const read = (): bigint => {
    let value = 0n;
    for (let digits = 1; digits <= NUMBER_DIGITS_MAX; digits++) {
      const digit = take(1)[0]!;
      value = (value << 7n) | BigInt(digit & 0x7f);
      if (digit < 0x80 && value <= INFINITE_TIME) return value;
      if (digit < 0x80 || value === 0n) break;
    }
    throw malformed("a number of a reconciliation message is none");
  };
  const bound = (): Bound => {
    const offset = read();
    time = offset === 0n ? INFINITE_TIME : time + offset - 1n;
    const size = read();
    if (time > INFINITE_TIME || size > HASH_BYTES) throw malformed("a bound of a reconciliation");
    const prefix = trimmed(take(Number(size)));
    return time === INFINITE_TIME ? END : { time, prefix };
  };
  let start = START;
  while (at < message.length) {
    const end = bound();
    if (below(end, start)) throw malformed("ranges of a reconciliation ascend");
    const mode = Number(read());
    let payload: Uint8Array;
    if (mode === Mode.skip) payload = NO_PREFIX;
    else if (mode === Mode.fingerprint) payload = take(FINGERPRINT_BYTES);
    else if (mode === Mode.ids) payload = take(HASH_BYTES * Number(read()));
    else throw malformed("an unknown mode of a range");
    yield { start, end, mode, payload };
    start = end;
  }
}

function idsOf(payload: Uint8Array): Uint8Array[] {
  return Array.from({ length: payload.length / HASH_BYTES }, (_, at) =>
    payload.slice(HASH_BYTES * at, HASH_BYTES * (at + 1)),
  );
}

function without(ids: readonly Uint8Array[], others: readonly Uint8Array[]): Uint8Array[] {
  const known = new Set(others.map(hex));
  return ids.filter((id) => !known.has(hex(id)));
}

function order(one: Item, other: Item): number {
  if (one.time !== other.time) return one.time < other.time ? -1 : 1;
  return compare(one.id, other.id);
}

function below(one: Bound, other: Bound): boolean {
  if (one.time !== other.time) return one.time < other.time;
  return compare(one.prefix, other.prefix) < 0;
}

function equal(one: Bound, other: Bound): boolean {
  return one.time === other.time && same(one.prefix, other.prefix);
}

/** The shortest bound that parts two items that follow one another. */
function between(before: Item, after: Item): Bound {
  if (before.time !== after.time) return { time: after.time, prefix: NO_PREFIX };
  const shared = before.id.findIndex((byte, at) => byte !== after.id[at]);
  return { time: after.time, prefix: trimmed(after.id.subarray(0, shared + 1)) };
}

/** Without zeros at its end, so that equal bounds are equal bytes. */
function trimmed(prefix: Uint8Array): Uint8Array {
  let size = prefix.length;
  while (size > 0 && prefix[size - 1] === 0) size -= 1;
  return prefix.subarray(0, size);
}

/** Base 128, the most significant digit first, the high bit on all but the last. */
function number(value: bigint): Uint8Array {
  const digits = [Number(value & 0x7fn)];
  for (let rest = value >> 7n; rest > 0n; rest >>= 7n) digits.push(0x80 | Number(rest & 0x7fn));
  return Uint8Array.from(digits.reverse());
}

function littleEndian(id: Uint8Array): bigint {
  return BigInt(`0x${hex(id.slice().reverse())}`);
}
