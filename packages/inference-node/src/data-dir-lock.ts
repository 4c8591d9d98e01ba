/** One process per data folder: two would settle the same receipts against each other. */
import { createHash } from 'node:crypto';
import { realpathSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Another process uses the data folder. Stop it, or give this one a folder of its own. */
export class DataDirBusyError extends Error {
  override readonly name = 'DataDirBusyError';
}

/** Held by a listening socket named after the folder: it ends with the process, however that ends. */
export async function lockDataDir(dir: string): Promise<{ readonly release: () => Promise<void> }> {
  const name = `haca-node-${createHash('sha256').update(realpathSync(dir)).digest('hex').slice(0, 32)}`;
  const isAbstract = process.platform === 'linux';
  const path = isAbstract ? `\0${name}` : join(tmpdir(), `${name}.sock`);
  const server =
    (await listen(path)) ?? (isAbstract || (await isAnswered(path)) ? undefined : await listenAgain(path));
  if (server === undefined) throw new DataDirBusyError(`another process uses ${dir}`);
  return { release: () => new Promise((settle) => server.close(() => settle())) };
}

/** Undefined where the name is taken. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((settle, fail) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? settle(undefined) : fail(error),
    );
    server.listen(path, () => settle(server.unref()));
  });
}

/** Where names are files, one can outlive its process. */
function listenAgain(path: string): Promise<Server | undefined> {
  rmSync(path, { force: true });
  return listen(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect(path);
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
    socket.once('close', () => socket.destroy());
  });
}
