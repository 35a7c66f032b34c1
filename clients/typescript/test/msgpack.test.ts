/** MessagePack in its one form, and nothing else whatever arrives. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, unhex } from "../src/bytes.ts";
import { ReplicaError } from "../src/errors.ts";
import { pack, unpack, type Value } from "../src/msgpack.ts";

const SHORTEST: readonly (readonly [Value, string])[] = [
  [null, "c0"],
  [false, "c2"],
  [true, "c3"],
  [0, "00"],
  [127, "7f"],
  [128, "cc80"],
  [255, "ccff"],
  [256, "cd0100"],
  [65_535, "cdffff"],
  [65_536, "ce00010000"],
  [4_294_967_295, "ceffffffff"],
  [4_294_967_296, "cf0000000100000000"],
  [Number.MAX_SAFE_INTEGER, "cf001fffffffffffff"],
  [-1, "ff"],
  [-32, "e0"],
  [-33, "d0df"],
  [-128, "d080"],
  [-129, "d1ff7f"],
  [-32_768, "d18000"],
  [-32_769, "d2ffff7fff"],
  [-2_147_483_648, "d280000000"],
  [-2_147_483_649, "d3ffffffff7fffffff"],
  [Number.MIN_SAFE_INTEGER, "d3ffe0000000000001"],
  ["", "a0"],
  ["\ufeffŁ", "a5efbbbfc581"],
  [new Uint8Array(0), "c400"],
  [[], "90"],
  [{ b: 1, a: [2] }, "82a16191 02a16201".replace(" ", "")],
  // By UTF-8 bytes U+10000 comes after U+FFFD; by the units of this language it would not.
  [{ "\u{10000}": 1, "\ufffd": 2 }, "82a3efbfbd02a4f090808001"],
];

test("every value has its shortest bytes, and they give it back", () => {
  for (const [value, bytes] of SHORTEST) {
    assert.equal(hex(pack(value)), bytes);
    assert.deepEqual(unpack(unhex(bytes)), value);
  }
});

test("headers grow at the lengths they must", () => {
  for (const [size, header] of [
    [31, "bf"],
    [32, "d920"],
    [255, "d9ff"],
    [256, "da0100"],
  ] as const) {
    assert.ok(hex(pack("x".repeat(size))).startsWith(header));
  }
  for (const [size, header] of [
    [15, "9f"],
    [16, "dc0010"],
    [65_536, "dd00010000"],
  ] as const) {
    assert.ok(hex(pack(new Array<number>(size).fill(0))).startsWith(header));
  }
  for (const [size, header] of [
    [255, "c4ff"],
    [256, "c50100"],
    [65_536, "c600010000"],
  ] as const) {
    assert.ok(hex(pack(new Uint8Array(size))).startsWith(header));
  }
  assert.equal(unpack(pack("x".repeat(70_000))), "x".repeat(70_000));
});

test("what has no canonical form is refused by name", () => {
  const nested = (depth: number): Value => (depth === 0 ? 1 : [nested(depth - 1)]);
  const impossible = [1.5, NaN, Infinity, 2 ** 53, "\ud800", { "\udc00": 1 }, nested(100)];
  for (const value of [...impossible, undefined, 1n, Symbol("s")]) {
    assert.throws(
      () => pack(value as Value),
      (error) => error instanceof Error,
    );
  }
});

test("bytes that are no value are malformed, whatever they are", () => {
  const bad = [
    "",
    "c1",
    "cb3ff8000000000000",
    "d40100",
    "cf0020000000000000",
    "a2c3",
    "a1ff",
    "9101ff",
  ];
  const lies = ["dd7fffffff", "df7fffffff", "c6ffffffff00", "81", "8101", "82a16101a16102"];
  for (const one of [...bad, ...lies, "91".repeat(1_000)]) {
    assert.throws(
      () => unpack(unhex(one)),
      (error) => error instanceof ReplicaError && error.code === "malformed",
      one,
    );
  }
});

test("a map with the keys of every object is only a map", () => {
  const value = unpack(pack({ ["__proto__"]: 1, constructor: 2 }));
  assert.deepEqual(Object.keys(value as object).sort(), ["__proto__", "constructor"]);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
});
