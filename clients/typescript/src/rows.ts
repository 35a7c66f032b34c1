/** What the rows of a journal hold, and how answers and segments are spelled out one by one. */

import { same } from "./bytes.ts";
import type { Made } from "./chain.ts";
import { STAMP_BYTES } from "./clock.ts";
import { malformed } from "./errors.ts";
import { chainAfter, bytesOf, countOf, decodeEvent, NO_HASH, sha256, wordOf } from "./event.ts";
import { Outcome, type Decision, type Segment, type Verdict } from "./frames.ts";
import { pack, packAll, unpack, unpackAll, type Value } from "./msgpack.ts";
import { STORAGE_READ_ROWS } from "./limits.ts";
import type { Change, Row } from "./ports.ts";

export interface Identity {
  readonly account: Uint8Array;
  readonly device: Uint8Array;
  readonly token: string;
  readonly name: string;
  readonly url: string;
}

/** How far the device got, in which history, and what was measured on the way. */
export interface Place {
  readonly logId: Uint8Array;
  readonly generation: number;
  readonly cursor: number;
  readonly chain: Uint8Array;
  /** The highest position of anything held; own events may lie beyond the cursor. */
  readonly reach: number;
  readonly skewMs: number;
  /** Device clock when everything was last exchanged; 0 for never. */
  readonly syncedMs: number;
  /** The last row of `arrival`. */
  readonly arrivals: number;
  /** Raised whenever arrivals were dropped to be fetched again. */
  readonly history: number;
  /** Version of the scope that the documents are held by; 0 while the log is followed. */
  readonly scope: number;
  /** Documents were folded by the server up to here, and arrivals count from here on; 0 for none. */
  readonly documentsAt: number;
  /** Device clock when the documents were last equal to what the scope says; 0 while they are not. */
  readonly storedMs: number;
  /** What the newest page of a first sync said of what is of use next; empty when that is over. */
  readonly ahead: string;
}

/** How far one type of documents is while many are on their way. */
export interface Progress {
  readonly section: string;
  readonly done: number;
  readonly total: number;
}

/** Up to here what is held is the fold of the log; documents may be ahead of the cursor. */
export function heldThrough({ cursor, documentsAt }: Place): number {
  return Math.max(cursor, documentsAt);
}

/** Documents on their way in bulk: what was promised, and how many chunks of it are in. */
export interface Importing {
  readonly manifest: Uint8Array;
  readonly done: number;
  /** The position that the manifest leads to. */
  readonly through: number;
}

/** One epoch of one device: its events are the rows from `firstN` on. */
export interface Life {
  readonly firstN: number;
  readonly device: Uint8Array;
  readonly epoch: number;
}

export const State = {
  pending: 0,
  acknowledged: 1,
  quarantined: 2,
  refused: 3,
  remade: 4,
} as const;
export type State = (typeof State)[keyof typeof State];

export interface Answer {
  readonly n: number;
  readonly state: State;
  readonly position: number;
  /** The merge stamp, where it is not the raw one. */
  readonly stamp: Uint8Array | null;
  readonly flags: number;
  readonly receivedMs: number;
  readonly code: string;
  readonly detail: string;
}

/** An own event with its row. */
export interface Own extends Made {
  readonly n: number;
}

/** A record of the log, wherever it came from. */
export interface Record {
  readonly position: number;
  readonly id: Uint8Array;
  readonly data: Uint8Array;
  readonly mergeStamp: Uint8Array;
  readonly disputed: boolean;
  readonly origin: number;
  readonly receivedMs: number;
}

export interface Stood extends Record {
  /** Where reading goes on after this one; grows with every record of one `history`. */
  readonly at: number;
}

export const StateKey = { identity: 0, place: 1, lives: 2, importing: 3 } as const;

export const NOWHERE: Place = {
  logId: new Uint8Array(0),
  generation: 0,
  cursor: 0,
  chain: NO_HASH,
  reach: 0,
  skewMs: 0,
  syncedMs: 0,
  arrivals: 0,
  history: 1,
  scope: 0,
  documentsAt: 0,
  storedMs: 0,
  ahead: "",
};

// Spelling out -----------------------------------------------------------------------------------

/** One answer per event of a RESULT. */
export function spell(
  first: number,
  verdicts: readonly Verdict[],
  decisions: readonly Decision[],
): Answer[] {
  const decided = new Map(decisions.map((decision) => [decision.index, decision]));
  const answers: Answer[] = [];
  for (const verdict of verdicts) {
    const stands = verdict.outcome === Outcome.accepted || verdict.outcome === Outcome.duplicate;
    for (let step = 0; step < verdict.count; step++) {
      const decision = decided.get(answers.length);
      answers.push({
        n: first + answers.length,
        state: stands
          ? State.acknowledged
          : verdict.outcome === Outcome.quarantined
            ? State.quarantined
            : State.refused,
        position: stands ? verdict.first_position + step : 0,
        stamp: decision?.stamp ?? null,
        flags: decision?.flags ?? 0,
        receivedMs: verdict.received_ms,
        code: verdict.code,
        detail: verdict.detail,
      });
    }
  }
  return answers;
}

export function* spellSegment(segment: Segment): Generator<Record> {
  let position = segment.first;
  for (const value of unpackAll(segment.records)) {
    const [data, merge, flags] = value as readonly Value[];
    const bytes = bytesOf(data);
    yield {
      position: position++,
      id: sha256(bytes),
      data: bytes,
      mergeStamp: merge === null ? decodeEvent(bytes).stamp : bytesOf(merge, STAMP_BYTES),
      disputed: (countOf(flags) & 1) === 1,
      origin: segment.origin,
      receivedMs: segment.received_ms,
    };
  }
}

/**
 * Segments as they come: each holds what it says, and where nothing of this device lies between
 * them the chain of the log runs through. Throws `malformed`.
 */
export function checkChain(from: Place, segments: readonly Segment[]): void {
  let { cursor, chain } = from;
  for (const segment of segments) {
    const ids = Array.from(spellSegment(segment), ({ id }) => id);
    if (ids.length !== segment.count) throw malformed("a segment that is not whole");
    const joins = segment.first === cursor + 1;
    if (joins && !same(chainAfter(chain, ids), segment.chain)) {
      throw malformed("a segment that is not the log's");
    }
    cursor = segment.first + segment.count - 1;
    chain = segment.chain;
  }
}

export function rejoin(records: readonly Record[]): Uint8Array {
  return packAll(
    records.map(({ data, mergeStamp, disputed }) => [data, mergeStamp, disputed ? 1 : 0]),
  );
}

/** Neighbours of whole numbers that follow each other. */
export function runs<T>(items: readonly T[], numberOf: (item: T) => number): T[][] {
  const found: T[][] = [];
  let expected = Number.NaN;
  for (const item of items) {
    if (numberOf(item) === expected) found.at(-1)!.push(item);
    else found.push([item]);
    expected = numberOf(item) + 1;
  }
  return found;
}

export function heard(n: number, own: Own, record: Record): Answer {
  const raw = same(own.event.stamp, record.mergeStamp);
  return {
    n,
    state: State.acknowledged,
    position: record.position,
    stamp: raw ? null : record.mergeStamp,
    flags: record.disputed ? 1 : 0,
    receivedMs: record.receivedMs,
    code: "",
    detail: "",
  };
}

export function remade(n: number): Answer {
  const nothing = { position: 0, stamp: null, flags: 0, receivedMs: 0, code: "", detail: "" };
  return { n, state: State.remade, ...nothing };
}

// Rows -----------------------------------------------------------------------------------------------

export function putAnswer(answer: Answer): Change {
  const { n, state, position, stamp, flags, receivedMs, code, detail } = answer;
  return {
    table: "answer",
    key: n,
    value: pack([state, position, stamp, flags, receivedMs, code, detail]),
  };
}

export function readAnswer({ key, value }: Row): Answer {
  const [state, position, stamp, flags, receivedMs, code, detail] = unpack(
    value,
  ) as readonly Value[];
  return {
    n: key,
    state: countOf(state) as State,
    position: countOf(position),
    stamp: stamp === null ? null : bytesOf(stamp),
    flags: countOf(flags),
    receivedMs: receivedMs as number,
    code: wordOf(code),
    detail: wordOf(detail),
  };
}

export function putIdentity(identity: Identity): Change {
  const { account, device, token, name, url } = identity;
  const value = pack([account, device, token, name, url]);
  return { table: "state", key: StateKey.identity, value };
}

export function readIdentity(value: Value): Identity {
  const [account, device, token, name, url] = value as readonly Value[];
  return {
    account: bytesOf(account),
    device: bytesOf(device),
    token: wordOf(token),
    name: wordOf(name),
    url: wordOf(url),
  };
}

export function putPlace(place: Place): Change {
  const { logId, generation, cursor, chain, reach, skewMs, syncedMs, arrivals, history } = place;
  const { scope, documentsAt, storedMs, ahead } = place;
  const value = pack([
    ...[logId, generation, cursor, chain, reach, skewMs, syncedMs, arrivals, history],
    ...[scope, documentsAt, storedMs, ahead],
  ]);
  return { table: "state", key: StateKey.place, value };
}

export function readPlace(value: Value): Place {
  const [logId, generation, cursor, chain, reach, skewMs, syncedMs, arrivals, history, ...later] =
    value as readonly Value[];
  // Missing in what was stored before there were scopes.
  const [scope = 0, documentsAt = 0, storedMs = 0, ahead = ""] = later;
  return {
    logId: bytesOf(logId),
    generation: countOf(generation),
    cursor: countOf(cursor),
    chain: bytesOf(chain),
    reach: countOf(reach),
    skewMs: skewMs as number,
    syncedMs: syncedMs as number,
    arrivals: countOf(arrivals),
    history: countOf(history),
    scope: countOf(scope),
    documentsAt: countOf(documentsAt),
    storedMs: storedMs as number,
    ahead: wordOf(ahead),
  };
}

/** Null is that nothing is on its way. */
export function putImporting(importing: Importing | null): Change {
  if (importing === null)
    return { table: "state", from: StateKey.importing, to: StateKey.importing };
  const { manifest, done, through } = importing;
  return { table: "state", key: StateKey.importing, value: pack([manifest, done, through]) };
}

export function readImporting(value: Value): Importing {
  const [manifest, done, through] = value as readonly Value[];
  return { manifest: bytesOf(manifest), done: countOf(done), through: countOf(through) };
}

export function putLives(lives: readonly Life[]): Change {
  const value = pack(lives.map(({ firstN, device, epoch }) => [firstN, device, epoch]));
  return { table: "state", key: StateKey.lives, value };
}

export function readLives(value: Value): Life[] {
  return (value as readonly Value[]).map((life) => {
    const [firstN, device, epoch] = life as readonly Value[];
    return { firstN: countOf(firstN), device: bytesOf(device), epoch: countOf(epoch) };
  });
}

/** The origin of what devices say. */
export const DEVICE_ORIGIN = 1;

export const OWN = 0;
export const FOREIGN = 1;

/** A row of `arrival`: `[OWN, first row, count]` or `[FOREIGN, segment]`. */
export type Arrival = readonly Value[];

export function ownArrivals(rows: readonly number[]): Arrival[] {
  const arrived: Arrival[] = [];
  for (const run of runs(rows, (n) => n)) {
    for (let at = 0; at < run.length; at += STORAGE_READ_ROWS) {
      arrived.push([OWN, run[at]!, Math.min(STORAGE_READ_ROWS, run.length - at)]);
    }
  }
  return arrived;
}

/** Rows begin at 1, so that reading after 0 gives everything. */
export function putArrivals(arrived: readonly Arrival[], before: number): Change[] {
  return arrived.map((row, at) => ({ table: "arrival", key: before + at + 1, value: pack(row) }));
}
