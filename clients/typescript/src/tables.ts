/** Reading the tables of a journal: pages of rows become values. */

import { countOf, decodeEvent, sha256 } from "./event.ts";
import { SEGMENT } from "./frames.ts";
import { STORAGE_READ_ROWS } from "./limits.ts";
import { unpack, type Value } from "./msgpack.ts";
import type { Row, Storage, Table } from "./ports.ts";
import {
  DEVICE_ORIGIN,
  FOREIGN,
  readAnswer,
  spellSegment,
  type Answer,
  type Own,
  type Record,
  type Stood,
} from "./rows.ts";

/** More records than a segment can have: `at` is the row times this plus the place in it. */
const RECORDS_PER_ROW = 4_096;

export class Tables {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async own(first: number, count: number): Promise<readonly Own[]> {
    if (count < 1 || first < 1) return [];
    const rows = await this.#storage.read("outbox", first, count);
    return rows
      .filter(({ key }) => key < first + count)
      .map(({ key, value }) => ({
        n: key,
        id: sha256(value),
        data: value.slice(),
        event: decodeEvent(value),
      }));
  }

  async answers(first: number, count: number): Promise<readonly Answer[]> {
    const found: Answer[] = [];
    let next = Math.max(first, 1);
    while (next < first + count) {
      const limit = Math.min(first + count - next, STORAGE_READ_ROWS);
      const rows = await this.#storage.read("answer", next, limit);
      found.push(...rows.map(readAnswer).filter(({ n }) => n < first + count));
      const last = rows.at(-1);
      if (last === undefined) break;
      next = last.key + 1;
    }
    return found;
  }

  async all(table: Table, first: number): Promise<Row[]> {
    const found: Row[] = [];
    for (;;) {
      const page = await this.#storage.read(
        table,
        (found.at(-1)?.key ?? first - 1) + 1,
        STORAGE_READ_ROWS,
      );
      if (page.length === 0) return found;
      found.push(...page);
    }
  }

  /** The last key of a table; keys have no gaps behind `known`. */
  async last(table: Table, known: number): Promise<number> {
    let last = known;
    for (;;) {
      const page = await this.#storage.read(table, last + 1, STORAGE_READ_ROWS);
      const end = page.at(-1);
      if (end === undefined) return last;
      last = end.key;
    }
  }

  /** What stands in the log, in order of arrival, as long as it `goesOn`. */
  async *records(after: number, goesOn: () => boolean): AsyncGenerator<Stood> {
    let row = Math.floor(after / RECORDS_PER_ROW);
    for (;;) {
      const page = await this.#storage.read("arrival", row, STORAGE_READ_ROWS);
      for (const { key, value } of page) {
        if (!goesOn()) return;
        let at = key * RECORDS_PER_ROW;
        for await (const record of this.#stood(unpack(value))) {
          if (at > after) yield { ...record, at };
          at += 1;
        }
      }
      const last = page.at(-1);
      if (last === undefined) return;
      row = last.key + 1;
    }
  }

  async *#stood(row: Value): AsyncGenerator<Record> {
    const [sort, ...rest] = row as readonly Value[];
    if (sort === FOREIGN) yield* spellSegment(SEGMENT.read(rest[0]));
    else {
      const [first, count] = rest.map(countOf) as [number, number];
      const events = await this.own(first, count);
      const answers = await this.answers(first, count);
      for (const [place, { id, data, event }] of events.entries()) {
        const answer = answers[place];
        if (answer === undefined) continue;
        yield {
          position: answer.position,
          id,
          data,
          mergeStamp: answer.stamp ?? event.stamp,
          disputed: (answer.flags & 1) === 1,
          origin: DEVICE_ORIGIN,
          receivedMs: answer.receivedMs,
        };
      }
    }
  }
}
