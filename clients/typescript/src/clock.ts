/** Stamps: 16 bytes whose byte order is the order of merging (wire-protocol.md §3.1). */

import { concat, type Bytes } from "./bytes.ts";
import { CLOCK_MS_MAX, CLOCK_NOISE_MS } from "./limits.ts";

export const STAMP_BYTES = 16;
const COUNTER_MAX = 0xffff;

/** Milliseconds (6 bytes), counter (2), node (8). */
export function makeStamp(ms: number, counter: number, node: Uint8Array): Bytes {
  const time = new Uint8Array(8);
  const view = new DataView(time.buffer);
  view.setUint16(0, Math.floor(ms / 0x1_0000_0000));
  view.setUint32(2, ms >>> 0);
  view.setUint16(6, counter);
  return concat(time, node);
}

export function stampMs(stamp: Uint8Array): number {
  const view = viewOf(stamp);
  return view.getUint16(0) * 0x1_0000_0000 + view.getUint32(2);
}

export function stampCounter(stamp: Uint8Array): number {
  return viewOf(stamp).getUint16(6);
}

/** The stamp after `last`, by a clock that may be wrong; always greater than `last`. */
export function nextStamp(last: Uint8Array, nowMs: number, node: Uint8Array): Bytes {
  const lastMs = stampMs(last);
  const now = Math.min(Math.trunc(nowMs), CLOCK_MS_MAX);
  if (now > lastMs) return makeStamp(now, 0, node);
  const counter = stampCounter(last);
  return counter < COUNTER_MAX
    ? makeStamp(lastMs, counter + 1, node)
    : makeStamp(lastMs + 1, 0, node);
}

/** A wrong clock in words; empty while it is good enough. Nothing is refused because of it. */
export function skewWords(skewMs: number): string {
  if (Math.abs(skewMs) < CLOCK_NOISE_MS) return "";
  const side = skewMs > 0 ? "ahead of" : "behind";
  const far = duration(Math.floor(Math.abs(skewMs) / 1000));
  return `this device's clock is ${far} ${side} the server's; times are corrected, nothing is lost`;
}

function duration(seconds: number): string {
  const units = [
    ["days", 86_400],
    ["hours", 3_600],
    ["minutes", 60],
  ] as const;
  const [unit, size] = units.find(([, size]) => seconds >= 2 * size) ?? ["seconds", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}

function viewOf(stamp: Uint8Array): DataView {
  return new DataView(stamp.buffer, stamp.byteOffset, stamp.byteLength);
}
