/** A TCP proxy on loopback that can be cut, healed and slowed down: the cable between two nodes. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** `reset`: connections break and new ones are refused. `silent`: connections stay, and nothing comes through. */
export type CutMode = 'reset' | 'silent';

export interface TcpProxy {
  readonly port: number;
  readonly cut: (mode: CutMode) => void;
  readonly heal: () => void;
  /** One-way delay of everything that arrives from now on. */
  readonly setLatency: (ms: number) => void;
  /** Bytes that came through in both directions. */
  readonly forwardedBytes: () => number;
  readonly close: () => Promise<void>;
}

interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
}

/** Listens on a free port and connects each client to `targetPort` on loopback. */
export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const links = new Set<Link>();
  let cutMode: CutMode | undefined;
  let latencyMs = 0;
  let forwardedBytes = 0;

  const forward = (from: Socket, to: Socket): void => {
    from.on('data', (bytes) => {
      forwardedBytes += bytes.length;
      const send = (): void => {
        if (to.writable && !to.write(bytes)) {
          from.pause();
          to.once('drain', () => {
            if (cutMode !== 'silent') from.resume();
          });
        }
      };
      // Timers of equal length fire in order, so the bytes stay in order while the latency does not change.
      if (latencyMs === 0) send();
      else setTimeout(send, latencyMs);
    });
  };

  const server = createServer((client) => {
    if (cutMode === 'reset') {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(targetPort, '127.0.0.1');
    const link = { client, upstream };
    links.add(link);
    const drop = (): void => {
      links.delete(link);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      socket.on('error', drop).on('close', drop);
    }
    forward(client, upstream);
    forward(upstream, client);
    if (cutMode === 'silent') hold(link);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a proxy listens on a TCP port');

  return {
    port: address.port,
    cut: (mode) => {
      cutMode = mode;
      for (const link of links) {
        if (mode === 'silent') hold(link);
        else link.client.resetAndDestroy();
      }
    },
    heal: () => {
      cutMode = undefined;
      for (const { client, upstream } of links) {
        client.resume();
        upstream.resume();
      }
    },
    setLatency: (ms) => {
      latencyMs = ms;
    },
    forwardedBytes: () => forwardedBytes,
    close: async () => {
      server.close();
      for (const { client } of links) client.destroy();
      if (server.listening) await once(server, 'close');
    },
  };
}

function hold({ client, upstream }: Link): void {
  client.pause();
  upstream.pause();
}
