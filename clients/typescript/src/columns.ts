/**
 * Values by columns: many MessagePack values of few shapes in few bytes (wire-protocol.md §12.3).
 * Here they are only put together: the server takes them apart.
 */

import { joined } from "./bytes.ts";
import { malformed } from "./errors.ts";
import { RAW_BYTES_MAX } from "./limits.ts";
import { arrayHeader, mapHeader, pack, split, unpack, type Value } from "./msgpack.ts";

/** Encoded values, one for each row. */
export type Column = readonly Uint8Array[];
/** The keys of a map, the length of an array, or null for a value that was left whole. */
type Shape = readonly string[] | number | null;

const SAME = 0;
const PLAIN = 1;
const PLANES = 2;
const NUMBERS = 3;
const CHOICE = 4;
const AGAIN = 5;
const RECORDS = 6;
const LISTS = 7;

const DEPTH_MAX = 8;
/** What a value in memory counts for besides its bytes. */
const VALUE_BYTES = 16;
const SHAPES_MAX = 256;
const PLACES_MAX = 256;
const TUPLE_MAX = 15;
const CHOICES_MAX = 65_536;
const NUMBER_BYTES_MAX = 6;

/** What a column of whole numbers says. Throws `malformed`. */
export function numbers(column: Column): number[] {
  return values(column).map((value) => {
    if (typeof value !== "number") throw malformed("not a column of numbers");
    return value;
  });
}

/** What the values of a column are; equal neighbours are read once. Throws `malformed`. */
export function values(column: Column): Value[] {
  let last: Uint8Array | null = null;
  let value: Value = null;
  return column.map((data) => {
    if (data !== last) value = unpack(data);
    last = data;
    return value;
  });
}

/** Puts columns together, in the order in which the server took them apart. */
export class Unpacker {
  readonly #seen: Column[] = [];
  #room = RAW_BYTES_MAX;

  /** A column that the server could take for known. */
  know(column: Column): void {
    this.#seen.push(column);
  }

  /** Counts `count` values of `size` bytes together. Throws `malformed` above the bound. */
  take(count: number, size = 0): void {
    this.#room -= count * VALUE_BYTES + size;
    if (this.#room < 0) throw malformed("more than a chunk may hold");
  }

  /** The `count` values of a node. Throws `malformed` when it is no node of so many. */
  unpack(node: Value | undefined, count: number, depth = 0): Column {
    this.take(count);
    if (depth > DEPTH_MAX) throw malformed("columns within columns without end");
    if (!isList(node)) throw malformed("not a column");
    const [way, one, two, three] = node;
    if (way === SAME && one instanceof Uint8Array) {
      this.take(0, count * one.length);
      return new Array<Uint8Array>(count).fill(one);
    }
    if (way === AGAIN && typeof one === "number" && this.#seen[one]?.length === count) {
      this.take(0, sizeOf(this.#seen[one]));
      return this.#seen[one];
    }
    if (way === RECORDS && isList(one) && isList(three)) {
      return this.#records(shapesOf(one), two, three, count, depth + 1);
    }
    if (way === LISTS) return this.#lists(one, two, count, depth + 1);
    const column = leaves(node, count);
    this.know(column);
    this.take(0, sizeOf(column));
    return column;
  }

  #records(
    shapes: readonly Shape[],
    which: Value | undefined,
    nodes: readonly Value[],
    count: number,
    depth: number,
  ): Column {
    const chosen = numbers(this.unpack(which, count, depth));
    const often = counted(chosen, shapes.length);
    const rows = new Map<string | number | null, number>();
    const plans = shapes.map((shape, at) => {
      const [header, places] = piecesOf(shape);
      const size = places.reduce((sum, { before }) => sum + before.length, header.length);
      this.take(0, often[at]! * size);
      for (const { place } of places) rows.set(place, (rows.get(place) ?? 0) + often[at]!);
      return { header, places };
    });
    if (rows.size !== nodes.length) throw malformed("other columns than the shapes have");
    const columns = new Map(
      [...rows].map(([place, times], at) => {
        return [place, this.unpack(nodes[at], times, depth).values()] as const;
      }),
    );
    return chosen.map((shape) => {
      const { header, places } = plans[shape]!;
      const parts = [header];
      for (const { place, before } of places) {
        if (before.length > 0) parts.push(before);
        parts.push(columns.get(place)!.next().value!);
      }
      return joined(parts);
    });
  }

  #lists(
    counts: Value | undefined,
    elements: Value | undefined,
    count: number,
    depth: number,
  ): Column {
    const lengths = numbers(this.unpack(counts, count, depth));
    if (lengths.some((one) => one < 0)) throw malformed("a list of less than nothing");
    const all = lengths.reduce((sum, one) => sum + one, 0);
    const column = this.unpack(elements, all, depth);
    let at = 0;
    return lengths.map((one) => joined([arrayHeader(one), ...column.slice(at, (at += one))]));
  }
}

/** How often each number below `end` is among `chosen`. Throws `malformed` for any other. */
export function counted(chosen: readonly number[], end: number): number[] {
  const often = new Array<number>(end).fill(0);
  for (const one of chosen) {
    if (!(one >= 0 && one < end)) throw malformed("a shape that is not told");
    often[one]! += 1;
  }
  return often;
}

function leaves(node: readonly Value[], count: number): Column {
  const [way, one, two, three] = node;
  if (way === PLAIN && one instanceof Uint8Array) return split(one, count);
  if (way === PLANES && isWidth(one, Infinity) && fits(two, one * count)) {
    return cells(woven(two, one, count, one), one, count);
  }
  if (way === NUMBERS && typeof one === "number") {
    if (isWidth(two, NUMBER_BYTES_MAX) && fits(three, two * count)) {
      return wide(woven(three, two, count, 8), count).map((above) => pack(safe(one + above)));
    }
  }
  if (way === CHOICE && isWidth(one, CHOICES_MAX) && two instanceof Uint8Array) {
    const width = one <= 256 ? 1 : 2;
    if (fits(three, width * count)) {
      const choices = split(two, one);
      return wide(woven(three, width, count, 8), count).map((number) => {
        const chosen = choices[number];
        if (chosen === undefined) throw malformed("a value that is not among those told");
        return chosen;
      });
    }
  }
  throw malformed("not a column of that many values");
}

/** `planes` as the last `width` bytes of each of `count` cells of `step` bytes. */
function woven(planes: Uint8Array, width: number, count: number, step: number): Uint8Array {
  const into = new Uint8Array(step * count);
  for (let plane = 0; plane < width; plane++) {
    let to = step - width + plane;
    for (let from = plane * count; from < (plane + 1) * count; from++, to += step) {
      into[to] = planes[from]!;
    }
  }
  return into;
}

function cells(data: Uint8Array, width: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => data.subarray(at * width, (at + 1) * width));
}

/** Whole numbers of eight bytes, of which at most six are not zero. */
function wide(data: Uint8Array, count: number): number[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return Array.from({ length: count }, (_, at) => {
    return view.getUint16(8 * at + 2) * 0x1_0000_0000 + view.getUint32(8 * at + 4);
  });
}

function safe(value: number): number {
  if (!Number.isSafeInteger(value)) throw malformed("a number that is too large");
  return value;
}

function sizeOf(column: Column): number {
  return column.reduce((size, one) => size + one.length, 0);
}

function isList(value: Value | undefined): value is readonly Value[] {
  return Array.isArray(value);
}

function isWidth(value: Value | undefined, most: number): value is number {
  return typeof value === "number" && value > 0 && value <= most;
}

function fits(value: Value | undefined, size: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === size;
}

function shapesOf(told: readonly Value[]): Shape[] {
  if (told.length > SHAPES_MAX) throw malformed("too many shapes");
  return told.map((shape) => {
    if (shape === null) return null;
    if (typeof shape === "number" && shape >= 0 && shape <= TUPLE_MAX) return shape;
    const keys = isList(shape) && shape.length <= PLACES_MAX ? shape : [null];
    return keys.map((key) => {
      if (typeof key !== "string") throw malformed("not a shape");
      return key;
    });
  });
}

interface Piece {
  readonly place: string | number | null;
  readonly before: Uint8Array;
}

/** How a value of `shape` begins, and its places, each with what stands before it. */
function piecesOf(shape: Shape): [header: Uint8Array, places: Piece[]] {
  const nothing = new Uint8Array(0);
  if (shape === null) return [nothing, [{ place: null, before: nothing }]];
  if (typeof shape === "number") {
    const places = Array.from({ length: shape }, (_, place) => ({ place, before: nothing }));
    return [arrayHeader(shape), places];
  }
  return [mapHeader(shape.length), shape.map((key) => ({ place: key, before: pack(key) }))];
}
