import { ed25519SignerFromSeed } from '@haca/platform';
import {
  type Haca,
  memoryWalletStore,
  openHaca,
  type Policy,
  parseGenesisDocument,
  type Trust,
  type WalletStore,
} from '@haca/sdk';
import { nodePlatform } from '@haca/sdk/node';
import type { FakeNode } from './fake-node.ts';

export interface TestClientOptions {
  readonly store?: WalletStore;
  readonly policy?: Partial<Policy>;
  readonly trust?: Trust;
}

export function openTestClient(node: FakeNode, options: TestClientOptions = {}): Promise<Haca> {
  return openHaca({
    rpcUrl: 'fake:',
    rpc: node.chain.rpc,
    platform: nodePlatform,
    trust: options.trust ?? { genesis: parseGenesisDocument(node.chain.genesis) },
    wallet: {
      signer: ed25519SignerFromSeed(new Uint8Array(32).fill(2)),
      store: options.store ?? memoryWalletStore(),
    },
    policy: { minAssurance: 'signed', ...options.policy },
    fetch: node.fetch,
    clock: node.chain.timeMs,
  });
}
