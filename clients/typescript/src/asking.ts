/** Questions to the server over HTTP, with the token of this device, beside the websocket. */

import type { Bytes } from "./bytes.ts";
import { ReplicaError, wordsOf } from "./errors.ts";
import { ASK_TIMEOUT_MS } from "./limits.ts";
import type { Fetch } from "./ports.ts";
import type { Identity } from "./rows.ts";
import { readAll } from "./streams.ts";

export interface Answer {
  readonly status: number;
  /** Empty unless the status is 200. */
  readonly data: Bytes;
  readonly header: (name: string) => string | null;
}

const OK = 200;

export class Server {
  readonly #fetch: Fetch;
  readonly #identity: Identity;
  readonly #ended: AbortSignal;

  /** Questions end when `ended` does. */
  constructor(fetch: Fetch, identity: Identity, ended: AbortSignal) {
    this.#fetch = fetch;
    this.#identity = identity;
    this.#ended = ended;
  }

  get stopping(): boolean {
    return this.#ended.aborted;
  }

  /**
   * GET, or POST of `body`, below `/api/v1/`. Throws `peer_gone` without a connection and when the
   * server asks to come again, `too_large` above `most` bytes.
   */
  async ask(path: string, most: number, body?: Bytes): Promise<Answer> {
    const { url, token } = this.#identity;
    const asked = {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/octet-stream" },
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.any([this.#ended, AbortSignal.timeout(ASK_TIMEOUT_MS)]),
    };
    try {
      const { status, headers, body: answer } = await this.#fetch(`${url}/api/v1/${path}`, asked);
      if (status === 429 || status >= 500) {
        throw new ReplicaError("peer_gone", `the server answered ${status}`);
      }
      const header = (name: string): string | null => headers.get(name);
      if (status !== OK || answer === null) {
        await answer?.cancel();
        return { status, data: new Uint8Array(0), header };
      }
      return { status, data: await readAll(answer, "an answer", most), header };
    } catch (cause) {
      if (cause instanceof ReplicaError) throw cause;
      throw new ReplicaError("peer_gone", `no connection to ${url}: ${wordsOf(cause)}`, { cause });
    }
  }
}
