/**
 * What a client knows about the chain for certain: headers that the light client verified from the caller's own trust, and
 * records proven against them. The RPC server is a source of bytes, nothing more.
 */
import {
  DEFAULT_TRUST_LEVEL,
  decodeHeader,
  decodeSignedHeader,
  decodeValidatorsPage,
  type Header,
  headerHash,
  type LightBlock,
  type SyncOptions,
  syncTo,
  timestampFromMs,
  timestampToMs,
  trustedStateOf,
  type Validator,
  type ValidatorSet,
  validatorSetHash,
  validatorSetOf,
  verifyStateProof,
} from '@haca/light-client';
import { type RpcClient, RpcError } from '@haca/platform/rpc';
import { bytesEqual, type CryptoProvider, MalformedError, toHex, UsageError } from '@haca/primitives';
import { failed, type ProvenRecord, type Verdict, verdictOf } from '@haca/protocol';
import { TimeoutError, VerificationError } from '../errors.ts';
import { asArray, asObject } from '../json.ts';
import { sleep } from '../platform.ts';
import type { Trust } from './trust.ts';
import { anchorHeight, trustedChainId, verifyAnchor } from './trust-anchor.ts';

export interface ChainView {
  readonly chainId: string;
  readonly trust: Trust;
  readonly rpc: RpcClient;
  /** The highest header verified so far. Throws `UsageError` before the first `sync`. */
  readonly head: () => Header;
  /** Verifies up to the server's newest header, or waits until `minHeight` is there. */
  readonly sync: (options?: { readonly minHeight?: number; readonly timeoutMs?: number }) => Promise<Header>;
  /** The verified header of a height that exists. */
  readonly headerAt: (height: number) => Promise<Header>;
  /** A record (or its absence) with its proof, verified; by default of the newest provable state. */
  readonly record: (key: Uint8Array, stateHeight?: number) => Promise<ProvenRecord>;
  /** Light blocks that lead from the caller's trust over all `heights`, ascending, for a bundle. */
  readonly trace: (heights: readonly number[]) => Promise<readonly LightBlock[]>;
  /** The verdict on the newest header: who signed, and how the trust reached it. */
  readonly headVerdict: () => Verdict;
}

export interface ChainViewOptions {
  readonly crypto: CryptoProvider;
  readonly rpc: RpcClient;
  readonly trust: Trust;
  readonly clock: () => number;
  /** How long after its time a verified header may be built on; below the unbonding time of validators. Default 9 days. */
  readonly trustingPeriodMs?: number;
  readonly clockDriftMs?: number;
}

const DAY_MS = 86_400_000;
const TRUSTING_PERIOD_MS = 9 * DAY_MS;
const CLOCK_DRIFT_MS = 30_000;
const FETCHES_MAX = 256;
const KEPT_BLOCKS_MAX = 4096;
const WALK_BACK_MAX = 4000;
const SYNC_TIMEOUT_MS = 20_000;

export function openChainView(options: ChainViewOptions): ChainView {
  const { crypto, rpc, trust, clock } = options;
  const chainId = trustedChainId(trust);
  const source = lightBlockSource(rpc);
  const verified = new Map<number, LightBlock>();
  const walkedBack = new Map<number, Header>();
  let head: LightBlock | undefined;
  let headVerdict: Verdict = verdictOf([]);
  let anchoring: Promise<LightBlock> | undefined;
  let syncing: Promise<Header> | undefined;
  const syncOptions: SyncOptions = {
    chainId,
    trustingPeriodNs: BigInt(options.trustingPeriodMs ?? TRUSTING_PERIOD_MS) * 1_000_000n,
    clockDriftNs: BigInt(options.clockDriftMs ?? CLOCK_DRIFT_MS) * 1_000_000n,
    trustLevel: DEFAULT_TRUST_LEVEL,
    maxFetches: FETCHES_MAX,
  };

  const keep = (block: LightBlock): void => {
    const { height } = block.signedHeader.header;
    if (verified.size >= KEPT_BLOCKS_MAX) forgetOlderHalf(verified, anchorHeight(trust));
    verified.set(height, block);
    if (head === undefined || height > head.signedHeader.header.height) head = block;
  };

  const anchor = (): Promise<LightBlock> => {
    anchoring ??= fetchAnchor().catch((error: unknown) => {
      anchoring = undefined;
      throw error;
    });
    return anchoring;
  };
  const fetchAnchor = async (): Promise<LightBlock> => {
    const block = await source.lightBlock(anchorHeight(trust));
    const verdict = verifyAnchor(crypto, trust, block);
    if (!verdict.ok) throw new VerificationError('the chain does not start from what you trust', verdict);
    headVerdict = verdict;
    keep(block);
    return block;
  };

  /** Verifies forward from the highest trusted block that is not above `height`. */
  const verifyUpTo = async (height: number): Promise<readonly LightBlock[]> => {
    const start = nearestAtOrBelow(verified, height) ?? (await anchor());
    if (start.signedHeader.header.height === height) return [];
    const result = await syncTo(crypto, source, trustedStateOf(start), height, syncOptions, () =>
      timestampFromMs(clock()),
    );
    for (const block of result.trace) keep(block);
    if (result.outcome !== 'trusted') {
      const last = result.verifications.at(-1)?.verdict;
      const verdict =
        last !== undefined && !last.ok
          ? last
          : verdictOf([
              failed('chain.header', 'chain.no-path', `trust up to height ${height}`, result.outcome),
            ]);
      throw new VerificationError(`the header of height ${height} was not verified`, verdict);
    }
    const newest = result.verifications.at(-1);
    if (newest !== undefined && newest.height === head?.signedHeader.header.height)
      headVerdict = newest.verdict;
    return result.trace;
  };

  const requireHead = (): Header => {
    if (head === undefined) throw new UsageError('sync the chain view first');
    return head.signedHeader.header;
  };

  const syncOnce = (): Promise<Header> => {
    syncing ??= (async () => {
      await anchor();
      const { height, chainId: served } = await rpc.status();
      if (served !== chainId) {
        throw new VerificationError(
          `${rpc.url} serves another chain`,
          verdictOf([failed('chain.id', 'E_CHAIN', chainId, served)]),
        );
      }
      if (height > requireHead().height) await verifyUpTo(height);
      return requireHead();
    })().finally(() => {
      syncing = undefined;
    });
    return syncing;
  };

  const sync: ChainView['sync'] = async ({ minHeight = 0, timeoutMs = SYNC_TIMEOUT_MS } = {}) => {
    const deadline = Date.now() + timeoutMs;
    for (let pauseMs = 5; ; pauseMs = Math.min(2 * pauseMs, 250)) {
      const header = await syncOnce();
      if (header.height >= minHeight) return header;
      if (Date.now() >= deadline) {
        throw new TimeoutError(
          `no header of height ${minHeight} after ${timeoutMs} ms, newest ${header.height}`,
        );
      }
      await sleep(pauseMs);
    }
  };

  const headerAt = async (height: number): Promise<Header> => {
    const known = verified.get(height)?.signedHeader.header ?? walkedBack.get(height);
    if (known !== undefined) return known;
    const first = (await anchor()).signedHeader.header;
    if (height < first.height) return walkBack(rpc, first, height, walkedBack);
    if (height > (head?.signedHeader.header.height ?? 0)) await sync({ minHeight: height });
    if (!verified.has(height)) await verifyUpTo(height);
    return (verified.get(height) as LightBlock).signedHeader.header;
  };

  const record: ChainView['record'] = async (key, stateHeight) => {
    const wanted = stateHeight ?? (await provableHeight(sync, anchorHeight(trust)));
    const { value, proof, height } = await rpc.query('/record', key, { height: wanted, prove: true });
    const header = await headerAt(height + 1);
    const proven: ProvenRecord = {
      key,
      value: value.length === 0 ? null : value,
      stateHeight: height,
      proof: proof ?? new Uint8Array(0),
    };
    const verdict = verifyStateProof({ header, ...proven });
    if (!verdict.ok || height !== wanted) {
      const state = verdictOf([
        ...(height === wanted
          ? []
          : [failed('store.asked', 'store.height-mismatch', `${wanted}`, `${height}`)]),
        ...verdict.checks,
      ]);
      throw new VerificationError('a record of chain state was not proven', state);
    }
    return proven;
  };

  const trace: ChainView['trace'] = async (heights) => {
    const wanted = [...new Set(heights)]
      .sort((a, b) => a - b)
      .filter((height) => height >= anchorHeight(trust));
    const blocks: LightBlock[] = [await anchor()];
    for (const height of wanted) {
      const from = blocks.at(-1) as LightBlock;
      if (from.signedHeader.header.height >= height) continue;
      const result = await syncTo(crypto, source, trustedStateOf(from), height, syncOptions, () =>
        timestampFromMs(clock()),
      );
      if (result.outcome !== 'trusted') {
        throw new VerificationError(
          `the header of height ${height} was not verified`,
          verdictOf([failed('chain.header', 'chain.no-path', 'a verified path', result.outcome)]),
        );
      }
      blocks.push(...result.trace);
    }
    return blocks;
  };

  return {
    chainId,
    trust,
    rpc,
    head: requireHead,
    sync,
    headerAt,
    record,
    trace,
    headVerdict: () => headVerdict,
  };
}

/** The newest state whose app hash is in a verified header; waits for the chain's second block. */
async function provableHeight(sync: ChainView['sync'], initialHeight: number): Promise<number> {
  const header = await sync({ minHeight: initialHeight + 1 });
  return header.height - 1;
}

export function headerTimeMs(header: Header): number {
  return timestampToMs(header.time);
}

function nearestAtOrBelow(blocks: ReadonlyMap<number, LightBlock>, height: number): LightBlock | undefined {
  let best: LightBlock | undefined;
  for (const [at, block] of blocks) {
    if (at <= height && at > (best?.signedHeader.header.height ?? -1)) best = block;
  }
  return best;
}

function forgetOlderHalf(blocks: Map<number, LightBlock>, anchorAt: number): void {
  const heights = [...blocks.keys()].sort((a, b) => a - b);
  for (const height of heights.slice(0, heights.length / 2)) if (height !== anchorAt) blocks.delete(height);
}

/** Light blocks from CometBFT's RPC. Validator sets are asked for once per hash. */
function lightBlockSource(rpc: RpcClient) {
  const sets = new Map<string, ValidatorSet>();
  const validatorsAt = async (height: number, hash: Uint8Array): Promise<ValidatorSet> => {
    const known = sets.get(toHex(hash));
    if (known !== undefined) return known;
    const set = await fetchValidators(rpc, height);
    if (sets.size > 1000) sets.clear();
    sets.set(toHex(validatorSetHash(set)), set);
    return set;
  };
  return {
    lightBlock: async (height: number): Promise<LightBlock> => {
      const answer = asObject(await rpc.call('commit', { height: `${height}` }), 'commit');
      const signedHeader = decodeSignedHeader(answer['signed_header']);
      const { validatorsHash, nextValidatorsHash } = signedHeader.header;
      return {
        signedHeader,
        validators: await validatorsAt(height, validatorsHash),
        nextValidators: await validatorsAt(height + 1, nextValidatorsHash),
      };
    },
  };
}

const PAGE_SIZE = 100;
const PAGES_MAX = 100;

async function fetchValidators(rpc: RpcClient, height: number): Promise<ValidatorSet> {
  const validators: Validator[] = [];
  for (let page = 1; page <= PAGES_MAX; page++) {
    const params = { height: `${height}`, page: `${page}`, per_page: `${PAGE_SIZE}` };
    const answer = decodeValidatorsPage(await rpc.call('validators', params));
    validators.push(...answer.validators);
    if (validators.length >= answer.total || answer.validators.length === 0) break;
  }
  return validatorSetOf(validators);
}

/** Below the anchor: each header names the hash of the one before, so a chain of hashes leads back. */
async function walkBack(
  rpc: RpcClient,
  anchor: Header,
  height: number,
  known: Map<number, Header>,
): Promise<Header> {
  let above = anchor;
  for (const [at, header] of known) if (at > height && at < above.height) above = header;
  if (above.height - height > WALK_BACK_MAX || height < 1) {
    throw new RpcError(
      'unreachable',
      `height ${height} lies too far below the trusted header ${anchor.height}`,
    );
  }
  while (above.height > height) {
    const maxHeight = above.height - 1;
    const params = { minHeight: `${Math.max(height, maxHeight - 19)}`, maxHeight: `${maxHeight}` };
    const answer = asObject(await rpc.call('blockchain', params), 'blockchain');
    const metas = asArray(answer['block_metas'], 'blockchain.block_metas', 100);
    if (metas.length === 0) throw new MalformedError('rpc.blockchain', '', 'block metas', 'none');
    for (const meta of metas) {
      const header = decodeHeader(asObject(meta, 'block_meta')['header']);
      if (header.height !== above.height - 1) continue;
      const isLinked = bytesEqual(headerHash(header), above.lastBlockId.hash);
      if (!isLinked) {
        throw new VerificationError(
          `the header of height ${header.height} was not verified`,
          verdictOf([
            failed('chain.link', 'chain.link', toHex(above.lastBlockId.hash), toHex(headerHash(header))),
          ]),
        );
      }
      known.set(header.height, header);
      above = header;
    }
    if (above.height > maxHeight)
      throw new MalformedError('rpc.blockchain', '', `height ${maxHeight}`, 'others');
  }
  return above;
}
