/** A device of a replica server: records work where there is no network, syncs it when there is. */

export { memoryStorage } from "./adapters/memory.ts";
export {
  Client,
  type AnyFact,
  type ClientOptions,
  type Document,
  type FactOf,
  type HeldFact,
  type LogRecord,
  type Receipt,
  type Rejected,
  type Status,
  type SyncResult,
} from "./client.ts";
export { ReplicaError, type Code } from "./errors.ts";
export type { SectionDigest } from "./frames.ts";
export type { Content, DeviceKind, KindName, PayloadOf } from "./kinds.ts";
export type { Mode } from "./link.ts";
export { lineTotalMinor, minorDigits, totalMinor } from "./money.ts";
export type { Progress } from "./rows.ts";
export type { Change, Fetch, OpenSocket, Row, Socket, Storage, Table } from "./ports.ts";
