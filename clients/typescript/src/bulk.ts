/**
 * Documents in bulk, for a first sync and the way back from a long absence (wire-protocol.md §12).
 *
 * Chunks come in the order of the manifest. Each is one commit that stores its documents and how many
 * chunks are in, so that a device that dies goes on with the next one. The cursor moves when the last
 * one is in and what is held adds up to what was promised; the log goes on from there.
 */

import type { Server } from "./asking.ts";
import { hex, same, textOf, unhex, type Bytes } from "./bytes.ts";
import { FINGERPRINT, type Stated } from "./digest.ts";
import { malformed, ReplicaError } from "./errors.ts";
import { sha256 } from "./event.ts";
import { thaw } from "./frozen.ts";
import type { Journal } from "./journal.ts";
import { BULK_EVENTS_MIN, MANIFEST_BYTES_MAX, MANIFESTS_MAX, RAW_BYTES_MAX } from "./limits.ts";
import { unpack, type Value } from "./msgpack.ts";
import type { Progress } from "./rows.ts";
import { sameSections } from "./scope.ts";
import { inflate } from "./streams.ts";

const OK = 200;
const FORMAT = 2;

export interface Chunk {
  readonly sha256: string;
  readonly bytes: number;
  readonly section: string;
  readonly count: number;
}

interface Manifest {
  readonly format: number;
  readonly log_id: string;
  readonly generation: number;
  readonly position: number;
  readonly chain: string;
  readonly fingerprint: string;
  readonly sections: readonly { section: string; count: number; digest: string }[];
  readonly layers: readonly { after: number; through: number; chunks: readonly Chunk[] }[];
}

/** Whether so much of a log that ends at `serverPosition` is missing that documents are faster. */
export function wantsBulk(journal: Journal, serverPosition: number): boolean {
  if (!journal.takesBulk) return false;
  const { cursor } = journal.place;
  return cursor === 0 || serverPosition - cursor >= BULK_EVENTS_MIN;
}

/**
 * Takes what the server has in bulk; gives how many documents came, null when the log serves better.
 * Throws `peer_gone` when the connection is lost: called again, it goes on where it was.
 */
export async function fetchBulk(
  journal: Journal,
  server: Server,
  progress: (progress: readonly Progress[]) => void,
): Promise<number | null> {
  let came = 0;
  try {
    for (let tries = 0; tries < MANIFESTS_MAX && !server.stopping; tries++) {
      const manifest = resumed(journal) ?? (await begun(journal, server));
      if (manifest === null) {
        if (journal.held.importing !== null) await journal.held.take({}, [], null);
        break;
      }
      came += await takeAll(journal, server, manifest, progress);
      if (journal.held.importing === null) return came;
      // Made anew on the server meanwhile: what is here already stays.
      if (!server.stopping) await journal.held.take({}, [], null);
    }
  } catch (error) {
    const code = error instanceof ReplicaError ? error.code : "";
    if (code !== "malformed" && code !== "too_large") throw error;
    await journal.held.take({}, [], null); // the log brings it
  } finally {
    progress([]);
  }
  return null;
}

/**
 * The import that was under way, if the chunk to go on with holds nothing older than what the log has
 * brought meanwhile.
 */
function resumed(journal: Journal): Manifest | null {
  const { importing, through } = journal.held;
  if (importing === null) return null;
  let manifest: Manifest;
  try {
    manifest = readManifest(importing.manifest);
  } catch (error) {
    if (error instanceof ReplicaError && error.code === "malformed") return null; // an older format
    throw error;
  }
  const ends = manifest.layers.flatMap((layer) => layer.chunks.map(() => layer.through));
  const end = ends[importing.done] ?? manifest.position;
  return manifest.fingerprint === FINGERPRINT && end > through ? manifest : null;
}

async function begun(journal: Journal, server: Server): Promise<Manifest | null> {
  const { logId, generation, cursor, chain } = journal.place;
  const query = new URLSearchParams({
    log_id: hex(logId),
    generation: String(generation),
    cursor: String(cursor),
    chain: cursor > 0 ? hex(chain) : "",
  });
  const answer = await server.ask(`snapshot?${query}`, MANIFEST_BYTES_MAX);
  if (answer.status !== OK) return null;
  const manifest = readManifest(answer.data);
  if (manifest.fingerprint !== FINGERPRINT) return null;
  if (manifest.layers[0]!.after > cursor) throw malformed("the manifest begins behind the cursor");
  await journal.held.begin(0);
  await journal.held.take({}, [], { manifest: answer.data, done: 0, through: manifest.position });
  return manifest;
}

/** Chunks up to the last one there is; gives how many documents came. */
async function takeAll(
  journal: Journal,
  server: Server,
  manifest: Manifest,
  progress: (progress: readonly Progress[]) => void,
): Promise<number> {
  const chunks = manifest.layers.flatMap((layer) => layer.chunks);
  let came = 0;
  for (let at = journal.held.importing!.done; at < chunks.length; at++) {
    progress(progressOf(chunks, at));
    if (server.stopping) return came;
    const chunk = chunks[at]!;
    const answer = await server.ask(`chunks/${chunk.sha256}`, chunk.bytes);
    if (answer.status !== OK) return came;
    const put = await openChunk(chunk, answer.data);
    came += await journal.held.take({}, put, { ...journal.held.importing!, done: at + 1 });
  }
  await arrive(journal, manifest);
  return came;
}

/**
 * With the last chunk what is stored is the server's. Where own later events are among it this cannot
 * be said, and the proof on the websocket decides.
 */
async function arrive(journal: Journal, manifest: Manifest): Promise<void> {
  const { position, generation } = manifest;
  const promised = manifest.sections.map((line) => ({ ...line, digest: unhex(line.digest) }));
  const alone = journal.place.reach <= position && journal.pending === 0;
  if (alone && !sameSections(journal.held.documents.sections(), promised)) {
    throw malformed("the chunks do not add up to what was promised");
  }
  const [logId, chain] = [unhex(manifest.log_id), unhex(manifest.chain)];
  const moved = { logId, generation, cursor: position, chain, documentsAt: position };
  await journal.held.take(moved, [], null);
}

function progressOf(chunks: readonly Chunk[], taken: number): Progress[] {
  const found = new Map<string, Progress>();
  for (const [at, { section, count }] of chunks.entries()) {
    const { done, total } = found.get(section) ?? { done: 0, total: 0 };
    const more = at < taken ? count : 0;
    found.set(section, { section, done: done + more, total: total + count });
  }
  return [...found.values()];
}

/** The documents of a chunk, proved to be the one that was promised. */
export async function openChunk(chunk: Chunk, data: Bytes): Promise<Stated[]> {
  if (data.length !== chunk.bytes || !same(sha256(data), unhex(chunk.sha256))) {
    throw malformed("another chunk than was asked for");
  }
  const body = unpack(await inflate(data, "a chunk", RAW_BYTES_MAX));
  const [format, section, frozen] = Array.isArray(body) ? (body as readonly Value[]) : [];
  if (format !== FORMAT || section !== chunk.section) {
    throw malformed("a chunk of something else than was promised");
  }
  const documents = thaw(chunk.section, frozen);
  if (documents.length !== chunk.count) throw malformed("more or less than was promised");
  return documents;
}

const HEX_16 = /^[0-9a-f]{32}$/;
const HEX_32 = /^[0-9a-f]{64}$/;

/** Throws `malformed` for anything but layers that lead to a position. */
function readManifest(data: Uint8Array): Manifest {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(textOf(data)) as Manifest;
    check(manifest.format === FORMAT);
    check(HEX_16.test(manifest.log_id) && HEX_32.test(manifest.chain));
    check(isCount(manifest.generation) && isCount(manifest.position));
    check(manifest.sections.every(({ count, digest }) => isCount(count) && HEX_32.test(digest)));
    for (const { after, through, chunks } of manifest.layers) {
      check(isCount(after) && isCount(through) && after < through);
      check(chunks.every((one) => HEX_32.test(one.sha256) && isCount(one.bytes)));
      check(chunks.every((one) => typeof one.section === "string" && isCount(one.count)));
    }
    const ends = manifest.layers.map(({ through }) => through);
    check(manifest.layers.slice(1).every(({ after }, at) => after === ends[at]));
    check(ends.at(-1) === manifest.position);
  } catch (cause) {
    throw malformed("no manifest of documents", cause);
  }
  return manifest;
}

function check(right: boolean): void {
  if (!right) throw new RangeError("a manifest that leads nowhere");
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
