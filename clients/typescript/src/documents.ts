/**
 * Documents that came as documents, folded by the server (wire-protocol.md §12, §14): where each is
 * stored, its hash, and what they amount to. What the device knows from events comes on top of them
 * when somebody reads.
 */

import { hashOf, nameOf, Totals, type Stated } from "./digest.ts";
import { bytesOf, wordOf } from "./event.ts";
import type { SectionDigest } from "./frames.ts";
import { pack, unpack, type Value } from "./msgpack.ts";
import type { Change, Row } from "./ports.ts";

interface Held {
  readonly key: number;
  readonly type: string;
  readonly hash: Uint8Array;
}

export class Documents {
  readonly #held = new Map<string, Held>();
  readonly #totals = new Totals();
  #lastKey = 0;

  /** What the rows of `document` hold. */
  constructor(rows: Iterable<Row> = []) {
    for (const row of rows) this.#hold(row.key, statedIn(row));
  }

  get size(): number {
    return this.#held.size;
  }

  /** Counts and digests of what is stored. */
  sections(): SectionDigest[] {
    return this.#totals.sections();
  }

  /** Name and hash of everything that is stored. */
  *hashes(): Generator<readonly [name: string, hash: Uint8Array]> {
    for (const [name, { hash }] of this.#held) yield [name, hash];
  }

  keyOf(name: string): number | null {
    return this.#held.get(name)?.key ?? null;
  }

  /** Rows to write for `put`, in the place of what is stored, and for `dropped` names; then `moved`. */
  changes(put: readonly Stated[], dropped: Iterable<string>): Change[] {
    let next = this.#lastKey;
    const gone = [...dropped].flatMap((name): Change[] => {
      const key = this.keyOf(name);
      return key === null ? [] : [{ table: "document", from: key, to: key }];
    });
    return [
      ...gone,
      ...put.map((stated): Change => {
        const key = this.keyOf(nameOf(stated)) ?? ++next;
        const value = pack([stated.type, stated.id, stated.state]);
        return { table: "document", key, value };
      }),
    ];
  }

  /** The rows that `changes` gave are durable. */
  moved(put: readonly Stated[], dropped: Iterable<string>): void {
    for (const name of dropped) this.#release(name);
    for (const stated of put) {
      const key = this.keyOf(nameOf(stated)) ?? this.#lastKey + 1;
      this.#release(nameOf(stated));
      this.#hold(key, stated);
    }
  }

  #hold(key: number, stated: Stated): void {
    const hash = hashOf(stated);
    this.#held.set(nameOf(stated), { key, type: stated.type, hash });
    this.#totals.count(stated.type, hash, 1);
    this.#lastKey = Math.max(this.#lastKey, key);
  }

  #release(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    this.#held.delete(name);
    this.#totals.count(held.type, held.hash, -1);
  }
}

/** The document of a row of `document`. Throws `malformed`. */
export function statedIn({ value }: Pick<Row, "value">): Stated {
  return stated(unpack(value));
}

/** `[type, id, state]` as the server sends documents. Throws `malformed`. */
export function stated(value: Value): Stated {
  const [type, id, state] = value as readonly Value[];
  return { type: wordOf(type), id: wordOf(id), state: bytesOf(state) };
}
