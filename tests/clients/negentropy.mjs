// A side of another implementation of the Negentropy Protocol V1, asking: one JSON command per line
// in, one JSON answer per line out.
import { createInterface } from "node:readline";
import {
  Negentropy,
  NegentropyStorageVector,
} from "../../clients/typescript/node_modules/nostr-tools/lib/esm/nip77.js";

let side;

const commands = {
  // Items are [time, id]; gives the first message.
  begin({ items, frame }) {
    const storage = new NegentropyStorageVector();
    for (const [time, id] of items) storage.insert(time, id);
    storage.seal();
    side = new Negentropy(storage, frame);
    return { message: side.initiate() };
  },
  // Takes an answer in; the next message is null at the end.
  answer({ message }) {
    const [have, need] = [[], []];
    const next = side.reconcile(message, (id) => have.push(id), (id) => need.push(id));
    return { message: next, have, need };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...given } = JSON.parse(line);
  console.log(JSON.stringify(commands[name](given)));
}
