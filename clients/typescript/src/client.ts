/** The client: what an application embeds to be a device of a replica server. */

import { hex, unhex } from "./bytes.ts";
import { decodeReceipt, encodeWork, takeAnswers } from "./carry.ts";
import { makeId, type Fact } from "./chain.ts";
import { skewWords, STAMP_BYTES, stampMs } from "./clock.ts";
import { documentOf, factsOf, readable, type Stated } from "./digest.ts";
import { enrol, syncUrl } from "./enrolment.ts";
import { ReplicaError } from "./errors.ts";
import { bytesOf, decodeEvent, HASH_BYTES } from "./event.ts";
import type { SectionDigest } from "./frames.ts";
import { Journal } from "./journal.ts";
import {
  CATALOGUE,
  decodePayload,
  encodePayload,
  isKind,
  type DeviceKind,
  type KindName,
  type PayloadOf,
} from "./kinds.ts";
import {
  DEPS_MAX,
  RECORD_PAYLOADS_MAX,
  SOFTWARE_CHARS_MAX,
  SYNC_CONNECTIONS_MAX,
} from "./limits.ts";
import { Link, type Mode } from "./link.ts";
import type { ValueMap } from "./msgpack.ts";
import type { Fetch, OpenSocket, Storage } from "./ports.ts";
import { SOLD } from "./stock.ts";
import { State, type Answer, type Own, type Progress, type Stood } from "./rows.ts";
import type { Proof } from "./session.ts";

export interface ClientOptions {
  readonly storage: Storage;
  /** The clock that stamps events, right or wrong; milliseconds since 1970. */
  readonly now?: () => number;
  /** From 0 to 1, for the delays between connections. */
  readonly random?: () => number;
  readonly openSocket?: OpenSocket;
  readonly fetch?: Fetch;
  /** Name and version of the embedding program, shown in the office. */
  readonly software?: string;
  /**
   * Take documents in bulk where much of the log is missing, as in a first sync: much faster, and for
   * programs that read `documents()`, as `records()` begins behind them. Off unless asked for.
   */
  readonly bulk?: boolean;
}

/** Something to record: a kind, its payload, and ids of events it builds on. */
export type FactOf<K extends DeviceKind> = {
  readonly kind: K;
  readonly payload: PayloadOf<K>;
  readonly deps?: readonly string[];
};
export type AnyFact = { [K in DeviceKind]: FactOf<K> }[DeviceKind];

/** What one event says of a document. */
export type HeldFact = Pick<RecordBase, "id" | "tag" | "atMs" | "origin" | "deps"> &
  { [K in KindName]: { readonly kind: K; readonly payload: PayloadOf<K> } }[KindName];

/** A document as it stands: the facts about it that may still matter, oldest first. */
export interface Document {
  readonly type: string;
  readonly id: string;
  readonly facts: readonly HeldFact[];
}

interface RecordBase {
  /** Give it to `records()` to go on after this one. */
  readonly at: number;
  readonly id: string;
  readonly position: number;
  readonly device: string;
  readonly epoch: number;
  readonly seq: number;
  readonly origin: "device" | "web" | "sink" | "import";
  /** When it happened, corrected; what merging goes by, with `tag` deciding between equals. */
  readonly atMs: number;
  /** Merge stamp and id: the newest tag wins. */
  readonly tag: string;
  readonly disputed: boolean;
  readonly receivedMs: number;
  readonly deps: readonly string[];
}

/** An event that stands in the log. `known` says whether this program knows its kind. */
export type LogRecord = RecordBase &
  (
    | { [K in KindName]: { known: true; kind: K; payload: PayloadOf<K> } }[KindName]
    | { known: false; kind: string; version: number; payload: Uint8Array }
  );

/** An own event that is not in the log, and why. Its bytes stay here. */
export interface Rejected {
  readonly id: string;
  readonly kind: string;
  /** `type/id` of the document it is about; empty where that cannot be read. */
  readonly about: string;
  readonly state: "quarantined" | "refused";
  readonly code: string;
  readonly reason: string;
  /** What to do about it; the office reads the same words. */
  readonly fix: string;
}

/** One reading of everything a user is shown. */
export interface Status {
  readonly mode: Mode;
  /** The mode in words, with the reason. */
  readonly text: string;
  /** Own events the server has not answered. */
  readonly pending: number;
  readonly acknowledged: number;
  readonly quarantined: number;
  readonly refused: number;
  /** Up to here this device holds the server's log. */
  readonly cursor: number;
  /** How far that log is known to go; with `cursor`, the progress. */
  readonly serverPosition: number;
  /** Nothing to send, nothing to take in, as far as is known. */
  readonly level: boolean;
  /** The device's clock minus the server's. */
  readonly skewMs: number;
  /** Empty while the clock is good enough. */
  readonly skewText: string;
  /** Device clock when everything was last exchanged; null for never. */
  readonly lastSyncMs: number | null;
  /** Raised when everything is fetched again: drop what was made of `records()`. */
  readonly history: number;
  /** Version of the scope that this device holds; 0 while it holds the account. */
  readonly scope: number;
  /** Device clock when what is held was last what the scope says; null while it is not. */
  readonly storedMs: number | null;
  /** What stands in the log up to here came as documents, and is not in `records()`. */
  readonly documentsAt: number;
  /** Documents on their way in bulk or in a first sync of a scope, by type; else empty. */
  readonly fetching: readonly Progress[];
}

/** What one round did, and its proof. */
export interface SyncResult {
  readonly sent: number;
  readonly received: number;
  readonly quarantined: number;
  readonly refused: number;
  readonly position: number;
  /** Both sides hold the same documents at `position`, shown by digests. */
  readonly equal: boolean;
}

/** What a receipt settled: own events that were waiting for an answer. */
export interface Receipt {
  readonly synced: number;
  readonly quarantined: number;
  readonly refused: number;
  /** Answers about an epoch that is over, or that were known already. */
  readonly ignored: number;
}

const ORIGINS = ["device", "device", "web", "sink", "import"] as const;
const FIXES = new Map(
  Object.entries({
    payload:
      "Correct it on the device that wrote it and say it again; what waits on it goes along.",
    waits_on: "Correct the event it waits on; this one is said again with it.",
    malformed: "The program that wrote it has a fault: update it. The work stays on the device.",
    too_large: "Divide it into smaller pieces on the device that wrote it.",
    forbidden: "Whoever wrote it may not say this: somebody who may has to.",
  }),
);
const FIX_DEFAULT = "Ask whoever looks after the server; the event is kept.";

export class Client {
  readonly #journal: Journal;
  readonly #link: Link;
  readonly #now: () => number;
  readonly #fetch: Fetch;
  readonly #software: string;
  readonly #listeners = new Set<() => void>();
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(journal: Journal, options: ClientOptions) {
    this.#journal = journal;
    const clock = options.now ?? Date.now;
    this.#now = () => Math.trunc(clock());
    this.#fetch = options.fetch ?? ((url, request) => globalThis.fetch(url, request));
    this.#software = (options.software ?? "replica-client/0.1.0").slice(0, SOFTWARE_CHARS_MAX);
    this.#link = new Link(
      {
        journal,
        now: this.#now,
        software: this.#software,
        fetch: this.#fetch,
        welcomed: () => false,
        fetching: () => undefined,
        changed: () => this.#changed(),
      },
      options.openSocket ?? ((url, subprotocol) => new WebSocket(url, subprotocol)),
      options.random ?? Math.random,
      options.bulk ?? false,
    );
  }

  /** Opens what is stored. Throws `in_use`, `storage` or `corruption`. */
  static async open(options: ClientOptions): Promise<Client> {
    return new Client(await Journal.open(options.storage), options);
  }

  /** Stops syncing and releases the storage. */
  async close(): Promise<void> {
    await this.disconnect();
    await this.#journal.close();
  }

  // Who --------------------------------------------------------------------------------------------

  /** Null before enrolment. */
  get identity(): {
    readonly account: string;
    readonly device: string;
    readonly name: string;
  } | null {
    const identity = this.#journal.identity;
    if (identity === null) return null;
    return { account: hex(identity.account), device: hex(identity.device), name: identity.name };
  }

  /**
   * Exchanges the office's `code` for an identity at the server's `url`. Needs the network.
   *
   * Enrolling again keeps unsent work and says it again as the new device. Throws `forbidden` for a
   * wrong code, `peer_gone` when there is no connection.
   */
  async enrol(url: string, code: string, name: string): Promise<void> {
    await this.disconnect();
    await this.#journal.enrol(
      await enrol(this.#fetch, url, { code, name, software: this.#software }),
    );
    this.#changed();
  }

  // Writing ----------------------------------------------------------------------------------------

  /**
   * Records one fact: durable when it resolves, online or not. Gives the id of the event.
   *
   * Throws `misuse` naming the field that breaks a rule, `too_large`, `storage_full`; then nothing
   * was saved.
   */
  async record<K extends DeviceKind>(
    kind: K,
    payload: PayloadOf<K>,
    deps: readonly string[] = [],
  ): Promise<string> {
    const [id] = await this.#append([fact(kind, payload, deps)]);
    return id!;
  }

  /** Records several facts as one unit: all or none. Gives their ids. */
  recordAll(facts: readonly AnyFact[]): Promise<readonly string[]> {
    return this.#append(
      facts.map(({ kind, payload, deps = [] }) => fact(kind, payload as never, deps)),
    );
  }

  async #append(facts: readonly Fact[]): Promise<readonly string[]> {
    if (facts.length === 0 || facts.length > RECORD_PAYLOADS_MAX) {
      throw new ReplicaError("misuse", `record 1 to ${RECORD_PAYLOADS_MAX} facts at once`);
    }
    const made = await this.#journal.append(facts, this.#now());
    this.#grown();
    return made.map(({ id }) => hex(id));
  }

  /**
   * Says a quarantined event again, corrected: `payload` is of the same kind and about the same
   * document. What was quarantined for waiting on it is said again after it. Without a payload it
   * is said as it was: for what waits on something that was corrected before.
   */
  async resubmit<K extends DeviceKind>(
    rejected: Rejected & { readonly kind: K },
    payload?: PayloadOf<K>,
  ): Promise<readonly string[]> {
    const bytes = payload === undefined ? null : encodePayload(rejected.kind, payload);
    if (bytes !== null && rejected.about !== "") {
      const about = documentOf(rejected.kind, payload as unknown as ValueMap);
      if (about !== rejected.about) {
        throw new ReplicaError("misuse", `a correction is about ${rejected.about}, as before`);
      }
    }
    const made = await this.#journal.resubmit(unhex(rejected.id), bytes, this.#now());
    this.#grown();
    return made.map(({ id }) => hex(id));
  }

  /** A fresh id for a customer, an order, a payment: 26 characters that sort by time. */
  newId(): string {
    return makeId(this.#now(), crypto.getRandomValues(new Uint8Array(10)));
  }

  // Reading ----------------------------------------------------------------------------------------

  /**
   * Everything that stands in the log, own and of others, each event once, in order of arrival.
   *
   * Fold them by `tag`, not by this order. Keep the last `at` to go on from there; when
   * `status().history` has changed, drop what was made of them and begin at 0. While
   * `status().documentsAt` is not 0 there are documents that no record here tells of: read
   * `documents()`.
   */
  async *records(after = 0): AsyncGenerator<LogRecord> {
    for await (const stood of this.#journal.records(after)) yield logRecord(stood);
  }

  /**
   * Documents as they stand, of one type or of all, with own work that waits for an answer laid on
   * top: what to show, whether this device holds its whole account or a part of it.
   */
  async documents(type: string | null = null): Promise<readonly Document[]> {
    const found = await this.#journal.held.standing(type, true);
    return found.filter((one) => one.type !== SOLD).map(documentIn);
  }

  /**
   * Stock on hand in thousandths: the newest stock-take and movements less every sale since, those
   * that this device does not hold and those that it has not sent included.
   */
  onHandE3(product: string): Promise<number> {
    return this.#journal.held.onHandE3(product);
  }

  /** Own events that are not in the log, with the reason, newest first. */
  async rejected(): Promise<readonly Rejected[]> {
    return (await this.#journal.aside()).map(([own, answer]) => rejectedOf(own, answer));
  }

  /** Counts and digests per type of document of everything that stands in the log here. */
  digest(): Promise<readonly SectionDigest[]> {
    return this.#journal.held.sections();
  }

  status(): Status {
    const { place, pending } = this.#journal;
    const { mode, text, serverPosition } = this.#link;
    return {
      mode,
      text,
      pending,
      acknowledged: this.#journal.count(State.acknowledged),
      quarantined: this.#journal.count(State.quarantined),
      refused: this.#journal.count(State.refused),
      cursor: place.cursor,
      serverPosition: Math.max(serverPosition, place.reach),
      level: this.#journal.level(serverPosition),
      skewMs: place.skewMs,
      skewText: skewWords(place.skewMs),
      lastSyncMs: place.syncedMs || null,
      history: place.history,
      scope: place.scope,
      storedMs: place.storedMs || null,
      documentsAt: place.documentsAt,
      fetching: this.#link.fetching,
    };
  }

  /** Calls `listener` after every change of the status; gives the function that ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // Syncing ----------------------------------------------------------------------------------------

  /** Connects now and stays connected, for as long as it takes. Throws `misuse` before enrolment. */
  connect(): void {
    const identity = this.#journal.identity;
    if (identity === null) throw new ReplicaError("misuse", "enrol this device first");
    this.#link.start(syncUrl(identity.url));
  }

  /** Ends syncing; unsent work waits here. */
  disconnect(): Promise<void> {
    return this.#link.stop();
  }

  /**
   * One round: sends everything, takes in everything, compares digests.
   *
   * Throws `peer_gone` with the reason when there is no connection or the time is over, `revoked`,
   * `forbidden` or `upgrade_required` when the server refuses this device. What was done stays
   * done, and the next round goes on from there. Rounds take turns.
   */
  sync(timeoutMs = 60_000): Promise<SyncResult> {
    const turn = this.#turn.then(() => this.#sync(timeoutMs));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #sync(timeoutMs: number): Promise<SyncResult> {
    const link = this.#link;
    const started = !link.running;
    const before = link.counts;
    try {
      const { position, equal } = await this.#round(timeoutMs);
      const now = link.counts;
      return {
        sent: now.sent - before.sent,
        received: now.received - before.received,
        quarantined: now.quarantined - before.quarantined,
        refused: now.refused - before.refused,
        position,
        equal,
      };
    } finally {
      link.forgetProof();
      if (started) await link.stop();
    }
  }

  #round(timeoutMs: number): Promise<Proof> {
    const link = this.#link;
    return new Promise((resolve, reject) => {
      const end = (act: () => void): void => {
        clearTimeout(timer);
        forget();
        act();
      };
      const give = (code: ReplicaError["code"]): void => {
        end(() => reject(new ReplicaError(code, link.text, { cause: link.failure ?? undefined })));
      };
      const timer = setTimeout(() => give("peer_gone"), timeoutMs);
      const forget = this.onChange(() => {
        const { mode } = link;
        if (mode === "failed") give("storage");
        else if (mode === "revoked" || mode === "forbidden" || mode === "upgrade_required")
          give(mode);
        else if (link.failures >= SYNC_CONNECTIONS_MAX) give("peer_gone");
      });
      link.prove((proof) => end(() => resolve(proof)));
      try {
        this.connect();
      } catch (error) {
        end(() => reject(error as Error));
      }
    });
  }

  // By hand ----------------------------------------------------------------------------------------

  /**
   * Unsent work as a file that the office imports; with `everything` all this device ever said, for
   * a server that lost some. Nothing changes here. Throws `misuse` when there is nothing to carry.
   */
  async export(scope: "unsent" | "everything" = "unsent"): Promise<Uint8Array<ArrayBuffer>> {
    const { identity, place } = this.#journal;
    if (identity === null) throw new ReplicaError("misuse", "enrol this device first");
    const chains = await this.#journal.chains(scope === "everything");
    return encodeWork(identity, place, chains, { madeMs: this.#now(), software: this.#software });
  }

  /**
   * Takes in the file that came back from an import: the work it answers is synced. Harmless a
   * second time and after a sync. Throws `malformed`, `forbidden` or `misuse` with the reason when
   * it is no receipt for this device; then nothing changed.
   */
  async takeReceipt(file: Uint8Array): Promise<Receipt> {
    const { identity, place } = this.#journal;
    if (identity === null) throw new ReplicaError("misuse", "enrol this device first");
    const receipt = await decodeReceipt(file, identity, place);
    const connected = this.#link.running;
    await this.disconnect();
    try {
      const settled = await takeAnswers(this.#journal, receipt.answers);
      const of = (state: State): number => settled.filter((one) => one.state === state).length;
      return {
        synced: of(State.acknowledged),
        quarantined: of(State.quarantined),
        refused: of(State.refused),
        ignored: receipt.events - settled.length,
      };
    } finally {
      if (connected) this.connect();
      this.#changed();
    }
  }

  #grown(): void {
    this.#link.offer();
    this.#changed();
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

function fact<K extends DeviceKind>(kind: K, payload: PayloadOf<K>, deps: readonly string[]): Fact {
  const known = CATALOGUE[kind];
  if (known === undefined || known.from !== "anybody") {
    throw new ReplicaError("misuse", `${kind} is not a device's to say`);
  }
  if (deps.length > DEPS_MAX) {
    throw new ReplicaError("misuse", `an event names at most ${DEPS_MAX} others`);
  }
  return {
    kind,
    version: known.version,
    payload: encodePayload(kind, payload),
    deps: deps.map((dep) => bytesOf(unhex(dep), HASH_BYTES)),
  };
}

function logRecord(stood: Stood): LogRecord {
  const event = decodeEvent(stood.data);
  const base: RecordBase = {
    at: stood.at,
    id: hex(stood.id),
    position: stood.position,
    device: hex(event.device),
    epoch: event.epoch,
    seq: event.seq,
    origin: ORIGINS[stood.origin] ?? "import",
    atMs: stampMs(stood.mergeStamp),
    tag: hex(stood.mergeStamp) + hex(stood.id),
    disputed: stood.disputed,
    receivedMs: stood.receivedMs,
    deps: event.deps.map(hex),
  };
  const { kind, version, payload } = event;
  const said = readable(() => decodePayload(event));
  if (said === null) return { ...base, known: false, kind, version, payload };
  return { ...base, known: true, kind, payload: said } as unknown as LogRecord;
}

function documentIn(stated: Stated): Document {
  const facts = factsOf(stated).map(({ kind, tag, origin, payload, deps }) => ({
    kind,
    payload,
    id: hex(tag.subarray(STAMP_BYTES)),
    tag: hex(tag),
    atMs: stampMs(tag),
    origin: ORIGINS[origin] ?? "import",
    deps: deps.map(hex),
  }));
  return { type: stated.type, id: stated.id, facts: facts as unknown as HeldFact[] };
}

function rejectedOf({ id, event }: Own, answer: Answer): Rejected {
  const payload = isKind(event.kind) ? readable(() => decodePayload(event)) : null;
  return {
    id: hex(id),
    kind: event.kind,
    about: payload === null ? "" : documentOf(event.kind, payload as ValueMap),
    state: answer.state === State.quarantined ? "quarantined" : "refused",
    code: answer.code,
    reason: answer.detail || answer.code,
    fix: FIXES.get(answer.code) ?? FIX_DEFAULT,
  };
}
