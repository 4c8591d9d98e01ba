/** Ports: the wished one, any, and what happens where it is taken. */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { afterEach, test } from 'node:test';
import { listenOn } from '../src/listen.ts';

const host = '127.0.0.1';
const servers: Server[] = [];

function server(): Server {
  const opened = createServer();
  servers.push(opened);
  return opened;
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((each) => new Promise((settle) => each.close(settle))));
});

test('a server listens on the port that is wished, or on any', async () => {
  const first = server();
  const port = await listenOn(first, { host, port: 0 });
  assert.ok(port > 0);
  await new Promise((settle) => first.close(settle));
  assert.equal(await listenOn(server(), { host, port, anyPortIfTaken: true }), port);
});

test('a port that is taken is an error, unless any will do', async () => {
  const port = await listenOn(server(), { host, port: 0 });
  await assert.rejects(listenOn(server(), { host, port }), { code: 'EADDRINUSE' });
  assert.notEqual(await listenOn(server(), { host, port, anyPortIfTaken: true }), port);
});

test('of many that ask for one port at once, each gets one of its own', async () => {
  const free = server();
  const port = await listenOn(free, { host, port: 0 });
  await new Promise((settle) => free.close(settle));
  const ports = await Promise.all(
    Array.from({ length: 8 }, () => listenOn(server(), { host, port, anyPortIfTaken: true })),
  );
  assert.equal(new Set(ports).size, 8);
  assert.ok(ports.includes(port));
});

test('another fault than a taken port is told, whatever would do', async () => {
  await assert.rejects(listenOn(server(), { host: '192.0.2.1', port: 0, anyPortIfTaken: true }), {
    code: 'EADDRNOTAVAIL',
  });
});
