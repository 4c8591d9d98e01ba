/** What one client keeps from request to request. */
import { connectRpc } from '@haca/platform/rpc';
import type { ZkVerifier } from '@haca/verifier';
import type { Answer } from '../answer.ts';
import { type ChainView, openChainView } from '../chain/view.ts';
import { type Channel, openWallet, type Wallet } from '../chain/wallet.ts';
import { type Directory, openDirectory } from '../directory.ts';
import type { VerificationError } from '../errors.ts';
import type { ChannelOptions, HacaOptions } from '../options.ts';
import { type Platform, randomBytes } from '../platform.ts';
import { DEFAULT_POLICY, type Policy } from '../policy.ts';
import type { ProvenVerifyingKey } from '../zk/proof.ts';
import { openZkVerifier } from '../zk/verify.ts';
import type { Attempt } from './attempt.ts';
import { type LaneLedger, openLaneLedger } from './lanes.ts';

const DEFAULT_CHANNEL: ChannelOptions = { asset: 1, deposit: 2_000_000_000n, allocation: 1_000_000_000n };

/** Everything a request needs; one per client. */
export interface Session {
  readonly platform: Platform;
  readonly chain: ChainView;
  readonly directory: Directory;
  readonly wallet: Wallet | null;
  readonly lanes: LaneLedger;
  readonly zkVerifier: ZkVerifier;
  /** Transactions that prove claims, by hash: one proves many receipts. */
  readonly proofTransactions: Map<string, Uint8Array>;
  /** Verifying keys that were proven, by hash. */
  readonly verifyingKeys: Map<string, ProvenVerifyingKey>;
  readonly policy: Policy;
  /** What the salts of sealed requests are made of. */
  readonly saltSecret: Uint8Array;
  readonly channel: ChannelOptions;
  readonly clock: () => number;
  readonly fetch: typeof fetch;
  readonly channels: Map<string, Channel>;
  /** Requests whose outcome is unknown, by request hash: sent again they are the same request with the same voucher. */
  readonly unresolved: Map<string, { readonly attempt: Attempt; readonly sinceMs: number }>;
  /** Attempts that are on their way now. */
  readonly sending: Set<Attempt>;
  /** Why the answer to a request was withheld, by request hash: a client library that retries does not pay for it again. */
  readonly withheld: Map<string, VerificationError>;
  /** Receipts seen, by key and sequence number. */
  readonly seen: Map<string, Uint8Array>;
  readonly onAnswer: (answer: Answer) => void;
  lastAnswer: Answer | null;
  syncedAtMs: number;
}

export function openSession(options: HacaOptions): Session {
  const { platform, clock = Date.now } = options;
  const policy = { ...DEFAULT_POLICY, ...options.policy };
  const fetchFn = options.fetch ?? fetch;
  const chain = openChainView({
    crypto: platform.crypto,
    rpc: options.rpc ?? connectRpc(options.rpcUrl),
    trust: options.trust,
    clock,
    ...(options.trustingPeriodMs === undefined ? {} : { trustingPeriodMs: options.trustingPeriodMs }),
  });
  return {
    platform,
    chain,
    directory: openDirectory({
      crypto: platform.crypto,
      chain,
      policy,
      clock,
      fetch: fetchFn,
      nodeUrls: options.nodes ?? null,
    }),
    wallet: options.wallet === null ? null : openWallet(platform, chain, options.wallet),
    lanes: openLaneLedger(platform.crypto),
    zkVerifier: openZkVerifier(platform),
    proofTransactions: new Map(),
    verifyingKeys: new Map(),
    policy,
    saltSecret: randomBytes(32),
    channel: { ...DEFAULT_CHANNEL, ...options.channel },
    clock,
    fetch: fetchFn,
    channels: new Map(),
    unresolved: new Map(),
    sending: new Set(),
    withheld: new Map(),
    seen: new Map(),
    onAnswer: options.onAnswer ?? (() => undefined),
    lastAnswer: null,
    syncedAtMs: clock(),
  };
}
