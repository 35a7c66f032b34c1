/**
 * MessagePack in the one form the protocol has: the shortest encoding of everything, map keys
 * sorted by their UTF-8 bytes, no floats, no extension types (wire-protocol.md §2.1, §2.3).
 *
 * Numbers are integers within ±(2^53 − 1); others are refused on the way out and on the way in, so
 * that no amount of money is ever rounded by a reader.
 */

import { compare, concat, textOf, utf8, type Bytes } from "./bytes.ts";
import { malformed, ReplicaError } from "./errors.ts";
import { NESTING_DEPTH_MAX } from "./limits.ts";

export type Value = null | boolean | number | string | Uint8Array | readonly Value[] | ValueMap;
export interface ValueMap {
  readonly [key: string]: Value;
}

const TWO_32 = 0x1_0000_0000;
const ARRAY = [[0, 0xdc, 0xdd], 0x90, 16] as const;
const MAP = [[0, 0xde, 0xdf], 0x80, 16] as const;

/** Canonical bytes of `value`. Throws `misuse` for what has none: floats, `undefined`, cycles. */
export function pack(value: Value): Bytes {
  const out = new Writer();
  write(out, value, 0);
  return out.taken();
}

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #size = 0;

  taken(): Bytes {
    return this.#bytes.slice(0, this.#size);
  }

  byte(value: number): void {
    const at = this.#room(1); // first: it may change what is written to
    this.#view.setUint8(at, value);
  }

  /** A marker byte followed by `value` in `width` bytes. */
  marked(marker: number, width: 1 | 2 | 4 | 8, value: number): void {
    this.byte(marker);
    const at = this.#room(width);
    if (width === 1) this.#view.setUint8(at, value);
    else if (width === 2) this.#view.setUint16(at, value);
    else if (width === 4) this.#view.setUint32(at, value);
    else {
      this.#view.setInt32(at, Math.floor(value / TWO_32));
      this.#view.setUint32(at + 4, value >>> 0);
    }
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Makes room for `size` more bytes and returns where they go. */
  #room(size: number): number {
    const at = this.#size;
    this.#size += size;
    if (this.#size > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#size));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

function write(out: Writer, value: Value, depth: number): void {
  if (depth > NESTING_DEPTH_MAX) throw new ReplicaError("misuse", "a value is nested too deep");
  if (value === null) out.byte(0xc0);
  else if (typeof value === "boolean") out.byte(value ? 0xc3 : 0xc2);
  else if (typeof value === "number") writeInteger(out, value);
  else if (typeof value === "string") writeText(out, value);
  else if (value instanceof Uint8Array) {
    header(out, value.length, [0xc4, 0xc5, 0xc6]);
    out.bytes(value);
  } else if (isList(value)) {
    header(out, value.length, ...ARRAY);
    for (const one of value) write(out, one, depth + 1);
  } else if (typeof value === "object") writeMap(out, value, depth);
  else throw new ReplicaError("misuse", `${typeof value} has no place in an event`);
}

function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

function writeInteger(out: Writer, value: number): void {
  if (!Number.isSafeInteger(value)) {
    throw new ReplicaError("misuse", `${value} is no integer within ±(2^53 − 1)`);
  }
  if (value >= 0) {
    if (value < 0x80) out.byte(value);
    else if (value <= 0xff) out.marked(0xcc, 1, value);
    else if (value <= 0xffff) out.marked(0xcd, 2, value);
    else if (value < TWO_32) out.marked(0xce, 4, value);
    else out.marked(0xcf, 8, value);
  } else if (value >= -0x20) out.byte(value & 0xff);
  else if (value >= -0x80) out.marked(0xd0, 1, value);
  else if (value >= -0x8000) out.marked(0xd1, 2, value);
  else if (value >= -0x8000_0000) out.marked(0xd2, 4, value);
  else out.marked(0xd3, 8, value);
}

function writeText(out: Writer, text: string): void {
  let data: Uint8Array;
  try {
    data = utf8(text);
  } catch (cause) {
    throw new ReplicaError("misuse", "a text ends inside a character", { cause });
  }
  header(out, data.length, [0xd9, 0xda, 0xdb], 0xa0, 32);
  out.bytes(data);
}

function writeMap(out: Writer, map: ValueMap, depth: number): void {
  const entries = Object.entries(map).map(([key, value]) => [utf8(key), key, value] as const);
  entries.sort(([one], [other]) => compare(one, other));
  header(out, entries.length, ...MAP);
  for (const [, key, value] of entries) {
    writeText(out, key);
    write(out, value, depth + 1);
  }
}

/** The smallest header for `size`: within the marker below `fixed`, or by width. */
function header(
  out: Writer,
  size: number,
  markers: readonly [number, number, number],
  base = 0,
  fixed = 0,
): void {
  if (size < fixed) out.byte(base | size);
  else if (size <= 0xff && markers[0]) out.marked(markers[0], 1, size);
  else if (size <= 0xffff) out.marked(markers[1], 2, size);
  else out.marked(markers[2], 4, size);
}

/** The value of exactly `data`. Throws `malformed` for anything else, whatever it is. */
export function unpack(data: Uint8Array): Value {
  const reader = new Reader(data);
  const value = reader.value(0);
  if (!reader.done) throw malformed("bytes after the value");
  return value;
}

/** The values that stand one after the other in `data`. Throws `malformed`. */
export function* unpackAll(data: Uint8Array): Generator<Value> {
  const reader = new Reader(data);
  while (!reader.done) yield reader.value(0);
}

/**
 * The `count` values that stand one after the other in `data`, as the bytes they are: views of it.
 * Throws `malformed`.
 */
export function split(data: Uint8Array, count: number): Uint8Array[] {
  if (count > data.length) throw malformed("it ends too early");
  const reader = new Reader(data);
  const found = Array.from({ length: count }, () => reader.raw());
  if (!reader.done) throw malformed("bytes after the values");
  return found;
}

/** Whether encoded bytes are a map. */
export function isMap(data: Uint8Array): boolean {
  const marker = data[0] ?? 0;
  return (marker >= 0x80 && marker < 0x90) || marker === 0xde || marker === 0xdf;
}

/** How an array of `size` elements begins. */
export function arrayHeader(size: number): Bytes {
  const out = new Writer();
  header(out, size, ...ARRAY);
  return out.taken();
}

/** How a map of `size` entries begins. */
export function mapHeader(size: number): Bytes {
  const out = new Writer();
  header(out, size, ...MAP);
  return out.taken();
}

class Reader {
  readonly #data: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  get done(): boolean {
    return this.#at === this.#data.length;
  }

  value(depth: number): Value {
    if (depth > NESTING_DEPTH_MAX) throw malformed("nested too deep");
    const marker = this.#unsigned(1);
    if (marker < 0x80) return marker;
    if (marker < 0x90) return this.#map(marker & 0x0f, depth);
    if (marker < 0xa0) return this.#list(marker & 0x0f, depth);
    if (marker < 0xc0) return this.#text(marker & 0x1f);
    if (marker >= 0xe0) return marker - 0x100;
    switch (marker) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#bytes(this.#unsigned(widthOf(marker - 0xc4)));
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
        return this.#unsigned(widthOf(marker - 0xcc));
      case 0xd0:
      case 0xd1:
      case 0xd2:
      case 0xd3:
        return this.#signed(widthOf(marker - 0xd0));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#unsigned(widthOf(marker - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#list(this.#unsigned(widthOf(marker - 0xdb)), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#unsigned(widthOf(marker - 0xdd)), depth);
      default:
        throw malformed(`0x${marker.toString(16)} begins no value of the protocol`);
    }
  }

  /** The bytes of the next value, whatever it is. */
  raw(): Uint8Array {
    const from = this.#at;
    // What is open is counted, not called: nesting costs nothing.
    for (let open = 1; open > 0; open--) open += this.#pass();
    return this.#data.subarray(from, this.#at);
  }

  /** Passes over a value without what it contains; gives how many values that is. */
  #pass(): number {
    const marker = this.#unsigned(1);
    if (marker < 0x80 || marker >= 0xe0) return 0;
    if (marker < 0x90) return 2 * (marker & 0x0f);
    if (marker < 0xa0) return marker & 0x0f;
    if (marker < 0xc0) this.#next(marker & 0x1f);
    else if (marker >= 0xde) return 2 * this.#unsigned(widthOf(marker - 0xdd));
    else if (marker >= 0xdc) return this.#unsigned(widthOf(marker - 0xdb));
    else if (marker >= 0xd9) this.#next(this.#unsigned(widthOf(marker - 0xd9)));
    else if (marker >= 0xd4) this.#next(1 + widthOf(marker - 0xd4));
    else if (marker >= 0xcc) this.#next(widthOf((marker - 0xcc) & 3));
    else if (marker >= 0xca) this.#next(widthOf(marker - 0xc8));
    else if (marker >= 0xc7) this.#next(1 + this.#unsigned(widthOf(marker - 0xc7)));
    else if (marker >= 0xc4) this.#next(this.#unsigned(widthOf(marker - 0xc4)));
    else if (marker === 0xc1) throw malformed("0xc1 begins no value");
    return 0;
  }

  /** Where the next `size` bytes begin; they are passed over. */
  #next(size: number): number {
    const at = this.#at;
    if (size > this.#data.length - at) throw malformed("it ends too early");
    this.#at += size;
    return at;
  }

  #unsigned(width: number): number {
    const at = this.#next(width);
    if (width === 1) return this.#view.getUint8(at);
    if (width === 2) return this.#view.getUint16(at);
    if (width === 4) return this.#view.getUint32(at);
    return safe(this.#view.getBigUint64(at));
  }

  #signed(width: number): number {
    const at = this.#next(width);
    if (width === 1) return this.#view.getInt8(at);
    if (width === 2) return this.#view.getInt16(at);
    if (width === 4) return this.#view.getInt32(at);
    return safe(this.#view.getBigInt64(at));
  }

  #bytes(size: number): Uint8Array {
    const at = this.#next(size);
    return this.#data.slice(at, at + size);
  }

  #text(size: number): string {
    const at = this.#next(size);
    try {
      return textOf(this.#data.subarray(at, at + size));
    } catch (cause) {
      throw malformed("a text that is no UTF-8", cause);
    }
  }

  #list(size: number, depth: number): Value[] {
    // Every element has a byte at least: a length beyond that is a lie, found before memory is.
    if (size > this.#data.length - this.#at) throw malformed("it ends too early");
    return Array.from({ length: size }, () => this.value(depth + 1));
  }

  #map(size: number, depth: number): ValueMap {
    if (2 * size > this.#data.length - this.#at) throw malformed("it ends too early");
    const entries = new Map<string, Value>();
    for (let count = 0; count < size; count++) {
      const key = this.value(depth + 1);
      if (typeof key !== "string" || entries.has(key)) throw malformed("a map key that cannot be");
      entries.set(key, this.value(depth + 1));
    }
    return Object.fromEntries(entries);
  }
}

function widthOf(step: number): number {
  return 1 << step;
}

function safe(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw malformed(`${value} is beyond ±(2^53 − 1)`);
  return number;
}

/** Bytes put together from packed values, as a segment's records are. */
export function packAll(values: Iterable<Value>): Bytes {
  return concat(...Array.from(values, pack));
}
