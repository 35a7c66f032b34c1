/** The author's end of a device chain: facts become events. Pure. */

import type { Bytes } from "./bytes.ts";
import { hex } from "./bytes.ts";
import { makeStamp, nextStamp, stampCounter, stampMs } from "./clock.ts";
import { ReplicaError } from "./errors.ts";
import { encodeEvent, nodeOf, NO_HASH, sha256, type Event } from "./event.ts";
import { decodePayload, encodePayload, type PayloadOf } from "./kinds.ts";
import { EVENT_BYTES_MAX } from "./limits.ts";

export interface Author {
  readonly account: Uint8Array;
  readonly device: Uint8Array;
}

/** The end of the chain in `epoch`. The stamp never goes back, not even with a new epoch. */
export interface Head {
  readonly epoch: number;
  readonly seq: number;
  readonly id: Uint8Array;
  readonly stamp: Uint8Array;
}

export interface Fact {
  readonly kind: string;
  readonly version: number;
  readonly payload: Uint8Array;
  readonly deps: readonly Uint8Array[];
}

/** A finished event with its identity and canonical bytes. */
export interface Made {
  readonly id: Bytes;
  readonly data: Bytes;
  readonly event: Event;
}

export function firstHead(epoch: number, stamp: Uint8Array): Head {
  return { epoch, seq: 0, id: NO_HASH, stamp };
}

/** Where the chain ends once `made` is stored after `head`. */
export function headAfter(head: Head, made: readonly Made[]): Head {
  const last = made.at(-1);
  if (last === undefined) return head;
  return { epoch: last.event.epoch, seq: last.event.seq, id: last.id, stamp: last.event.stamp };
}

/** Builds events one after the other. Throws `too_large`, before anything is stored. */
export class Builder {
  readonly made: Made[] = [];
  readonly #author: Author;
  #head: Head;

  constructor(author: Author, head: Head) {
    this.#author = author;
    this.#head = head;
  }

  /** The next event, at the time the device believes it is. */
  add(fact: Fact, nowMs: number): Made {
    return this.#put(fact, nextStamp(this.#head.stamp, nowMs, nodeOf(this.#author.device)));
  }

  /** The next event, at the time of `before`, which it says again (wire-protocol.md §6.1). */
  remake(before: Event, fact: Fact): Made {
    const node = nodeOf(this.#author.device);
    return this.#put(fact, makeStamp(stampMs(before.stamp), stampCounter(before.stamp), node));
  }

  #put(fact: Fact, stamp: Uint8Array): Made {
    const { epoch, seq, id: prev } = this.#head;
    const event: Event = { ...this.#author, epoch, seq: seq + 1, prev, stamp, ...fact };
    const data = encodeEvent(event);
    if (data.length > EVENT_BYTES_MAX) {
      const words = `the event has ${data.length} bytes, the limit is ${EVENT_BYTES_MAX}`;
      throw new ReplicaError("too_large", words);
    }
    const made = { id: sha256(data), data, event };
    this.#head = headAfter(this.#head, [made]);
    this.made.push(made);
    return made;
  }
}

/** Old ids to new ones, for references between events that are said again. */
export class Renamed {
  readonly #names = new Map<string, Uint8Array>();

  set(old: Uint8Array, renewed: Uint8Array): void {
    this.#names.set(hex(old), renewed);
  }

  of(id: Uint8Array): Uint8Array {
    return this.#names.get(hex(id)) ?? id;
  }

  /** What `event` says, with every reference renamed. */
  fact(event: Event): Fact {
    const { kind, version, payload } = event;
    const fact = { kind, version, payload, deps: event.deps.map((dep) => this.of(dep)) };
    if (kind !== "order.line_removed" || version !== 1 || decodePayload(event) === null)
      return fact;
    const removed = decodePayload(event) as unknown as PayloadOf<"order.line_removed">;
    const seen = removed.seen.map((put) => this.of(put));
    return { ...fact, payload: encodePayload("order.line_removed", { ...removed, seen }) };
  }
}

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A fresh id of 26 characters that sort by time; `random` are 10 random bytes. */
export function makeId(nowMs: number, random: Uint8Array): string {
  const ms = Math.min(Math.max(Math.trunc(nowMs), 0), 2 ** 48 - 1);
  let value = (BigInt(ms) << 80n) | BigInt(`0x${hex(random)}`);
  let text = "";
  for (let place = 0; place < 26; place++, value >>= 5n) {
    text = CROCKFORD.charAt(Number(value & 31n)) + text;
  }
  return text;
}
