/** Where an ABCI server listens: a unix socket or a TCP port. */
import { once } from 'node:events';
import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { UsageError } from '@haca/primitives';

export type AbciAddress =
  /** Absolute path of a socket file, shorter than 108 bytes. */
  | { readonly path: string }
  /** Port 0: any free one. */
  | { readonly host: string; readonly port: number };

/** The operating system's `sun_path` has 108 bytes, the last of which is zero. */
const PATH_BYTES_MAX = 107;

/**
 * Resolves, once the server listens, to the address as CometBFT's `proxy_app` takes it. A socket file that nobody listens on
 * any more is removed; one that somebody listens on is left alone, and the promise rejects.
 */
export async function listenAt(server: Server, address: AbciAddress): Promise<string> {
  if (!('path' in address)) {
    await listening(server, () => server.listen({ host: address.host, port: address.port }));
    const bound = server.address();
    if (bound === null || typeof bound === 'string') throw new Error('the server has no port');
    return `tcp://${bound.address.includes(':') ? `[${bound.address}]` : bound.address}:${bound.port}`;
  }
  const { path } = address;
  const bytes = Buffer.byteLength(path);
  if (bytes > PATH_BYTES_MAX || bytes === 0) {
    throw new UsageError(
      `a unix socket's path has 1 to ${PATH_BYTES_MAX} bytes, this one has ${bytes}: ${path}`,
    );
  }
  const listen = (): Promise<void> => listening(server, () => server.listen({ path }));
  try {
    await listen();
  } catch (error) {
    if (!hasCode(error, 'EADDRINUSE') || !(await isStaleSocket(path))) throw error;
    rmSync(path, { force: true });
    await listen();
  }
  // The application trusts whoever connects.
  chmodSync(path, 0o600);
  return `unix://${path}`;
}

async function listening(server: Server, start: () => void): Promise<void> {
  const begun = once(server, 'listening');
  start();
  await begun;
}

async function isStaleSocket(path: string): Promise<boolean> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) return false;
  const probe = connect({ path });
  try {
    await once(probe, 'connect');
    return false;
  } catch (error) {
    return hasCode(error, 'ECONNREFUSED') || hasCode(error, 'ENOENT');
  } finally {
    probe.destroy();
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
