/**
 * `node abci-kvstore-program.ts (--path FILE | --port N) [--call-log FILE]`: the key-value store behind our ABCI server, for
 * programs of CometBFT to talk to. Prints its address once it listens; ends with its standard input.
 */
import { parseArgs } from 'node:util';
import { openCallLog } from '../src/abci-socket/call-log.ts';
import { serveAbci } from '../src/abci-socket/server.ts';
import { kvstoreApplication } from './abci-kvstore.ts';

const { values } = parseArgs({
  options: {
    path: { type: 'string' },
    port: { type: 'string', default: '0' },
    'call-log': { type: 'string' },
  },
});
const callLog = values['call-log'] === undefined ? undefined : openCallLog(values['call-log']);
const server = await serveAbci({
  application: kvstoreApplication(),
  address:
    values.path === undefined ? { host: '127.0.0.1', port: Number(values.port) } : { path: values.path },
  onFatal: () => process.exit(1),
  log: (line) => process.stderr.write(`${line}\n`),
  ...(callLog === undefined ? {} : { recorder: callLog }),
});
process.stdout.write(`${server.address}\n`);
process.stdin.resume().once('end', async () => {
  await server.close();
  callLog?.close();
});
