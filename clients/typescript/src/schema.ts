/**
 * Shapes of payloads: each knows its words on the protocol page, its TypeScript type, and how a
 * value that was given becomes the canonical one (wire-protocol.md §2.3).
 */

import { ReplicaError } from "./errors.ts";
import type { Value, ValueMap } from "./msgpack.ts";

/** `T` is what a program gives and gets; `O` says whether it may be left out. */
export interface Schema<T, O extends boolean = boolean> {
  readonly words: string;
  /** The canonical form of `value`; `at` names its place in an error. Throws `misuse`. */
  readonly canonical: (value: unknown, at: string) => Value;
  readonly optional: O;
  /** Left out of the canonical form when it says no more than this. */
  readonly absent?: Value;
  /** Only for the compiler. */
  readonly type?: T;
}

type Shape = Readonly<Record<string, Schema<unknown>>>;
type TypeOf<S> = S extends Schema<infer T> ? T : never;
type Required<S extends Shape> = {
  [K in keyof S]: S[K]["optional"] extends true ? never : K;
}[keyof S];
type Optional<S extends Shape> = Exclude<keyof S, Required<S>>;

/** The object a shape describes. */
export type Of<S extends Shape> = { readonly [K in Required<S>]: TypeOf<S[K]> } & {
  readonly [K in Optional<S>]?: TypeOf<S[K]>;
};
export type Struct<S extends Shape> = Schema<Of<S>, false> & { readonly shape: S };

function wrong(at: string, expected: string): ReplicaError {
  return new ReplicaError("misuse", `${at}: ${expected}`);
}

interface TextRule {
  readonly max: number;
  readonly pattern?: RegExp;
}

export function text(words: string, rule: TextRule): Schema<string, false> {
  return {
    words,
    optional: false,
    canonical: (value, at) => {
      if (typeof value !== "string" || !value.isWellFormed()) throw wrong(at, `expected ${words}`);
      // A code point is at most two of the units that `length` counts.
      if (value.length > rule.max && [...value].length > rule.max) {
        throw wrong(at, `${words} has at most ${rule.max} characters`);
      }
      if (rule.pattern && !rule.pattern.test(value)) throw wrong(at, `expected ${words}`);
      return value;
    },
  };
}

export function date(orEmpty: boolean): Schema<string, false> {
  const words = orEmpty ? "date or empty" : "date";
  return {
    words,
    optional: false,
    canonical: (value, at) => {
      if (typeof value !== "string" || !((orEmpty && value === "") || isDay(value))) {
        throw wrong(at, `expected ${words}, as in 2026-03-01`);
      }
      return value;
    },
  };
}

function isDay(value: string): boolean {
  if (!/^\d{4}-\d\d-\d\d$/.test(value) || value.startsWith("0000")) return false;
  const day = new Date(`${value}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(value);
}

export function integer(words: string, min: number, max: number): Schema<number, false> {
  return {
    words,
    optional: false,
    canonical: (value, at) => {
      if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max) {
        throw wrong(at, `expected ${words}, without a fraction`);
      }
      return value;
    },
  };
}

export const boolean: Schema<boolean, false> = {
  words: "boolean",
  optional: false,
  canonical: (value, at) => {
    if (typeof value !== "boolean") throw wrong(at, "expected true or false");
    return value;
  },
};

export function bytes(words: string, min: number, max: number): Schema<Uint8Array, false> {
  return {
    words,
    optional: false,
    canonical: (value, at) => {
      if (!(value instanceof Uint8Array) || value.length < min || value.length > max) {
        throw wrong(at, `expected ${words}`);
      }
      return value;
    },
  };
}

export function oneOf<const T extends string>(...choices: readonly T[]): Schema<T, false> {
  const words = choices.map((one) => `"${one}"`).join(" or ");
  return {
    words,
    optional: false,
    canonical: (value, at) => {
      if (!choices.some((one) => one === value)) throw wrong(at, `expected ${words}`);
      return value as T;
    },
  };
}

export function list<T>(
  words: string,
  element: Schema<T>,
  bounds: { readonly min: number; readonly max: number },
): Schema<readonly T[], false> {
  return {
    words,
    optional: false,
    canonical: (value, at) => {
      if (!Array.isArray(value) || value.length < bounds.min || value.length > bounds.max) {
        throw wrong(at, `expected ${words}`);
      }
      return value.map((one: unknown, place) => element.canonical(one, `${at}[${place}]`));
    },
  };
}

export function mapOf(
  words: string,
  key: Schema<string>,
  element: Schema<string>,
  max: number,
): Schema<Readonly<Record<string, string>>, false> {
  return {
    words,
    optional: false,
    canonical: (value, at) => {
      const entries = entriesOf(value, at);
      if (entries.length > max) throw wrong(at, `expected ${words}`);
      return Object.fromEntries(
        entries.map(([name, one]) => [
          key.canonical(name, at),
          element.canonical(one, `${at}.${name}`),
        ]),
      );
    },
  };
}

/** Whether two values are one and the same, or both empty. */
function isSame(one: Value, other: Value): boolean {
  return one === other || (isEmpty(one) && isEmpty(other));
}

function isEmpty(value: Value): boolean {
  if (Array.isArray(value)) return value.length === 0;
  const isMap = value !== null && typeof value === "object" && !(value instanceof Uint8Array);
  return isMap && Object.keys(value).length === 0;
}

/** A field that is left out when it equals `absent`. */
export function maybe<T>(schema: Schema<T>, absent: Value): Schema<T, true> {
  return { ...schema, optional: true, absent } as Schema<T, true>;
}

/** A field that may be left out (not said) or null (unset). */
export function said<T>(schema: Schema<T>): Schema<T | null, true> {
  return {
    words: `${schema.words} or nil`,
    optional: true,
    canonical: (value, at) => (value === null ? null : schema.canonical(value, at)),
  };
}

/** Null or a value; to be left out when null, wrap it in `maybe`. */
export function orNil<T>(schema: Schema<T>): Schema<T | null, false> {
  return { ...said(schema), optional: false } as Schema<T | null, false>;
}

export function struct<const S extends Shape>(name: string, shape: S): Struct<S> {
  return {
    words: `*${name}*`,
    shape,
    optional: false,
    canonical: (value, at) => {
      const given = new Map(entriesOf(value, at));
      const kept: [string, Value][] = [];
      for (const [field, schema] of Object.entries(shape)) {
        const one = given.get(field);
        given.delete(field);
        if (one === undefined) {
          if (!schema.optional) throw wrong(`${at}.${field}`, "it is missing");
          continue;
        }
        const canonical = schema.canonical(one, `${at}.${field}`);
        if (schema.absent === undefined || !isSame(canonical, schema.absent))
          kept.push([field, canonical]);
      }
      for (const [field, one] of given) {
        if (one !== undefined) throw wrong(`${at}.${field}`, "there is no such field");
      }
      return Object.fromEntries(kept);
    },
  };
}

/** An array that always has all its elements, in order. */
export function tuple<const T extends readonly Schema<unknown>[]>(
  name: string,
  elements: T,
): Schema<{ readonly [I in keyof T]: TypeOf<T[I]> }, false> {
  return {
    words: `*${name}*`,
    optional: false,
    canonical: (value, at) => {
      if (!Array.isArray(value) || value.length !== elements.length) {
        throw wrong(at, `expected ${elements.length} elements`);
      }
      return elements.map((element, place) => element.canonical(value[place], `${at}[${place}]`));
    },
  };
}

function entriesOf(value: unknown, at: string): [string, unknown][] {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw wrong(at, "expected an object");
  }
  return Object.entries(value as ValueMap);
}
