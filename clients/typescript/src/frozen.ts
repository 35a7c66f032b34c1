/**
 * Documents as a chunk says them, and what is made from that (wire-protocol.md §12.2). Ids of events
 * that the chunk leaves out are computed: the id of an event is the hash of it, and most of it is in
 * the fact.
 */

import { concat } from "./bytes.ts";
import { STAMP_BYTES } from "./clock.ts";
import { counted, numbers, Unpacker, values, type Column } from "./columns.ts";
import type { Stated } from "./digest.ts";
import { malformed } from "./errors.ts";
import { bytesOf, countOf, encodeEvent, HASH_BYTES, NO_HASH, sha256, wordOf } from "./event.ts";
import { isMap, pack, unpack, type Value } from "./msgpack.ts";

const TOLD = 0;
const COMPUTED = 2;
const STAMP_MS_BYTES = 6;
const STAMP_MS_MAX = 2 ** 48 - 1;
const TWO_32 = 0x1_0000_0000;

interface Fact {
  readonly stamp: Uint8Array;
  /** Empty until it is computed. */
  id: Uint8Array;
  readonly origin: number;
  readonly body: Uint8Array;
  readonly deps: readonly Uint8Array[];
}

/** An id that is still to be computed, with what the chunk tells for that. */
interface Owed {
  readonly chain: number;
  readonly seq: number;
  readonly kind: string;
  readonly fact: Fact;
  readonly version: number;
  readonly shiftMs: number;
  /** Deps of the event, where they are not those of the fact. */
  readonly cause: readonly Uint8Array[] | null;
}

interface Chain {
  readonly device: Uint8Array;
  readonly epoch: number;
  /** Ids of its events that are known so far, by seq. */
  readonly ids: Map<number, Uint8Array>;
}

type Shape = readonly { readonly kind: string; readonly count: number }[];

/** The documents of `frozen`, of one `type`. Throws `malformed`. */
export function thaw(type: string, frozen: Value | undefined): Stated[] {
  const [count, account, chains, ids, shapes, which, whole, tables] = listOf(frozen);
  return new Thaw(listOf(chains).map(chainOf)).documents(type, {
    count: countOf(count),
    account: bytesOf(account),
    ids,
    shapes: listOf(shapes).map(shapeOf),
    which,
    whole: listOf(whole).map((state) => bytesOf(state)),
    tables: listOf(tables).map(listOf),
  });
}

interface Frozen {
  readonly count: number;
  readonly account: Uint8Array;
  readonly ids: Value | undefined;
  readonly shapes: readonly Shape[];
  readonly which: Value | undefined;
  readonly whole: readonly Uint8Array[];
  readonly tables: readonly (readonly Value[])[];
}

class Thaw {
  readonly #chains: readonly Chain[];
  readonly #unpacker = new Unpacker();
  readonly #owed: Owed[] = [];

  constructor(chains: readonly Chain[]) {
    this.#chains = chains;
  }

  documents(type: string, { count, account, ids, shapes, which, whole, tables }: Frozen): Stated[] {
    const names = this.#unpacker.unpack(ids, count);
    const chosen = numbers(this.#unpacker.unpack(which, count));
    const often = counted(chosen, shapes.length);
    const left = shapes.reduce((sum, shape, at) => sum + (shape.length ? 0 : often[at]!), 0);
    if (left !== whole.length) throw malformed("other documents left whole than are told");
    const owners = new Map<string, Uint8Array[]>();
    for (const [at, shape] of shapes.entries()) {
      for (const { kind, count } of shape) {
        this.#unpacker.take(often[at]! * count);
        owners.set(kind, []);
      }
    }
    for (const [row, name] of names.entries()) {
      for (const { kind, count } of shapes[chosen[row]!]!) {
        const column = owners.get(kind)!;
        for (let more = 0; more < count; more++) column.push(name);
      }
    }
    if (owners.size !== tables.length) throw malformed("other tables than the shapes have kinds");
    const facts = new Map(
      [...owners].map(([kind, column], at) => {
        this.#unpacker.know(column);
        return [kind, this.#table(kind, tables[at]!, column.length).values()] as const;
      }),
    );
    this.#compute(account);
    const states = whole.values();
    return values(names).map((name, row) => {
      const shape = shapes[chosen[row]!]!;
      const state = shape.length ? stateOf(shape, facts) : states.next().value!;
      return { type, id: wordOf(name), state };
    });
  }

  /** The facts of one kind; what is not told of their ids is owed. */
  #table(kind: string, table: readonly Value[], count: number): Fact[] {
    let field = 0;
    const next = (rows: number): Column => this.#unpacker.unpack(table[field++], rows);
    const stamps = values(next(count));
    const origins = numbers(next(count));
    const deps = values(next(count));
    const bodies = next(count);
    const how = numbers(next(count));
    const placed = how.filter((one) => one !== TOLD).length;
    const computed = how.filter((one) => one === COMPUTED).length;
    const told = values(next(count - computed)).values();
    const chains = numbers(next(placed)).values();
    const seqs = numbers(next(placed)).values();
    const versions = numbers(next(computed)).values();
    const shifts = numbers(next(computed)).values();
    const causes = values(next(computed)).values();
    return how.map((one, row) => {
      const owed = one === COMPUTED;
      const fact: Fact = {
        stamp: bytesOf(stamps[row], STAMP_BYTES),
        id: owed ? new Uint8Array(0) : bytesOf(told.next().value, HASH_BYTES),
        origin: origins[row]!,
        body: bodyOf(bodies[row]!),
        deps: hashesOf(deps[row]),
      };
      if (one === TOLD) return fact;
      const [chain, seq] = [chains.next().value!, seqs.next().value!];
      if (owed) {
        const [version, shiftMs] = [versions.next().value!, shifts.next().value!];
        const cause = causes.next().value!;
        const hashes = cause === null ? null : hashesOf(cause);
        this.#owed.push({ chain, seq, kind, fact, version, shiftMs, cause: hashes });
      } else this.#chain(chain).ids.set(seq, fact.id);
      return fact;
    });
  }

  #chain(number: number): Chain {
    const chain = this.#chains[number];
    if (chain === undefined) throw malformed("a chain that is not told");
    return chain;
  }

  /** Puts the ids that are owed into their facts, each after the one before it. */
  #compute(account: Uint8Array): void {
    this.#owed.sort((one, other) => one.chain - other.chain || one.seq - other.seq);
    for (const { chain, seq, kind, fact, version, shiftMs, cause } of this.#owed) {
      const { device, epoch, ids } = this.#chain(chain);
      const prev = seq === 1 ? NO_HASH : ids.get(seq - 1);
      if (prev === undefined) throw malformed("an id that cannot be computed");
      const stamp = shiftMs === 0 ? fact.stamp : shifted(fact.stamp, shiftMs);
      const deps = cause ?? fact.deps;
      const payload = fact.body;
      fact.id = sha256(
        encodeEvent({ account, device, epoch, seq, prev, stamp, kind, version, deps, payload }),
      );
      ids.set(seq, fact.id);
    }
  }
}

function stateOf(shape: Shape, facts: Map<string, Iterator<Fact, undefined>>): Uint8Array {
  const kinds = shape.map(({ kind, count }) => {
    const rows = Array.from({ length: count }, (): Value => {
      const { stamp, id, origin, body, deps } = facts.get(kind)!.next().value!;
      return [concat(stamp, id), origin, body, deps];
    });
    return [kind, rows] as const;
  });
  return pack(Object.fromEntries(kinds));
}

function shifted(stamp: Uint8Array, shiftMs: number): Uint8Array {
  const raw = stamp.slice();
  const view = new DataView(raw.buffer);
  const ms = view.getUint16(0) * TWO_32 + view.getUint32(2) + shiftMs;
  if (!(ms >= 0 && ms <= STAMP_MS_MAX)) throw malformed("a stamp beyond all clocks");
  view.setUint16(0, Math.floor(ms / TWO_32));
  view.setUint32(STAMP_MS_BYTES - 4, ms % TWO_32);
  return raw;
}

/** A payload is a map; where it is none, it lies in bytes. */
function bodyOf(value: Uint8Array): Uint8Array {
  return isMap(value) ? value : bytesOf(unpack(value));
}

function shapeOf(value: Value): Shape {
  return listOf(value).map((told) => {
    const [kind, count] = listOf(told);
    if (countOf(count) === 0) throw malformed("a kind without facts");
    return { kind: wordOf(kind), count: countOf(count) };
  });
}

function chainOf(value: Value): Chain {
  const [device, epoch] = listOf(value);
  return { device: bytesOf(device), epoch: countOf(epoch), ids: new Map() };
}

function hashesOf(value: Value | undefined): Uint8Array[] {
  return listOf(value).map((hash) => bytesOf(hash));
}

function listOf(value: Value | undefined): readonly Value[] {
  if (!Array.isArray(value)) throw malformed("not a list");
  return value as readonly Value[];
}
