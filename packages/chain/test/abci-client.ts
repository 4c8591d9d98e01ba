/** The other end of the ABCI socket, for tests: sends frames as given, hands out the answers in the order they come. */
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { type AbciServer, type AbciServerOptions, serveAbci } from '../src/abci-socket/server.ts';
import { kvstoreApplication } from './abci-kvstore.ts';
import { decodeProto, type Fields, requestFrame } from './abci-proto.ts';
import { temporaryFolder } from './engine-fixture.ts';

/** Name of the response and its fields. */
export type Answer = readonly [method: string, fields: Fields];

export interface AbciClient {
  readonly socket: Socket;
  readonly send: (bytes: Uint8Array) => void;
  /** The next answer; rejects where the connection ends before. */
  readonly next: () => Promise<Answer>;
  readonly call: (method: string, fields?: Fields) => Promise<Answer>;
  /** Resolves once the connection is closed, to the answers nobody asked for. */
  readonly closed: () => Promise<readonly Answer[]>;
}

export function connectAbci(t: TestContext, address: string): Promise<AbciClient> {
  const url = new URL(address);
  const socket = connect(
    url.protocol === 'unix:' ? { path: url.pathname } : { host: url.hostname, port: Number(url.port) },
  );
  t.after(() => socket.destroy());
  const answers: Answer[] = [];
  const waiting: ((answer: Answer | null) => void)[] = [];
  let rest: Buffer = Buffer.alloc(0);
  let isClosed = false;
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    for (let taken = takeFrame(rest); taken !== null; taken = takeFrame(rest)) {
      rest = taken.rest;
      const [entry] = Object.entries(decodeProto('Response', taken.message));
      const answer = entry as unknown as Answer;
      const first = waiting.shift();
      if (first === undefined) answers.push(answer);
      else first(answer);
    }
  });
  socket.on('close', () => {
    isClosed = true;
    for (const each of waiting.splice(0)) each(null);
  });
  const next = async (): Promise<Answer> => {
    const ready = answers.shift();
    if (ready !== undefined) return ready;
    const answer = isClosed ? null : await new Promise<Answer | null>((resolve) => waiting.push(resolve));
    if (answer === null) throw new Error('the connection ended');
    return answer;
  };
  const client: AbciClient = {
    socket,
    send: (bytes) => socket.write(bytes),
    next,
    call: (method, fields) => {
      socket.write(requestFrame(method, fields));
      return next();
    },
    closed: async () => {
      if (!isClosed) await new Promise((resolve) => socket.once('close', resolve));
      return answers.splice(0);
    },
  };
  return new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(client));
    socket.once('error', reject);
  });
}

export interface TestServer extends AbciServer {
  readonly path: string;
  readonly lines: readonly string[];
  readonly fatal: readonly Error[];
}

/** The key-value store unless another application is given, on a unix socket, closed after the test. */
export async function testServer(
  t: TestContext,
  options: Partial<AbciServerOptions> = {},
): Promise<TestServer> {
  const path = `${temporaryFolder(t)}/abci.sock`;
  const lines: string[] = [];
  const fatal: Error[] = [];
  const server = await serveAbci({
    application: kvstoreApplication(),
    address: { path },
    onFatal: (error) => fatal.push(error),
    log: (line) => lines.push(line),
    ...options,
  });
  t.after(server.close);
  return { ...server, path, lines, fatal };
}

function takeFrame(bytes: Buffer): { readonly message: Buffer; readonly rest: Buffer } | null {
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    length += (byte & 127) * 128 ** i;
    if (byte >= 128) continue;
    const start = i + 1;
    if (bytes.length - start < length) return null;
    return { message: bytes.subarray(start, start + length), rest: bytes.subarray(start + length) };
  }
  return null;
}
