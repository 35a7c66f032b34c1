/** The catalogue: every kind of event, its payload and its rules (wire-protocol.md §2.3, §2.4). */

import { same } from "./bytes.ts";
import { malformed, ReplicaError } from "./errors.ts";
import type { Event } from "./event.ts";
import { totalMinor } from "./money.ts";
import { pack, unpack, type Value } from "./msgpack.ts";
import {
  boolean,
  bytes,
  date,
  integer,
  list,
  mapOf,
  maybe,
  oneOf,
  orNil,
  said,
  struct,
  text,
  tuple,
  type Of,
  type Schema,
  type Struct,
} from "./schema.ts";

const SAFE = Number.MAX_SAFE_INTEGER;

const id = text("id", { max: 64, pattern: /^[A-Za-z0-9._:-]+$/ });
const idOrEmpty = text("id or empty", { max: 64, pattern: /^[A-Za-z0-9._:-]*$/ });
const NAME = /^[^\x00-\x1f\x7f]*$/;
const name = text("name", { max: 500, pattern: NAME });
const number = text("number", { max: 21, pattern: NAME });
const longText = text("long text", { max: 4_000, pattern: /^[^\x00]*$/ });
const currency = text("currency", { max: 3, pattern: /^[A-Z]{3}$/ });
const hexDevice = text("hex device id", { max: 32, pattern: /^[0-9a-f]{32}$/ });
const hexHash = text("hex hash or empty", { max: 64, pattern: /^(?:[0-9a-f]{64})?$/ });
const int = integer("integer", -SAFE, SAFE);
const count = integer("integer ≥ 0", 0, SAFE);
const time = integer("integer 0..253402300799999", 0, 253_402_300_799_999);
const hash = bytes("bytes 32", 32, 32);
const chosen = list("array ≤ 4000 of id", id, { min: 0, max: 4_000 });

export const Address = struct("Address", {
  line1: maybe(name, ""),
  line2: maybe(name, ""),
  city: maybe(name, ""),
  region: maybe(name, ""),
  postal_code: maybe(name, ""),
  country: maybe(name, ""),
});

export const CustomerFields = struct("CustomerFields", {
  name: said(name),
  status: said(oneOf("customer", "prospect")),
  company: said(name),
  contact: said(name),
  email: said(name),
  phone: said(name),
  address: said(Address),
  ship_address: said(Address),
  currency: said(currency),
  segment: said(name),
  tax_exempt: said(boolean),
  rep: said(name),
});

export const ProductFields = struct("ProductFields", {
  name: said(name),
  sku: said(name),
  barcode: said(name),
  description: said(longText),
  category: said(name),
  unit: said(name),
  price_e4: said(int),
  currency: said(currency),
  taxable: said(boolean),
});

export const LabelFields = struct("LabelFields", { name: said(name), parent: said(id) });

export const OrderFields = struct("OrderFields", {
  customer: said(id),
  number: said(number),
  currency: said(currency),
  date: said(date(false)),
  delivery_date: said(date(false)),
  delivery_address: said(Address),
  contact: said(name),
  rep: said(name),
  payment_method: said(name),
  po_number: said(name),
  memo: said(longText),
  note: said(longText),
  discount_minor: said(count),
  shipping_minor: said(count),
  fees_minor: said(count),
  department: said(name),
  class: said(name),
  signature: said(hexHash),
});

export const LineFields = struct("LineFields", {
  product: said(id),
  qty_e3: said(count),
  price_e4: said(int),
  text: said(longText),
});

/** `[id, product, qty_e3, price_e4, text]` */
export const SealedLine = tuple("SealedLine", [id, id, int, int, longText]);

export const Content = struct("Content", {
  number,
  customer: id,
  currency,
  date: date(false),
  total_minor: int,
  lines: list("array 1..2000 of *SealedLine*", SealedLine, { min: 1, max: 2_000 }),
  delivery_date: maybe(date(true), ""),
  delivery_address: maybe(orNil(Address), null),
  contact: maybe(name, ""),
  rep: maybe(name, ""),
  payment_method: maybe(name, ""),
  po_number: maybe(name, ""),
  memo: maybe(longText, ""),
  note: maybe(longText, ""),
  discount_minor: maybe(count, 0),
  shipping_minor: maybe(count, 0),
  fees_minor: maybe(count, 0),
  department: maybe(name, ""),
  class: maybe(name, ""),
  signature: maybe(hexHash, ""),
  offline: maybe(boolean, false),
});
export type Content = Of<typeof Content.shape>;

export const STRUCTS = {
  CustomerFields,
  Address,
  ProductFields,
  LabelFields,
  OrderFields,
  LineFields,
  Content,
};

export type From = "anybody" | "sink" | "web";

interface Kind<P extends Struct<never>> {
  readonly from: From;
  readonly version: number;
  readonly payload: P;
  /** Rules between values. Throws `misuse`. */
  readonly check?: (payload: never) => void;
}

type PayloadShape = Readonly<Record<string, Schema<unknown>>>;

interface Declared<S extends PayloadShape, F extends From> {
  readonly from: F;
  readonly version: number;
  readonly payload: Struct<S>;
  readonly check?: (payload: Of<S>) => void;
}

function kind<const S extends PayloadShape>(
  shape: S,
  check?: (payload: Of<S>) => void,
): Declared<S, "anybody"> {
  const payload = struct("payload", shape);
  return { from: "anybody", version: 1, payload, ...(check && { check }) };
}

function kindFrom<const S extends PayloadShape, F extends From>(
  from: F,
  shape: S,
  check?: (payload: Of<S>) => void,
): Declared<S, F> {
  return { ...kind(shape, check), from };
}

const linked = { system: id, external_id: name };
const estimated = { system: id, external_id: name, number: name, total_minor: int };
const parked = { system: id, code: id, cause: longText, fix: longText };
const followed = (...states: readonly [string, ...string[]]) => ({
  system: id,
  state: oneOf(...states),
  cause: maybe(longText, ""),
  fix: maybe(longText, ""),
});
const sold = {
  ...followed("changed", "deleted", "differs", "invoiced", "rejected", "standing"),
  document: maybe(name, ""),
  number: maybe(name, ""),
};
const listed = followed("deleted", "inactive", "merged", "standing");

const correctedFields = {
  field: oneOf("customer", "number", "product"),
  was: name,
  now: name,
};

export const CATALOGUE = {
  "customer.created": kind({ customer: id, fields: CustomerFields }),
  "customer.changed": kind({ customer: id, fields: CustomerFields }, changesSomething),
  "customer.deleted": kind({ customer: id }),
  "customer.restored": kind({ customer: id }),
  "customer.linked": kindFrom("sink", { customer: id, ...linked }),
  "customer.followed": kindFrom("sink", { customer: id, ...listed }),
  "product.created": kind({ product: id, fields: ProductFields }),
  "product.changed": kind({ product: id, fields: ProductFields }, changesSomething),
  "product.deleted": kind({ product: id }),
  "product.restored": kind({ product: id }),
  "product.linked": kindFrom("sink", { product: id, ...linked }),
  "product.followed": kindFrom("sink", { product: id, ...listed }),
  "class.created": kind({ class: id, fields: LabelFields }),
  "class.changed": kind({ class: id, fields: LabelFields }, changesSomething),
  "class.deleted": kind({ class: id }),
  "class.restored": kind({ class: id }),
  "class.linked": kindFrom("sink", { class: id, ...linked }),
  "department.created": kind({ department: id, fields: LabelFields }),
  "department.changed": kind({ department: id, fields: LabelFields }, changesSomething),
  "department.deleted": kind({ department: id }),
  "department.restored": kind({ department: id }),
  "department.linked": kindFrom("sink", { department: id, ...linked }),
  "stock.counted": kind({ product: id, qty_e3: int }),
  "stock.moved": kind({ product: id, qty_e3: int, reason: maybe(name, "") }),
  "order.drafted": kind({ order: id, fields: OrderFields }),
  "order.changed": kind({ order: id, fields: OrderFields }),
  "order.line_put": kind({ order: id, line: id, fields: LineFields }),
  "order.line_removed": kind({
    order: id,
    line: id,
    seen: list("array ≤ 4096 of bytes 32", hash, { min: 0, max: 4_096 }),
  }),
  "order.committed": kind({ order: id, content: Content }, isSale),
  "order.amended": kind({ order: id, content: Content }, isSale),
  "order.cancelled": kind({ order: id, reason: maybe(longText, "") }),
  "order.corrected": kindFrom("web", { order: id, ...correctedFields }, staysWhatItIs),
  "order.estimated": kindFrom("sink", { order: id, ...estimated }),
  "order.parked": kindFrom("sink", { order: id, ...parked }),
  "order.followed": kindFrom("sink", { order: id, ...sold }),
  "quote.committed": kind({ quote: id, content: Content }, isSale),
  "quote.withdrawn": kind({ quote: id, reason: maybe(longText, "") }),
  "quote.corrected": kindFrom("web", { quote: id, ...correctedFields }, staysWhatItIs),
  "quote.estimated": kindFrom("sink", { quote: id, ...estimated }),
  "quote.parked": kindFrom("sink", { quote: id, ...parked }),
  "quote.followed": kindFrom("sink", { quote: id, ...sold }),
  "return.committed": kind({ return: id, content: Content }, isReturn),
  "payment.recorded": kind(
    {
      payment: id,
      order: idOrEmpty,
      customer: idOrEmpty,
      method: name,
      amount_minor: int,
      currency,
    },
    belongsToSomething,
  ),
  "note.edited": kind({
    about_type: oneOf("customer", "order", "payment", "product", "quote", "return"),
    about: id,
    update: bytes("bytes 1..32768", 1, 32_768),
  }),
  "device.enrolled": kindFrom("web", { device: hexDevice, name, user: name }),
  "device.revoked": kindFrom("web", { device: hexDevice }),
  "device.scoped": kindFrom(
    "web",
    {
      device: hexDevice,
      version: count,
      customers: maybe(orNil(chosen), null),
      prospects: maybe(orNil(chosen), null),
      products: maybe(orNil(chosen), null),
      orders: maybe(oneOf("own", "team"), "team"),
      until_ms: maybe(time, 0),
      strict: maybe(boolean, false),
      locked: maybe(boolean, false),
      without: maybe(chosen, []),
      leaving: maybe(mapOf("map ≤ 4000 of id to hex device id", id, hexDevice, 4_000), {}),
    },
    scopeAscends,
  ),
  "twin.found": kindFrom(
    "web",
    {
      twin: id,
      of: oneOf("customer", "product"),
      first: id,
      second: id,
      field: oneOf("name", "sku"),
    },
    isPair,
  ),
  "twin.decided": kindFrom(
    "web",
    { twin: id, choice: oneOf("apart", "ask", "same"), stays: maybe(idOrEmpty, "") },
    staysWhenTheSame,
  ),
  "sync.finished": kindFrom(
    "web",
    {
      run: id,
      started_ms: time,
      finished_ms: time,
      pushed: count,
      pulled: count,
      equal: boolean,
      report: mapOf("map ≤ 256 of id to long text", id, longText, 256),
    },
    endsAfterItStarted,
  ),
};

export type KindName = keyof typeof CATALOGUE;
/** What an event of kind `K` says. */
export type PayloadOf<K extends KindName> = Of<(typeof CATALOGUE)[K]["payload"]["shape"]>;
/** The kinds a device may write. */
export type DeviceKind = {
  [K in KindName]: (typeof CATALOGUE)[K]["from"] extends "anybody" ? K : never;
}[KindName];

export function isKind(kind: string): kind is KindName {
  return Object.hasOwn(CATALOGUE, kind);
}

/** Canonical bytes of a payload. Throws `misuse`, naming the field, when it breaks a rule. */
export function encodePayload<K extends KindName>(kind: K, payload: PayloadOf<K>): Uint8Array {
  return pack(canonical(kind, payload));
}

/**
 * What an event says; `null` for a kind or version this program does not know. Throws `malformed`
 * when the payload of a known kind is not canonical or breaks a rule.
 */
export function decodePayload(event: Pick<Event, "kind" | "version" | "payload">): Value {
  const { kind, version, payload } = event;
  if (!isKind(kind) || CATALOGUE[kind].version !== version) return null;
  const given = unpack(payload);
  try {
    if (same(pack(canonical(kind, given)), payload)) return given;
  } catch (cause) {
    throw malformed(
      `${kind}: ${cause instanceof ReplicaError ? cause.message : "no payload"}`,
      cause,
    );
  }
  throw malformed(`${kind}: the payload is not canonical`);
}

function canonical(kind: KindName, payload: unknown): Value {
  const known: Kind<Struct<never>> = CATALOGUE[kind] as unknown as Kind<Struct<never>>;
  const value = known.payload.canonical(payload, kind);
  known.check?.(value as never);
  return value;
}

function changesSomething(payload: { readonly fields: object }): void {
  if (Object.keys(payload.fields).length === 0) {
    throw new ReplicaError("misuse", "fields: an edit changes at least one field");
  }
}

function checkContent(content: Content): void {
  if (new Set(content.lines.map(([line]) => line)).size !== content.lines.length) {
    throw new ReplicaError("misuse", "content.lines: two lines have the same id");
  }
  const total = totalMinor(content);
  if (content.total_minor !== total) {
    throw new ReplicaError("misuse", `content.total_minor: the lines give ${total}`);
  }
}

function isSale({ content }: { readonly content: Content }): void {
  checkContent(content);
  if (content.lines.some(([, , qty]) => qty <= 0)) {
    throw new ReplicaError("misuse", "content.lines: a quantity is above zero");
  }
}

function isReturn({ content }: { readonly content: Content }): void {
  checkContent(content);
  if (content.lines.some(([, , qty]) => qty >= 0)) {
    throw new ReplicaError("misuse", "content.lines: a returned quantity is below zero");
  }
  if (content.total_minor > 0) {
    throw new ReplicaError("misuse", "content.total_minor: a return is not above zero");
  }
}

function belongsToSomething(payload: { readonly order: string; readonly customer: string }): void {
  if (!payload.order && !payload.customer) {
    throw new ReplicaError("misuse", "order, customer: a payment belongs to one of them");
  }
}

function scopeAscends(payload: {
  readonly version: number;
  readonly customers?: readonly string[] | null;
  readonly prospects?: readonly string[] | null;
  readonly products?: readonly string[] | null;
  readonly without?: readonly string[];
}): void {
  if (payload.version < 1)
    throw new ReplicaError("misuse", "version: the first scope of a device is 1");
  for (const name of ["customers", "prospects", "products", "without"] as const) {
    const ids = payload[name] ?? [];
    if (ids.some((one, place) => place > 0 && one <= (ids[place - 1] as string)))
      throw new ReplicaError("misuse", `${name}: ids ascend, each once`);
  }
}

function staysWhatItIs(payload: {
  readonly field: string;
  readonly was: string;
  readonly now: string;
}): void {
  const limit = payload.field === "number" ? 21 : 64;
  for (const name of ["was", "now"] as const) {
    const length = [...payload[name]].length;
    if (length < 1 || length > limit)
      throw new ReplicaError("misuse", `${name}: 1 to ${String(limit)} characters`);
    if (payload.field !== "number" && !/^[A-Za-z0-9._:-]+$/.test(payload[name]))
      throw new ReplicaError(
        "misuse",
        `${name}: an id has a character outside A-Z a-z 0-9 . _ : -`,
      );
  }
}

function isPair(payload: {
  readonly of: string;
  readonly field: string;
  readonly first: string;
  readonly second: string;
}): void {
  if (payload.first >= payload.second)
    throw new ReplicaError("misuse", "first, second: two ids, the smaller one first");
  if (payload.of === "customer" && payload.field !== "name")
    throw new ReplicaError("misuse", "field: customers have a name in common");
}

function staysWhenTheSame(payload: { readonly choice: string; readonly stays?: string }): void {
  if ((payload.choice === "same") !== Boolean(payload.stays))
    throw new ReplicaError(
      "misuse",
      "stays: the one that stands for both, where they are the same",
    );
}

function endsAfterItStarted(payload: {
  readonly started_ms: number;
  readonly finished_ms: number;
}): void {
  if (payload.finished_ms < payload.started_ms) {
    throw new ReplicaError("misuse", "finished_ms: a run ends after it started");
  }
}
