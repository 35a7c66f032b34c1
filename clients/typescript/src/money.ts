/** Money: integer minor units, rounded once per line (wire-protocol.md §2.3). */

import type { Content } from "./kinds.ts";

const DIGITS_DEFAULT = 2;
const SCALE_DIGITS = 7; // thousandths times ten-thousandths
/** ISO 4217: the currencies whose minor unit is not a hundredth. */
const DIGITS = new Map<string, number>(
  Object.entries({
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
  }).flatMap(([digits, codes]) => codes.split(" ").map((code) => [code, Number(digits)] as const)),
);

/** Decimal places of a currency's minor unit: 2 for USD, 0 for JPY, 3 for KWD. */
export function minorDigits(currency: string): number {
  return DIGITS.get(currency) ?? DIGITS_DEFAULT;
}

/** One line in minor units, halves away from zero. */
export function lineTotalMinor(qtyE3: number, priceE4: number, currency: string): number {
  const product = BigInt(qtyE3) * BigInt(priceE4);
  const unit = 10n ** BigInt(SCALE_DIGITS - minorDigits(currency));
  const size = product < 0n ? -product : product;
  const rounded = (2n * size + unit) / (2n * unit);
  return Number(product < 0n ? -rounded : rounded);
}

/** What a sale without its `total_minor` comes to, before tax. */
export function totalMinor(content: Omit<Content, "total_minor">): number {
  const lines = content.lines.reduce(
    (sum, [, , qty, price]) => sum + lineTotalMinor(qty, price, content.currency),
    0,
  );
  const { shipping_minor = 0, fees_minor = 0, discount_minor = 0 } = content;
  return lines + shipping_minor + fees_minor - discount_minor;
}
