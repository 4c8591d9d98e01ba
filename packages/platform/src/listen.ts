import type { AddressInfo, Server } from 'node:net';

export interface ListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Takes any free port where that one is taken, in one step: two programs that ask at once both get one. */
  readonly anyPortIfTaken?: boolean;
  readonly backlog?: number;
}

/** Resolves with the port once the server listens; rejects with the system's error where it can't. */
export async function listenOn(server: Server, options: ListenOptions): Promise<number> {
  const { anyPortIfTaken = false, ...wished } = options;
  await listening(server, wished).catch((error: NodeJS.ErrnoException) => {
    if (!anyPortIfTaken || error.code !== 'EADDRINUSE') throw error;
    return listening(server, { ...wished, port: 0 });
  });
  return (server.address() as AddressInfo).port;
}

function listening(server: Server, options: Omit<ListenOptions, 'anyPortIfTaken'>): Promise<void> {
  return new Promise((settle, fail) => {
    server.once('error', fail);
    server.listen(options, () => {
      server.removeListener('error', fail);
      settle();
    });
  });
}
