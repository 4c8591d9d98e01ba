/** CometBFT's RPC as a load generator uses it: batches, blocks, new headers. */
import { Pool } from 'undici';
import { WebSocket } from 'ws';

export interface RpcLine {
  /** Gives `result`; rejects where the answer is an error. */
  readonly call: (method: string, params?: Readonly<Record<string, unknown>>) => Promise<unknown>;
  /** Sends transactions (base64) in one request, without waiting for their admission. Gives the errors by index. */
  readonly sendTxs: (txs: readonly string[]) => Promise<ReadonlyMap<number, string>>;
  /** Transactions (base64) of the block of a height that exists. */
  readonly blockTxs: (height: number) => Promise<readonly string[]>;
  /** Result codes of the transactions of a block. */
  readonly resultCodes: (height: number) => Promise<readonly number[]>;
  /** Calls back with the height of each new block until the returned function is called. */
  readonly onHeader: (listener: (height: number) => void) => Promise<() => void>;
  readonly close: () => Promise<void>;
}

/** CometBFT takes no more in one request as this project configures it. */
export const BATCH_MAX = 20;
const CONNECTIONS = 8;

type Json = Readonly<Record<string, unknown>>;

/** `url` is that of CometBFT's own RPC, or the public one of a full node. */
export function connectRpc(url: string): RpcLine {
  const pool = new Pool(url, { connections: CONNECTIONS, pipelining: 1 });
  const sockets: WebSocket[] = [];
  const post = async (content: unknown): Promise<unknown> => {
    const { body } = await pool.request({
      method: 'POST',
      path: '/',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(content),
    });
    return body.json();
  };
  const call: RpcLine['call'] = async (method, params = {}) => {
    const answer = (await post({ jsonrpc: '2.0', id: 1, method, params })) as Json;
    if (answer['error'] !== undefined) throw new Error(`${method}: ${JSON.stringify(answer['error'])}`);
    return answer['result'];
  };
  return {
    call,
    sendTxs: async (txs) => {
      const requests = txs.map((tx, id) => ({
        jsonrpc: '2.0',
        id,
        method: 'broadcast_tx_async',
        params: { tx },
      }));
      const answer = await post(requests);
      const answers = (Array.isArray(answer) ? answer : [answer]) as readonly Json[];
      return new Map(
        answers.flatMap(({ id, error }) =>
          error === undefined ? [] : [[Number(id), JSON.stringify(error)] as const],
        ),
      );
    },
    blockTxs: async (height) => {
      const { block } = (await call('block', { height: `${height}` })) as {
        readonly block: { readonly data: { readonly txs: readonly string[] | null } };
      };
      return block.data.txs ?? [];
    },
    resultCodes: async (height) => {
      const { txs_results: results } = (await call('block_results', { height: `${height}` })) as {
        readonly txs_results: readonly { readonly code?: number }[] | null;
      };
      return (results ?? []).map(({ code }) => code ?? 0);
    },
    onHeader: async (listener) => {
      const socket = new WebSocket(`${url.replace('http:', 'ws:')}/websocket`);
      sockets.push(socket);
      await subscribe(socket, listener);
      return () => socket.terminate();
    },
    close: async () => {
      for (const socket of sockets) socket.terminate();
      await pool.destroy();
    },
  };
}

function subscribe(socket: WebSocket, listener: (height: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('open', () => {
      const params = { query: "tm.event='NewBlockHeader'" };
      socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'subscribe', params }));
    });
    socket.on('message', (data) => {
      const { result, error } = JSON.parse(String(data)) as {
        readonly result?: {
          readonly data?: { readonly value: { readonly header: { readonly height: string } } };
        };
        readonly error?: unknown;
      };
      if (error !== undefined) reject(new Error(`subscribe: ${JSON.stringify(error)}`));
      else if (result?.data === undefined) resolve();
      else listener(Number(result.data.value.header.height));
    });
  });
}
