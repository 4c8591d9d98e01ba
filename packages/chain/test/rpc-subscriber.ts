/**
 * Subscribes with an independent client and prints what it hears, one JSON line each. A process of its own: the client's
 * WebSocket connects again for ever, also after it was told to disconnect.
 */
import { Comet38Client } from '@cosmjs/tendermint-rpc';
import { toHex } from '@haca/primitives';

const [url, query] = process.argv.slice(2) as [string, string];
const client = await Comet38Client.connect(url);

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

client.subscribeNewBlock().addListener({ next: ({ header }) => print({ block: header.height }) });
client.subscribeNewBlockHeader().addListener({ next: ({ height }) => print({ header: height }) });
client.subscribeTx(query).addListener({ next: ({ hash }) => print({ tx: toHex(hash) }) });
// Answered after the subscriptions, on the same connection.
await client.status();
print({ ready: true });
