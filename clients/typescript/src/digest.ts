/**
 * States of documents and the digests over them, for proving that two sides hold the same
 * (wire-protocol.md §7). A state is made of the facts that may still matter, in merge order.
 */

import { compare, concat, type Bytes } from "./bytes.ts";
import { decodeEvent, sha256 } from "./event.ts";
import type { SectionDigest } from "./frames.ts";
import { CATALOGUE, decodePayload, isKind, type From } from "./kinds.ts";
import { pack, type Value, type ValueMap } from "./msgpack.ts";

/** What a digest is made of: an event in the log, with what the door decided. */
export interface Evidence {
  readonly id: Uint8Array;
  readonly data: Uint8Array;
  readonly mergeStamp: Uint8Array;
  readonly origin: number;
}

export interface DocumentState {
  readonly type: string;
  readonly id: string;
  readonly state: Bytes;
  readonly hash: Bytes;
}

interface Fact {
  readonly kind: string;
  readonly tag: Bytes;
  readonly origin: number;
  readonly payload: ValueMap;
  readonly bytes: Uint8Array;
  readonly deps: readonly Uint8Array[];
}

type Keep = (facts: readonly Fact[]) => Iterable<Fact>;

const WEB = 2;
const SINK = 3;
const WITH_DEPS = new Set(["order.committed", "order.amended"]);
const ORIGIN_OF: Readonly<Record<From, number | null>> = { anybody: null, sink: SINK, web: WEB };

const oldest =
  (count: number): Keep =>
  (facts) =>
    facts.slice(0, count);
const newest =
  (count: number): Keep =>
  (facts) =>
    facts.slice(-count);

/** Kinds that are looked at together, and which of their facts (oldest first) stay. */
const KEPT: readonly (readonly [kinds: readonly string[], keep: Keep])[] = [
  [["order.drafted", "order.changed"], byField],
  ...["customer", "product", "class", "department"].flatMap((type) => [
    [[`${type}.created`, `${type}.changed`], byField] as const,
    [[`${type}.deleted`, `${type}.restored`], existence] as const,
  ]),
  ...Object.entries(CATALOGUE).flatMap(([kind, { from }]) => {
    return from === "sink" ? [[[kind], perSystem] as const] : [];
  }),
  [["stock.counted", "stock.moved"], stock],
  [["order.line_put", "order.line_removed"], oldest(20_000)],
  [["order.committed"], oldest(4)],
  [["order.amended"], newest(4)],
  [["order.cancelled"], newest(1)],
  [["quote.committed"], newest(4)],
  [["quote.withdrawn"], newest(1)],
  [["return.committed"], oldest(4)],
  [["payment.recorded"], oldest(9)],
  [["note.edited"], oldest(5_000)],
  [["device.enrolled"], newest(9)],
  [["device.revoked"], newest(1)],
  [["device.scoped"], newest(1)],
  [["sync.finished"], newest(1)],
];

/** Every kind that is in a document. */
export const FOLDED: ReadonlySet<string> = new Set(KEPT.flatMap(([kinds]) => kinds));

function byField(facts: readonly Fact[]): Set<Fact> {
  const kept = new Set(facts.slice(-9));
  const perField = new Map<string, number>();
  for (const fact of [...facts].reverse()) {
    for (const field of Object.keys(fact.payload["fields"] as ValueMap)) {
      const seen = perField.get(field) ?? 0;
      perField.set(field, seen + 1);
      if (seen < 9) kept.add(fact);
    }
  }
  return kept;
}

function existence(facts: readonly Fact[]): Fact[] {
  const web = facts.filter((fact) => fact.origin === WEB);
  return [...web.slice(-9), ...facts.filter((fact) => fact.origin !== WEB).slice(-9)];
}

function perSystem(facts: readonly Fact[]): Iterable<Fact> {
  return new Map(facts.map((fact) => [fact.payload["system"], fact])).values();
}

function stock(facts: readonly Fact[]): Fact[] {
  const counts = facts.filter((fact) => fact.kind === "stock.counted");
  const since = counts.at(-1)?.tag ?? new Uint8Array(0);
  const moves = facts.filter((one) => one.kind === "stock.moved" && compare(one.tag, since) > 0);
  return [...counts.slice(-9), ...moves];
}

/** Every document that `records` make, whatever their order. */
export function documents(records: Iterable<Evidence>): DocumentState[] {
  const facts = new Map<string, Fact[]>();
  for (const record of records) {
    const fact = factOf(record);
    if (fact === null) continue;
    const name = documentOf(fact.kind, fact.payload);
    const others = facts.get(name);
    if (others) others.push(fact);
    else facts.set(name, [fact]);
  }
  return Array.from(facts, ([name, its]) => {
    const [type, id] = splitName(name);
    const state = stateOf(its.sort((one, other) => compare(one.tag, other.tag)));
    return { type, id, state, hash: sha256(pack([type, id, state])) };
  });
}

/** One line for every type of documents, sorted by name, as DIGEST carries them. */
export function sections(states: Iterable<DocumentState>): SectionDigest[] {
  const sums = new Map<string, { count: number; sum: bigint }>();
  for (const { type, hash } of states) {
    const so = sums.get(type) ?? { count: 0, sum: 0n };
    sums.set(type, { count: so.count + 1, sum: BigInt.asUintN(256, so.sum + numberOf(hash)) });
  }
  return [...sums.entries()]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([section, { count, sum }]) => ({ section, count, digest: bytesOfNumber(sum) }));
}

function factOf(record: Evidence): Fact | null {
  const event = decodeEvent(record.data);
  const allowed = isKind(event.kind) ? ORIGIN_OF[CATALOGUE[event.kind].from] : null;
  if (allowed !== null && allowed !== record.origin) return null;
  let payload: Value;
  try {
    payload = decodePayload(event);
  } catch {
    return null; // it breaks its rules: in no document (wire-protocol.md §7)
  }
  if (payload === null) return null;
  return {
    kind: event.kind,
    tag: concat(record.mergeStamp, record.id),
    origin: record.origin,
    payload: payload as ValueMap,
    bytes: event.payload,
    deps: WITH_DEPS.has(event.kind) ? event.deps : [],
  };
}

/** Type and id of the document an event belongs to, as `type/id`. */
export function documentOf(kind: string, payload: ValueMap): string {
  const type = kind.slice(0, kind.indexOf("."));
  if (type === "note") return `note/${String(payload["about_type"])}:${String(payload["about"])}`;
  const named = type === "stock" ? "product" : type === "sync" ? "run" : type;
  return `${type}/${String(payload[named])}`;
}

function splitName(name: string): [type: string, id: string] {
  const slash = name.indexOf("/");
  return [name.slice(0, slash), name.slice(slash + 1)];
}

function stateOf(facts: readonly Fact[]): Bytes {
  const state: Record<string, Value[]> = {};
  for (const [kinds, keep] of KEPT) {
    const these = facts.filter((fact) => kinds.includes(fact.kind));
    if (these.length === 0) continue;
    const kept = [...keep(these)].sort((one, other) => compare(one.tag, other.tag));
    for (const { kind, tag, origin, bytes, deps } of kept) {
      (state[kind] ??= []).push([tag, origin, bytes, deps]);
    }
  }
  return pack(state);
}

function numberOf(hash: Uint8Array): bigint {
  return hash.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function bytesOfNumber(value: bigint): Bytes {
  const bytes = new Uint8Array(32);
  let rest = value;
  for (let at = 31; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  return bytes;
}
