/** Bytes that come in parts: never more of them than what was agreed, whatever they claim. */

import { concat, type Bytes } from "./bytes.ts";
import { malformed, ReplicaError } from "./errors.ts";

/** All of a stream. Throws `too_large` above `most` bytes, and what the stream throws. */
export async function readAll(
  stream: ReadableStream<Uint8Array>,
  what: string,
  most: number,
): Promise<Bytes> {
  const reader = stream.getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    size += part.value.length;
    try {
      bound(what, size, most);
    } catch (error) {
      await reader.cancel().catch(() => undefined);
      throw error;
    }
  }
  return concat(...parts);
}

/**
 * What `data` holds, deflated in the zlib format. Throws `malformed` for anything else, `too_large`
 * above `most` bytes: a small file may hold a flood.
 */
export async function inflate(data: Bytes, what: string, most: number): Promise<Bytes> {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
  try {
    return await readAll(stream, what, most);
  } catch (cause) {
    if (cause instanceof ReplicaError) throw cause;
    throw malformed(`${what} cannot be unpacked`, cause);
  }
}

export async function deflate(body: Bytes): Promise<Bytes> {
  const stream = new Blob([body]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export function bound(what: string, actual: number, limit: number): void {
  if (actual > limit) {
    throw new ReplicaError("too_large", `${what} has ${actual} bytes, the limit is ${limit}`);
  }
}
