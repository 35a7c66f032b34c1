/** Enrolment: a code from the office becomes an identity and a token (wire-protocol.md §1.1). */

import { unhex } from "./bytes.ts";
import { malformed, ReplicaError, wordsOf } from "./errors.ts";
import type { Fetch } from "./ports.ts";
import type { Identity } from "./rows.ts";

const ENROL_TIMEOUT_MS = 15_000;

/** The one call that needs the network. Throws `forbidden`, `peer_gone` or `malformed`. */
export async function enrol(
  fetch: Fetch,
  url: string,
  said: { readonly code: string; readonly name: string; readonly software: string },
): Promise<Identity> {
  const base = baseUrl(url);
  let answer: { readonly status: number; readonly body: unknown };
  try {
    const response = await fetch(`${base}/api/v1/enrol`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(said),
      signal: AbortSignal.timeout(ENROL_TIMEOUT_MS),
    });
    answer = { status: response.status, body: await response.json().catch(() => null) };
  } catch (cause) {
    throw new ReplicaError("peer_gone", `no connection to ${base}: ${wordsOf(cause)}`, {
      hint: "enrolling needs the network: check it and the address",
      cause,
    });
  }
  const text = (name: string): string => {
    const found: unknown = Object(answer.body)[name];
    return typeof found === "string" ? found : "";
  };
  if (answer.status !== 200) {
    const later = answer.status === 429 || answer.status >= 500;
    const words = text("message") || `the server answered ${answer.status}`;
    throw new ReplicaError(later ? "peer_gone" : "forbidden", words, { hint: text("hint") });
  }
  try {
    const [account, device] = [unhex(text("account")), unhex(text("device"))];
    if (account.length !== 16 || device.length !== 16 || !text("token")) throw malformed("ids");
    return { account, device, token: text("token"), name: text("name") || said.name, url: base };
  } catch (cause) {
    throw malformed(`${base} did not answer like a replica server`, cause);
  }
}

/** `url` without slashes at its end. Throws `misuse` unless it is http or https. */
export function baseUrl(url: string): string {
  if (!/^https?:\/\/[^/]/.test(url)) {
    throw new ReplicaError("misuse", `${url} is no http or https address`);
  }
  return url.replace(/\/+$/, "");
}

/** The websocket address that belongs to a server's base address. */
export function syncUrl(url: string): string {
  return `ws${baseUrl(url).slice("http".length)}/api/v1/sync`;
}
