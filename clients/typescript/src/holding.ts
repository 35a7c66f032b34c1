/**
 * What the device holds as documents, folded by the server up to `place.documentsAt`, and what lies on
 * top of them: everything that arrived since, and own work that waits for an answer. Every change is
 * one commit of the ledger, together with the place it leads to.
 */

import { documents, nameOf, sections, touched } from "./digest.ts";
import type { DocumentState, Evidence, Stated } from "./digest.ts";
import { Documents, statedIn } from "./documents.ts";
import type { SectionDigest } from "./frames.ts";
import { unpack } from "./msgpack.ts";
import type { Change } from "./ports.ts";
import {
  DEVICE_ORIGIN,
  heldThrough,
  OWN,
  putArrivals,
  putImporting,
  type Arrival,
  type Importing,
  type Own,
  type Place,
  type Stood,
} from "./rows.ts";
import { onHandE3 } from "./stock.ts";
import type { Tables } from "./tables.ts";

/** What the journal does for its documents. */
export interface Ledger {
  readonly place: Place;
  /** Raised by every commit that moves the place. */
  readonly moves: number;
  /** Whatever decides by what is stored must not be overtaken: one after the other. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  /** Commits `changes` and `place`, then `done`; for work that runs exclusively. */
  move(place: Place, changes: readonly Change[], done: () => void): Promise<void>;
  records(after: number): AsyncGenerator<Stood>;
  own(pendingOnly: boolean): AsyncGenerator<Own>;
}

const ALL = Number.MAX_SAFE_INTEGER;

/** Rows that a device drops which fetches everything again; then `forget`. */
export const NOTHING_HELD: readonly Change[] = [
  { table: "document", from: 0, to: ALL },
  putImporting(null),
];

export class Holding {
  readonly #ledger: Ledger;
  readonly #tables: Tables;
  #documents = new Documents();
  #importing: Importing | null = null;
  #digested: { readonly of: number; readonly sections: readonly SectionDigest[] } | null = null;

  constructor(ledger: Ledger, tables: Tables) {
    this.#ledger = ledger;
    this.#tables = tables;
  }

  /** Reads what is stored. */
  async load(importing: Importing | null): Promise<void> {
    this.#documents = new Documents(await this.#tables.all("document", 1));
    this.#importing = importing;
  }

  /** `NOTHING_HELD` is durable. */
  forget(): void {
    this.#documents = new Documents();
    this.#importing = null;
  }

  /** What is held is the fold of the log up to here, once nothing own lies beyond. */
  get through(): number {
    return heldThrough(this.#ledger.place);
  }

  /** Documents as they are stored, without what lies on top. */
  get documents(): Documents {
    return this.#documents;
  }

  /** Documents on their way in bulk. */
  get importing(): Importing | null {
    return this.#importing;
  }

  // Reading --------------------------------------------------------------------------------------

  /**
   * Documents as everything that stands in the log here makes them; of one `type`, and with own
   * work that waits for an answer laid on top, if wanted.
   */
  standing(type: string | null = null, pending = false): Promise<DocumentState[]> {
    return this.#steadily(() => this.#standing(type, pending));
  }

  /** Stock on hand in thousandths, own unsent work included. */
  onHandE3(product: string): Promise<number> {
    return this.#steadily(async () => {
      const sale = (one: Stated): boolean => one.type === "order" || one.type === "return";
      const base = await this.#base((one) => one.id === product || sale(one));
      return onHandE3(product, base, await this.#fresh(true));
    });
  }

  /** Counts and digests of everything that stands in the log here. */
  async sections(): Promise<readonly SectionDigest[]> {
    if (this.#digested?.of === this.#ledger.moves) return this.#digested.sections;
    const found = await this.#steadily(async () => {
      const { reach, documentsAt } = this.#ledger.place;
      const settled = reach <= documentsAt;
      const of = this.#ledger.moves;
      return {
        of,
        sections: settled ? this.#documents.sections() : sections(await this.#standing()),
      };
    });
    this.#digested = found;
    return found.sections;
  }

  /** Reads without holding up whoever records; once more, alone, if something moved meanwhile. */
  async #steadily<T>(read: () => Promise<T>): Promise<T> {
    const before = this.#ledger.moves;
    const found = await read();
    return this.#ledger.moves === before ? found : this.#ledger.exclusively(read);
  }

  async #standing(type: string | null = null, pending = false): Promise<DocumentState[]> {
    const base = await this.#base((one) => type === null || one.type === type);
    const found = documents(await this.#fresh(pending), base);
    return type === null ? found : found.filter((one) => one.type === type);
  }

  async #base(wanted: (stated: Stated) => boolean): Promise<Stated[]> {
    if (this.#documents.size === 0) return [];
    return (await this.#tables.all("document", 1)).map(statedIn).filter(wanted);
  }

  /** What lies on top; with what waits for an answer, if wanted. */
  async #fresh(pending: boolean): Promise<Evidence[]> {
    const records: Evidence[] = [];
    for await (const record of this.#recent()) records.push(record);
    if (!pending) return records;
    for await (const { id, data, event } of this.#ledger.own(true)) {
      records.push({ id, data, mergeStamp: event.stamp, origin: DEVICE_ORIGIN });
    }
    return records;
  }

  /** What stands in the log behind the documents, or behind `position`. */
  async *#recent(position = this.#ledger.place.documentsAt): AsyncGenerator<Stood> {
    if (this.#ledger.place.reach <= position) return;
    for await (const record of this.#ledger.records(0)) {
      if (record.position > position) yield record;
    }
  }

  // Changing -------------------------------------------------------------------------------------

  /**
   * Stores `put` in the place of what there is, and moves the place, in one commit. `importing` is
   * kept beside it while documents come in bulk; null ends that. Gives how many came.
   */
  take(
    moved: Partial<Place>,
    put: readonly Stated[] = [],
    importing?: Importing | null,
  ): Promise<number> {
    return this.#ledger.exclusively(async () => {
      const place = { ...this.#ledger.place, ...moved };
      const reach = Math.max(place.reach, place.documentsAt, importing?.through ?? 0);
      const also = importing === undefined ? [] : [putImporting(importing)];
      await this.#commit({ ...place, reach }, put, [], also, importing);
      return put.length;
    });
  }

  /**
   * Drops documents that left. What unsent work is about stays, and what own events behind `asked`
   * are about; gives how many went.
   */
  drop(names: Iterable<string>, asked: number): Promise<number> {
    return this.#ledger.exclusively(async () => {
      const gone = new Set(names);
      for await (const { data } of this.#ledger.own(true)) gone.delete(touched(data) ?? "");
      for await (const { data } of this.#recent(asked)) gone.delete(touched(data) ?? "");
      await this.#commit(this.#ledger.place, [], gone);
      return gone.size;
    });
  }

  /**
   * From the log to documents: what the arrivals make is held as documents from now on, and only
   * own events stay among them. Documents that were on their way in bulk are not any more. `scope` is
   * its version, 0 for all there is.
   */
  begin(scope: number): Promise<void> {
    return this.#ledger.exclusively(async () => {
      const before = this.#ledger.place;
      if (before.scope > 0 || (scope === 0 && before.arrivals === 0)) return;
      const put = await this.#standing();
      const own: Arrival[] = [];
      for (const { value } of await this.#tables.all("arrival", 1)) {
        const row = unpack(value) as Arrival;
        if (row[0] === OWN) own.push(row);
      }
      const history = before.history + 1;
      const moved = {
        scope,
        documentsAt: this.through,
        storedMs: 0,
        arrivals: own.length,
        history,
      };
      const anew: Change[] = [{ table: "arrival", from: 0, to: ALL }, ...putArrivals(own, 0)];
      await this.#commit({ ...before, ...moved }, put, [], [...anew, putImporting(null)], null);
    });
  }

  async #commit(
    place: Place,
    put: readonly Stated[],
    dropped: Iterable<string>,
    also: readonly Change[] = [],
    importing?: Importing | null,
  ): Promise<void> {
    const once = [...new Map(put.map((stated) => [nameOf(stated), stated])).values()];
    const gone = [...dropped];
    const changes = [...this.#documents.changes(once, gone), ...also];
    await this.#ledger.move(place, changes, () => {
      this.#documents.moved(once, gone);
      if (importing !== undefined) this.#importing = importing;
    });
  }
}
