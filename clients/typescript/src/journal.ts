/**
 * What the device keeps: its own events for ever, what became of them, what it received, and how
 * far. Every change is one durable commit of the storage, and memory moves only after it.
 *
 * - `outbox`: own events, canonical bytes, from 1. Rows are added and never changed.
 * - `answer`: what became of them. Answers are a prefix of the outbox, so what is pending is what
 *   lies behind the last one.
 * - `aside`: own events in quarantine or refused; the value is the row that says it again, or 0.
 * - `arrival`: what is in the log as far as it is known here, in order of arrival: a segment of
 *   others, or a run of own events (by outbox row).
 * - `document`: documents as the server folded them, up to `place.documentsAt`; arrivals behind that
 *   come on top when somebody reads.
 * - `state`: who this is, how far it got, and the lives (epochs) its events belong to.
 */

import { same } from "./bytes.ts";
import {
  Builder,
  firstHead,
  headAfter,
  Renamed,
  type Fact,
  type Head,
  type Made,
} from "./chain.ts";
import { STAMP_BYTES } from "./clock.ts";
import { ReplicaError } from "./errors.ts";
import { decodeEvent, NO_HASH } from "./event.ts";
import { SEGMENT, type Decision, type Segment, type Verdict } from "./frames.ts";
import { Holding, NOTHING_HELD, type Ledger } from "./holding.ts";
import { STORAGE_READ_ROWS } from "./limits.ts";
import { pack, unpack } from "./msgpack.ts";
import type { Change, Storage } from "./ports.ts";
import {
  FOREIGN,
  checkChain,
  heard,
  NOWHERE,
  OWN,
  ownArrivals,
  putAnswer,
  putArrivals,
  putIdentity,
  putLives,
  putPlace,
  readAnswer,
  readIdentity,
  readImporting,
  readLives,
  readPlace,
  rejoin,
  remade,
  runs,
  spell,
  spellSegment,
  State,
  StateKey,
  type Answer,
  type Arrival,
  type Identity,
  type Importing,
  type Life,
  type Own,
  type Place,
  type Record,
  type Stood,
} from "./rows.ts";
import { Tables } from "./tables.ts";

const FIRST_EPOCH = 1;
const ALL = Number.MAX_SAFE_INTEGER;
const FROM_THE_BEGINNING = {
  ...{ cursor: 0, chain: NO_HASH, arrivals: 0, scope: 0, documentsAt: 0, storedMs: 0, ahead: "" },
};
const NOTHING_ARRIVED: readonly Change[] = [
  { table: "arrival", from: 0, to: ALL },
  ...NOTHING_HELD,
];

/** Own events of one epoch, without a gap. */
export interface Chain {
  readonly epoch: number;
  readonly firstSeq: number;
  readonly events: readonly Uint8Array[];
}

export class Journal implements Ledger {
  readonly #storage: Storage;
  readonly #tables: Tables;
  #identity: Identity | null = null;
  #place = NOWHERE;
  #lives: readonly Life[] = [];
  #head: Head = firstHead(FIRST_EPOCH, new Uint8Array(STAMP_BYTES));
  /** State of outbox row n at n − 1, answered ones only. */
  #states: State[] = [];
  #lastN = 0;
  #resaid = new Map<number, number>();
  #turn: Promise<unknown> = Promise.resolve();
  #complete = false;
  #moves = 0;
  /** What came as documents, and what lies on top of them. */
  readonly held: Holding;
  /** Digests compared in a row that were not equal. */
  differed = 0;

  private constructor(storage: Storage) {
    this.#storage = storage;
    this.#tables = new Tables(storage);
    this.held = new Holding(this, this.#tables);
  }

  /** Throws `corruption` when what is stored cannot be. */
  static async open(storage: Storage): Promise<Journal> {
    const journal = new Journal(storage);
    try {
      await journal.#load();
    } catch (cause) {
      if (cause instanceof ReplicaError && cause.code !== "malformed") throw cause;
      throw new ReplicaError("corruption", "what is stored here cannot be read", { cause });
    }
    return journal;
  }

  close(): Promise<void> {
    return this.exclusively(() => this.#storage.close());
  }

  // Where it stands ------------------------------------------------------------------------------

  get identity(): Identity | null {
    return this.#identity;
  }

  get place(): Place {
    return this.#place;
  }

  get head(): Head {
    return this.#head;
  }

  get pending(): number {
    return this.#lastN - this.#states.length;
  }

  /** The last seq of the running epoch that has its outcome. */
  get answeredSeq(): number {
    return Math.max(this.#states.length - this.#life.firstN + 1, 0);
  }

  count(state: State): number {
    return this.#states.filter((one) => one === state).length;
  }

  /**
   * Whether documents in bulk may take the place of the log: nothing is unsent, and no event of an
   * earlier life has to be heard again one by one (wire-protocol.md §6.2, §12).
   */
  get takesBulk(): boolean {
    const { scope, cursor, logId } = this.#place;
    if (scope > 0 || this.pending > 0) return false;
    if (cursor === 0) return logId.length === 0 && this.#states.length === 0;
    return this.#complete || this.#lives.length < 2;
  }

  get moves(): number {
    return this.#moves;
  }

  level(serverPosition: number): boolean {
    return this.pending === 0 && this.#place.cursor >= Math.max(serverPosition, this.#place.reach);
  }

  // Own work -------------------------------------------------------------------------------------

  /** Stores facts as own events, all or none. */
  append(facts: readonly Fact[], nowMs: number): Promise<readonly Made[]> {
    return this.exclusively(async () => {
      const builder = new Builder(this.#author, this.#head);
      for (const fact of facts) builder.add(fact, nowMs);
      await this.#store(builder.made, []);
      return builder.made;
    });
  }

  /**
   * Says a quarantined event again with another payload, and after it those that were quarantined
   * for waiting on it. The old ones stay as evidence.
   */
  resubmit(id: Uint8Array, payload: Uint8Array | null, nowMs: number): Promise<readonly Made[]> {
    return this.exclusively(async () => {
      const waiting = await this.#waitingOn(id);
      const builder = new Builder(this.#author, this.#head);
      const renamed = new Renamed();
      const changes: Change[] = [];
      for (const { n, id: old, event } of waiting) {
        const fact = renamed.fact(event);
        const said = same(old, id) && payload !== null ? { ...fact, payload } : fact;
        renamed.set(old, builder.add(said, nowMs).id);
        const by = this.#lastN + builder.made.length;
        changes.push({ table: "aside", key: n, value: pack(by) });
      }
      if (builder.made.length === 0) {
        throw new ReplicaError("misuse", "that event is not in quarantine here");
      }
      await this.#store(builder.made, changes);
      waiting.forEach(({ n }, place) => {
        this.#resaid.set(n, this.#lastN - waiting.length + place + 1);
      });
      return builder.made;
    });
  }

  /** Own events of the running epoch after `seq`, answered or not; at least one if there is any. */
  async after(
    seq: number,
    limitBytes: number,
    limitEvents: number,
  ): Promise<readonly Uint8Array[]> {
    const rows = await this.#storage.read("outbox", this.#rowOf(seq) + 1, limitEvents);
    const events: Uint8Array[] = [];
    let room = limitBytes;
    for (const { value } of rows) {
      room -= value.length;
      if (room < 0 && events.length > 0) break;
      events.push(value);
    }
    return events;
  }

  /** The id of the own event at `seq` of the running epoch; null when there is none. */
  async idAt(seq: number): Promise<Uint8Array | null> {
    if (seq === 0) return NO_HASH;
    const [own] = await this.#tables.own(this.#rowOf(seq), 1);
    return own?.id ?? null;
  }

  /** Own events in quarantine or refused that were not said again, newest first. */
  async aside(): Promise<readonly (readonly [Own, Answer])[]> {
    const rows = await this.#tables.all("aside", 1);
    const found: (readonly [Own, Answer])[] = [];
    for (const { key, value } of rows.reverse()) {
      if (unpack(value) !== 0) continue;
      const [own] = await this.#tables.own(key, 1);
      const [answer] = await this.#tables.answers(key, 1);
      if (own && answer) found.push([own, answer]);
    }
    return found;
  }

  /** Own events with their answers, oldest first: the pending ones, or all of them. */
  async *own(pendingOnly: boolean): AsyncGenerator<Own> {
    let n = pendingOnly ? this.#states.length : 0;
    for (;;) {
      const page = await this.#tables.own(n + 1, STORAGE_READ_ROWS);
      yield* page;
      const last = page.at(-1);
      if (last === undefined) return;
      n = last.n;
    }
  }

  /**
   * Own events epoch by epoch, for a file: the unanswered ones, or all this device said. What was
   * said again in the next epoch is in that one only.
   */
  async chains(everything: boolean): Promise<readonly Chain[]> {
    if (!everything) {
      const events: Uint8Array[] = [];
      for await (const { data } of this.own(true)) events.push(data);
      const { epoch } = this.#head;
      return events.length > 0 ? [{ epoch, firstSeq: this.answeredSeq + 1, events }] : [];
    }
    const chains: Chain[] = [];
    for (const [at, life] of this.#lives.entries()) {
      if (!same(life.device, this.#author.device)) continue;
      const end = this.#lives[at + 1]?.firstN ?? this.#lastN + 1;
      const over = this.#states.indexOf(State.remade, life.firstN - 1);
      const last = over < 0 ? end : Math.min(end, over + 1);
      const own = await this.#tables.own(life.firstN, last - life.firstN);
      const events = own.map(({ data }) => data);
      if (events.length > 0) chains.push({ epoch: life.epoch, firstSeq: 1, events });
    }
    return chains;
  }

  // What the server says ---------------------------------------------------------------------------

  /** Becomes `identity`; undecided work made as somebody else is said again as the new one. */
  enrol(identity: Identity): Promise<void> {
    return this.exclusively(async () => {
      const before = this.#identity;
      if (before !== null && !same(before.account, identity.account)) {
        throw new ReplicaError("misuse", "this storage belongs to another account", {
          hint: "open another storage for the other account",
        });
      }
      if (before !== null && same(before.device, identity.device)) {
        await this.#storage.commit([putIdentity(identity)]);
        this.#identity = identity;
      } else await this.#renew(identity, FIRST_EPOCH, this.#place, []);
    });
  }

  met(logId: Uint8Array, generation: number): Promise<void> {
    return this.exclusively(async () => {
      if (same(this.#place.logId, logId) && this.#place.generation === generation) return;
      await this.move({ ...this.#place, logId, generation });
    });
  }

  /** Stores the answers to own events from `firstSeq` on; asked again it changes nothing. */
  settle(
    firstSeq: number,
    verdicts: readonly Verdict[],
    decisions: readonly Decision[],
  ): Promise<readonly Answer[]> {
    return this.exclusively(async () => {
      const first = this.#rowOf(firstSeq);
      if (first > this.#states.length + 1) {
        throw new ReplicaError("corruption", `row ${this.#states.length + 1} was never answered`);
      }
      const answers = spell(first, verdicts, decisions);
      const fresh = answers.filter(
        ({ n, state }) => state === State.acknowledged && !this.#stands(n),
      );
      const reach = Math.max(this.#place.reach, ...answers.map((answer) => answer.position));
      await this.#take(answers, ownArrivals(fresh.map((answer) => answer.n)), { reach });
      return answers;
    });
  }

  /** Stores segments and moves the cursor, in one commit. */
  receive(segments: readonly Segment[], through: number, chain: Uint8Array): Promise<void> {
    return this.exclusively(async () => {
      checkChain(this.#place, segments);
      const answers: Answer[] = [];
      const arrived: Arrival[] = [];
      for (const segment of segments) {
        const life = this.#lives.find((one) => this.#isOf(one, segment));
        if (life === undefined) arrived.push([FOREIGN, SEGMENT.write(segment)]);
        else await this.#hearAgain(life, segment, answers, arrived);
      }
      const reach = Math.max(this.#place.reach, through);
      await this.#take(answers, arrived, { cursor: through, chain, reach });
    });
  }

  /**
   * The log has another history: everything is fetched again. Own events behind `knownSeq` of the
   * running epoch wait for an answer again. Nothing leaves the outbox (wire-protocol.md §6.2).
   */
  startOver(logId: Uint8Array, generation: number, knownSeq: number): Promise<void> {
    return this.exclusively(async () => {
      const known = Math.min(this.#states.length, this.#rowOf(knownSeq));
      const kept = await this.#tables.answers(this.#life.firstN, known - this.#life.firstN + 1);
      const rows = kept.filter(({ state }) => state === State.acknowledged).map(({ n }) => n);
      const arrivals = ownArrivals(rows);
      const place: Place = {
        ...this.#fromTheBeginning(),
        logId,
        generation,
        reach: kept.reduce((reach, answer) => Math.max(reach, answer.position), 0),
        arrivals: arrivals.length,
      };
      this.#complete = false;
      await this.#storage.commit([
        { table: "answer", from: known + 1, to: ALL },
        { table: "aside", from: known + 1, to: ALL },
        ...NOTHING_ARRIVED,
        ...(await this.#forgetPlaces(this.#life.firstN)),
        ...putArrivals(arrivals, 0),
        putPlace(place),
      ]);
      this.#states.length = Math.min(this.#states.length, known);
      this.held.forget();
      this.#moveTo(place);
    });
  }

  /** The chain has two ends: undecided events are said again in `nextEpoch` (§6.1). */
  fork(nextEpoch: number): Promise<void> {
    return this.exclusively(async () => {
      if (this.#identity === null || nextEpoch <= this.#head.epoch) return;
      await this.#renew(this.#identity, nextEpoch, this.#fromTheBeginning(), []);
    });
  }

  /**
   * Whether a restored log, taken in whole, lacks what an earlier life has an acknowledgement for;
   * if so it is said again in `nextEpoch` (§6.2).
   */
  sayForgotten(serverPosition: number, nextEpoch: number): Promise<boolean> {
    return this.exclusively(async () => {
      if (this.#complete || this.#lives.length < 2 || !this.level(serverPosition)) return false;
      const before = await this.#tables.answers(1, this.#life.firstN - 1);
      const lost = before.filter(
        ({ state, position }) => state === State.acknowledged && !position,
      );
      this.#complete = lost.length === 0;
      if (this.#complete || this.#identity === null || nextEpoch <= this.#head.epoch) return false;
      const place = { ...this.#fromTheBeginning(), reach: 0 };
      await this.#renew(
        this.#identity,
        nextEpoch,
        place,
        lost.map(({ n }) => n),
      );
      return true;
    });
  }

  measured(skewMs: number): void {
    this.#place = { ...this.#place, skewMs }; // stored with the next commit
  }

  synced(nowMs: number): void {
    this.#place = { ...this.#place, syncedMs: nowMs }; // stored with the next commit
  }

  // Reading ----------------------------------------------------------------------------------------

  /** Everything that stands in the log, own and of others, in order of arrival. */
  records(after: number): AsyncGenerator<Stood> {
    const { history } = this.#place;
    // What is read after a new beginning belongs to another history.
    return this.#tables.records(after, () => this.#place.history === history);
  }

  /** One after the other: whatever decides by what is stored must not be overtaken. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async move(
    place: Place,
    changes: readonly Change[] = [],
    done: () => void = () => undefined,
  ): Promise<void> {
    await this.#storage.commit([...changes, putPlace(place)]);
    done();
    this.#moveTo(place);
  }

  // Inside -----------------------------------------------------------------------------------------

  get #author(): Identity {
    if (this.#identity !== null) return this.#identity;
    throw new ReplicaError("misuse", "enrol this device first", {
      hint: "await client.enrol(url, code, name)",
    });
  }

  get #life(): Life {
    return this.#lives.at(-1) ?? { firstN: 1, device: new Uint8Array(0), epoch: FIRST_EPOCH };
  }

  #rowOf(seq: number): number {
    return this.#life.firstN + seq - 1;
  }

  #isOf(life: Life, segment: Segment): boolean {
    return life.epoch === segment.epoch && same(life.device, segment.device);
  }

  /** Whether outbox row `n` is known to stand in the log, and so among the arrivals. */
  #stands(n: number): boolean {
    return this.#states[n - 1] === State.acknowledged;
  }

  async #store(made: readonly Made[], changes: readonly Change[]): Promise<void> {
    const first = this.#lastN + 1;
    const rows = made.map(({ data }, place) => {
      return { table: "outbox", key: first + place, value: data } as const;
    });
    await this.#storage.commit([...rows, ...changes]);
    this.#lastN += made.length;
    this.#head = headAfter(this.#head, made);
  }

  #fromTheBeginning(): Place {
    const history = this.#place.history + 1;
    return { ...this.#place, ...FROM_THE_BEGINNING, history };
  }

  /** Starts a life: rows `lost` and what is pending are said again in it, in one commit. */
  async #renew(
    identity: Identity,
    epoch: number,
    from: Place,
    lost: readonly number[],
  ): Promise<void> {
    const old: Own[] = [];
    for (const n of lost) old.push(...(await this.#tables.own(n, 1)));
    for await (const own of this.own(true)) old.push(own);
    const head = firstHead(epoch, this.#head.stamp);
    const builder = new Builder(identity, head);
    const renamed = new Renamed();
    for (const before of old) {
      renamed.set(before.id, builder.remake(before.event, renamed.fact(before.event)).id);
    }
    const life = { firstN: this.#lastN + 1, device: identity.device, epoch };
    const lives = [...this.#lives.filter(({ firstN }) => firstN !== life.firstN), life];
    const answers = old.map(({ n }) => remade(n));
    const fresh = from.cursor === 0;
    const place = fresh ? { ...from, ...FROM_THE_BEGINNING } : from;
    const forgotten = fresh ? await this.#forgetPlaces(life.firstN) : [];
    await this.#storage.commit([
      putIdentity(identity),
      putPlace(place),
      putLives(lives),
      ...forgotten,
      ...answers.map(putAnswer),
      ...builder.made.map(({ data }, at) => {
        return { table: "outbox", key: life.firstN + at, value: data } as const;
      }),
      ...(fresh ? NOTHING_ARRIVED : []),
    ]);
    if (fresh) this.held.forget();
    for (const { n } of answers) this.#states[n - 1] = State.remade;
    this.#identity = identity;
    this.#moveTo(place);
    this.#lives = lives;
    this.#lastN += builder.made.length;
    this.#complete = false;
    const stamp = this.#head.stamp;
    this.#head = headAfter(head, builder.made);
    // Remade events keep their old times; the clock goes on from the newest it has ever given.
    if (builder.made.length === 0) this.#head = firstHead(epoch, stamp);
  }

  /** The log is fetched again: what it still holds of the rows before `firstN` will be heard. */
  async #forgetPlaces(firstN: number): Promise<Change[]> {
    const before = await this.#tables.answers(1, firstN - 1);
    return before
      .filter(({ state, position }) => state === State.acknowledged && position > 0)
      .map((answer) => putAnswer({ ...answer, position: 0 }));
  }

  /** Own events come back from the log: what it says of them replaces what was known. */
  async #hearAgain(
    life: Life,
    segment: Segment,
    answers: Answer[],
    arrived: Arrival[],
  ): Promise<void> {
    const foreign: Record[] = [];
    for (const record of spellSegment(segment)) {
      const n = life.firstN + decodeEvent(record.data).seq - 1;
      const [own] = await this.#tables.own(n, 1);
      if (own === undefined || !same(own.id, record.id)) foreign.push(record);
      else if (n <= this.#states.length) {
        const [before] = await this.#tables.answers(n, 1);
        const known = before?.state === State.acknowledged && before.position > 0;
        if (!known) arrived.push([OWN, n, 1]);
        answers.push(heard(n, own, record));
      } // else its own answer is on the way
    }
    for (const run of runs(foreign, (record) => record.position)) {
      const part = { ...segment, first: run[0]!.position, count: run.length, records: rejoin(run) };
      arrived.push([FOREIGN, SEGMENT.write(part)]);
    }
  }

  #putAnswer(answer: Answer): Change[] {
    const { n, state } = answer;
    const aside = state === State.quarantined || state === State.refused;
    const value = pack(this.#resaid.get(n) ?? 0);
    return [
      putAnswer(answer),
      aside ? { table: "aside", key: n, value } : { table: "aside", from: n, to: n },
    ];
  }

  /** One commit of answers, arrivals and a new place; memory moves after it. */
  async #take(
    answers: readonly Answer[],
    arrived: readonly Arrival[],
    moved: Partial<Place>,
  ): Promise<void> {
    const before = this.#place.arrivals;
    const place = { ...this.#place, ...moved, arrivals: before + arrived.length };
    const changes = answers.flatMap((answer) => this.#putAnswer(answer));
    await this.move(place, [...changes, ...putArrivals(arrived, before)], () => {
      for (const { n, state } of answers) this.#states[n - 1] = state;
    });
  }

  /** What was measured while the commit was under way stays. */
  #moveTo(place: Place): void {
    const { skewMs, syncedMs } = this.#place;
    this.#place = { ...place, skewMs, syncedMs };
    this.#moves += 1;
  }

  /** The quarantined event `id` and those that wait on it, oldest first. */
  async #waitingOn(id: Uint8Array): Promise<readonly Own[]> {
    const found: Own[] = [];
    const aside = [...(await this.aside())].reverse();
    for (const [own, { state }] of aside) {
      const waits = own.event.deps.some((dep) => found.some((cause) => same(cause.id, dep)));
      if (state === State.quarantined && (waits || same(own.id, id))) found.push(own);
    }
    return found;
  }

  async #load(): Promise<void> {
    let importing: Importing | null = null;
    for (const { key, value } of await this.#storage.read("state", 0, STORAGE_READ_ROWS)) {
      if (key === StateKey.identity) this.#identity = readIdentity(unpack(value));
      else if (key === StateKey.place) this.#place = readPlace(unpack(value));
      else if (key === StateKey.lives) this.#lives = readLives(unpack(value));
      else if (key === StateKey.importing) importing = readImporting(unpack(value));
    }
    for (const row of await this.#tables.all("answer", 1)) this.#states.push(readAnswer(row).state);
    for (const { key, value } of await this.#tables.all("aside", 1)) {
      const by = unpack(value);
      if (typeof by === "number" && by > 0) this.#resaid.set(key, by);
    }
    await this.held.load(importing);
    this.#lastN = await this.#tables.last(
      "outbox",
      Math.max(this.#states.length, this.#life.firstN - 1),
    );
    await this.#loadHead();
  }

  /** The last event is the clock and the chain's end: neither can be ahead of what is stored. */
  async #loadHead(): Promise<void> {
    const [last] = await this.#tables.own(this.#lastN, 1);
    if (last === undefined) return;
    const { epoch, firstN } = this.#life;
    this.#head =
      last.n < firstN ? firstHead(epoch, last.event.stamp) : headAfter(this.#head, [last]);
  }
}
