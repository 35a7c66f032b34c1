/**
 * Stock on hand: the newest stock-take and the movements after it, less every sale sealed since
 * (wire-protocol.md §7, §14.5). A device that holds a part of the sales is told what all of them
 * took. Pure.
 */

import { compare } from "./bytes.ts";
import { documents, factsOf, nameOf, type Evidence, type Fact, type Stated } from "./digest.ts";
import { bytesOf } from "./event.ts";
import { unpack, type Value } from "./msgpack.ts";
import type { Content, PayloadOf } from "./kinds.ts";

/** Made by no event: what all sales took of a product, whoever made them (§14.5). */
export const SOLD = "sold";
const SALES: readonly string[] = ["order", "return"];
const NEVER = new Uint8Array(0);

interface Sale {
  /** It counts where no stock-take is newer. */
  readonly tag: Uint8Array;
  readonly qtyE3: number;
}

/**
 * Thousandths of `product` on the shelf, below zero when more was sold than was there. `stored` are
 * documents as the server folded them, `fresh` what came since, own unsent work included.
 */
export function onHandE3(
  product: string,
  stored: readonly Stated[],
  fresh: readonly Evidence[],
): number {
  const own = documents(fresh);
  const touched = new Set(own.map(nameOf));
  const stock = `stock/${product}`;
  const base = stored.filter((one) => nameOf(one) === stock);
  const [shelf] = documents(fresh, base).filter((one) => nameOf(one) === stock);
  const { counted, qtyE3 } = shelfOf(shelf === undefined ? [] : factsOf(shelf));
  const sales = stored.filter(({ type }) => SALES.includes(type));
  const moved = sales.filter((one) => touched.has(nameOf(one)));
  const after = (states: readonly Stated[], tag: Uint8Array): number =>
    states
      .map((one) => saleOf(one, product))
      .reduce((sum, sale) => sum + (compare(sale.tag, tag) > 0 ? sale.qtyE3 : 0), 0);
  const laid = (held: readonly Stated[]): readonly Stated[] =>
    documents(fresh, held).filter(({ type }) => SALES.includes(type));
  const told = stored.find((one) => nameOf(one) === `${SOLD}/${product}`);
  if (told !== undefined) {
    const { since, soldE3 } = soldOf(told);
    // A stock-take that the server had not heard of ends what it said.
    if (compare(since, counted) >= 0) {
      return qtyE3 - soldE3 + after(moved, since) - after(laid(moved), counted);
    }
  }
  return qtyE3 - after(laid(sales), counted);
}

function shelfOf(facts: readonly Fact[]): { counted: Uint8Array; qtyE3: number } {
  const count = facts.findLast(({ kind }) => kind === "stock.counted");
  const moves = facts.filter(({ kind }) => kind === "stock.moved");
  const quantity = ({ payload }: Fact): number => Number(payload["qty_e3"]);
  return {
    counted: count?.tag ?? NEVER,
    qtyE3: (count ? quantity(count) : 0) + moves.reduce((sum, move) => sum + quantity(move), 0),
  };
}

function soldOf({ state }: Stated): { since: Uint8Array; soldE3: number } {
  const [since, soldE3] = unpack(state) as readonly Value[];
  return { since: bytesOf(since), soldE3: Number(soldE3) };
}

/** What a sealed sale takes of `product`; less than nothing where goods came back. */
function saleOf(stated: Stated, product: string): Sale {
  const facts = factsOf(stated);
  const seal = facts.find(({ kind }) => kind === `${stated.type}.committed`);
  const cancelled = facts.some(({ kind }) => kind === "order.cancelled");
  if (seal === undefined || cancelled) return { tag: NEVER, qtyE3: 0 };
  const { payload } = facts.findLast(({ kind }) => kind === "order.amended") ?? seal;
  const now = new Map<string, string>();
  for (const { kind, payload: made } of facts) {
    if (kind !== "order.corrected") continue;
    const { field, was, now: counts } = made as unknown as PayloadOf<"order.corrected">;
    if (field === "product") now.set(was, counts);
  }
  const { lines } = payload["content"] as unknown as Content;
  const qtyE3 = lines
    .filter(([, one]) => (now.get(one) ?? one) === product)
    .reduce((sum, [, , qty]) => sum + qty, 0);
  return { tag: seal.tag, qtyE3 };
}
