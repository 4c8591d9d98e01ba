import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Ports that stay free while the node that listens on them is down: below those that systems give to outgoing connections
 * (32768 and above on Linux, 49152 elsewhere).
 */
const RANGE = { first: 20_000, last: 31_999 };
let next = RANGE.first + ((process.pid * 97) % (RANGE.last - RANGE.first));

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < RANGE.last - RANGE.first; tries++) {
    next = next >= RANGE.last ? RANGE.first : next + 1;
    const port = next;
    if (await isFree(port)) return port;
  }
  throw new Error('no port is free');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
