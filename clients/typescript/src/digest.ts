/**
 * States of documents and the digests over them, for proving that two sides hold the same
 * (wire-protocol.md §7). A state is made of the facts that may still matter, in merge order.
 */

import { compare, concat, hex, utf8, type Bytes } from "./bytes.ts";
import { malformed } from "./errors.ts";
import { bytesOf, countOf, decodeEvent, sha256 } from "./event.ts";
import type { SectionDigest } from "./frames.ts";
import { CATALOGUE, decodePayload, isKind, type From } from "./kinds.ts";
import { pack, unpack, type Value, type ValueMap } from "./msgpack.ts";

/** What a digest is made of: an event in the log, with what the door decided. */
export interface Evidence {
  readonly id: Uint8Array;
  readonly data: Uint8Array;
  readonly mergeStamp: Uint8Array;
  readonly origin: number;
}

/** A document as replicas keep it. */
export interface Stated {
  readonly type: string;
  readonly id: string;
  readonly state: Uint8Array;
}

export interface DocumentState extends Stated {
  readonly hash: Bytes;
}

/** What one event says of a document: `tag` is its merge stamp and id. */
export interface Fact {
  readonly kind: string;
  readonly tag: Uint8Array;
  readonly origin: number;
  readonly payload: ValueMap;
  readonly bytes: Uint8Array;
  readonly deps: readonly Uint8Array[];
}

/** Raised whenever the rules below keep other facts. */
const MERGE_RULES_VERSION = 1;

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
  [["order.corrected"], perValue],
  [["quote.corrected"], perValue],
  [["twin.found"], oldest(1)],
  [["twin.decided"], newest(9)],
];

/** Every kind that is in a document. */
export const FOLDED: ReadonlySet<string> = new Set(KEPT.flatMap(([kinds]) => kinds));

/** Names the rules of this fold: states of a server that names others are of no use (§12). */
export const FINGERPRINT = fingerprint();

function fingerprint(): string {
  const kinds = Object.entries(CATALOGUE).map(([kind, { version }]) => `'${kind}/${version}'`);
  return hex(sha256(utf8(`${MERGE_RULES_VERSION}\n[${kinds.sort().join(", ")}]`)));
}

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

function perValue(facts: readonly Fact[]): Iterable<Fact> {
  return new Map(
    facts.map((fact) => [`${String(fact.payload["field"])} ${String(fact.payload["was"])}`, fact]),
  ).values();
}

function stock(facts: readonly Fact[]): Fact[] {
  const counts = facts.filter((fact) => fact.kind === "stock.counted");
  const since = counts.at(-1)?.tag ?? new Uint8Array(0);
  const moves = facts.filter((one) => one.kind === "stock.moved" && compare(one.tag, since) > 0);
  return [...counts.slice(-9), ...moves];
}

/**
 * Documents as they are when `records` are folded into those of `base`, in whatever order. Throws
 * `malformed` for a state that is none.
 */
export function documents(
  records: Iterable<Evidence>,
  base: Iterable<Stated> = [],
): DocumentState[] {
  const facts = new Map<string, Fact[]>();
  for (const record of records) {
    const fact = factOf(record);
    if (fact === null) continue;
    const name = documentOf(fact.kind, fact.payload);
    const others = facts.get(name);
    if (others) others.push(fact);
    else facts.set(name, [fact]);
  }
  const untouched: DocumentState[] = [];
  for (const { type, id, state } of base) {
    const fresh = facts.get(nameOf({ type, id }));
    if (fresh) fresh.push(...factsOf({ state }));
    else untouched.push({ type, id, state, hash: hashOf({ type, id, state }) });
  }
  const folded = Array.from(facts, ([name, its]) => {
    const [type, id] = splitName(name);
    const state = stateOf(once(its));
    return { type, id, state, hash: hashOf({ type, id, state }) };
  });
  return [...untouched, ...folded];
}

export function hashOf({ type, id, state }: Stated): Bytes {
  return sha256(pack([type, id, state]));
}

/** Facts in merge order; one that was in the state already counts once. */
function once(facts: Fact[]): Fact[] {
  facts.sort((one, other) => compare(one.tag, other.tag));
  return facts.filter(({ tag }, at) => at === 0 || compare(tag, facts[at - 1]!.tag) !== 0);
}

/** The facts of a state, oldest first. Throws `malformed`. */
export function factsOf({ state }: Pick<Stated, "state">): readonly Fact[] {
  const facts = Object.entries(unpack(state) as ValueMap).flatMap(([kind, its]) => {
    if (!isKind(kind) || !Array.isArray(its)) throw malformed(`${kind} is in no state`);
    const { version } = CATALOGUE[kind];
    return its.map((one: Value): Fact => {
      const [tag, origin, payload, deps] = one as readonly Value[];
      const bytes = bytesOf(payload);
      const said = decodePayload({ kind, version, payload: bytes });
      return {
        kind,
        tag: bytesOf(tag),
        origin: countOf(origin),
        payload: said as unknown as ValueMap,
        bytes,
        deps: (deps as readonly Value[]).map((dep) => bytesOf(dep)),
      };
    });
  });
  return facts.sort((one, other) => compare(one.tag, other.tag));
}

/** The name of the document that an event is about; null where that cannot be read. */
export function touched(data: Uint8Array): string | null {
  const event = decodeEvent(data);
  const payload = readable(() => decodePayload(event));
  return payload === null ? null : documentOf(event.kind, payload as unknown as ValueMap);
}

export function nameOf({ type, id }: Pick<Stated, "type" | "id">): string {
  return `${type}/${id}`;
}

/** One line for every type of documents, sorted by name, as DIGEST carries them. */
export function sections(states: Iterable<Pick<DocumentState, "type" | "hash">>): SectionDigest[] {
  const totals = new Totals();
  for (const { type, hash } of states) totals.count(type, hash, 1);
  return totals.sections();
}

/** Counts and sums of hashes, kept as documents come and go. */
export class Totals {
  readonly #sums = new Map<string, { readonly count: number; readonly sum: bigint }>();

  count(type: string, hash: Uint8Array, by: 1 | -1): void {
    const { count, sum } = this.#sums.get(type) ?? { count: 0, sum: 0n };
    const moved = BigInt.asUintN(256, sum + BigInt(by) * BigInt(`0x${hex(hash)}`));
    if (count + by === 0) this.#sums.delete(type);
    else this.#sums.set(type, { count: count + by, sum: moved });
  }

  sections(): SectionDigest[] {
    return [...this.#sums.entries()]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([section, { count, sum }]) => ({ section, count, digest: bytesOfNumber(sum) }));
  }
}

function factOf(record: Evidence): Fact | null {
  const event = decodeEvent(record.data);
  const allowed = isKind(event.kind) ? ORIGIN_OF[CATALOGUE[event.kind].from] : null;
  if (allowed !== null && allowed !== record.origin) return null;
  const payload = readable(() => decodePayload(event));
  if (payload === null) return null; // unknown, or it breaks its rules (wire-protocol.md §7)
  return {
    kind: event.kind,
    tag: concat(record.mergeStamp, record.id),
    origin: record.origin,
    payload: payload as unknown as ValueMap,
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

/** Null for what cannot be read. */
export function readable<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

function bytesOfNumber(value: bigint): Bytes {
  const bytes = new Uint8Array(32);
  let rest = value;
  for (let at = 31; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  return bytes;
}
