/** Asks the gateways of nodes over and over: a node whose processes die behind it has to say so, not to vanish or to hang. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NetworkNode } from './network.ts';

export interface GatewayWatch {
  readonly answers: number;
  /** Answers that say that the node is not ready. */
  readonly notReady: number;
  readonly violations: readonly string[];
}

const INTERVAL_MS = 100;
/** Far above what the slowest machine takes for an answer. */
const HANGS_MS = 30_000;
const BODY = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'status', params: {} });

export function watchGateways(nodes: readonly NetworkNode[]): { readonly stop: () => Promise<GatewayWatch> } {
  let isStopped = false;
  let answers = 0;
  let notReady = 0;
  const violations = new Set<string>();
  const ask = async ({ name, rpcUrl }: NetworkNode): Promise<void> => {
    while (!isStopped) {
      try {
        const headers = { 'content-type': 'application/json' };
        const signal = AbortSignal.timeout(HANGS_MS);
        const response = await fetch(rpcUrl, { method: 'POST', headers, body: BODY, signal });
        const { result, error } = (await response.json()) as {
          readonly result?: unknown;
          readonly error?: { readonly message?: string; readonly data?: string };
        };
        answers++;
        if (response.status === 503 && error?.message !== undefined && error.data !== undefined) notReady++;
        else if (result === undefined)
          violations.add(`${name}: gateway answered ${response.status} ${JSON.stringify(error)}`);
      } catch (error) {
        const cause =
          error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
        violations.add(`${name}: gateway gave no answer: ${error}${cause}`);
      }
      await sleep(INTERVAL_MS);
    }
  };
  const asking = nodes.map(ask);
  return {
    stop: async () => {
      isStopped = true;
      await Promise.all(asking);
      return { answers, notReady, violations: [...violations] };
    },
  };
}
