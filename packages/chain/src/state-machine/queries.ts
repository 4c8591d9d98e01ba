/** What an application asks of the state without executing anything. */
import { failed, type Verdict, verdictOf } from '@haca/protocol';
import { baseFeeOf } from './admission.ts';
import { runningViolations } from './invariants.ts';
import { type KeyPhase, keyPhase } from './node-keys.ts';
import { type KeyStanding, keyStanding } from './standing.ts';
import { openState } from './state.ts';
import { chainConfigOf, nodeKeys, totalsOf } from './tables.ts';
import type {
  BlockHead,
  ChainConfig,
  EvidenceVerifier,
  ExecutionContext,
  StateView,
  ZkProofSystem,
} from './types.ts';

/** What genesis fixed, out of the state: a restarted node needs no genesis file. */
export function readChainConfig(view: StateView): ChainConfig {
  return chainConfigOf(openState(view, false));
}

export interface FeeState {
  /** nopg per gas that block `height` burns. */
  readonly baseFee: bigint;
  readonly height: number;
  readonly gasTarget: number;
}

export function feeState(view: StateView, height: number, config: ChainConfig): FeeState {
  const totals = totalsOf(openState(view, false));
  return { baseFee: baseFeeOf(totals, height, config.params), height, gasTarget: config.params.gasTarget };
}

/** The standing of a key's evidence as of a block, as settling would find it; undefined where there is no such key. */
export function keyStandingOf(
  view: StateView,
  ctx: Pick<ExecutionContext, 'config' | 'crypto' | 'evidence'>,
  keyId: Uint8Array,
  block: BlockHead,
): (KeyStanding & { readonly phase: KeyPhase }) | undefined {
  const state = openState(view, false);
  const key = nodeKeys.get(state, keyId);
  if (key === undefined) return undefined;
  const phase = keyPhase(key, block.height, ctx.config.params);
  return { ...keyStanding(state, ctx, keyId, key, block), phase };
}

/** Height of the newest block that paid gas: up to there the state holds the block hashes (CHAIN-9). */
export function lastPaidHeight(view: StateView): number {
  return totalsOf(openState(view, false)).baseFeeHeight;
}

/** I1 and I2 on the running totals, in constant time. Empty where they hold. */
export function checkRunningTotals(view: StateView): readonly string[] {
  return runningViolations(totalsOf(openState(view, false)));
}

const NO_VERIFIER: Verdict = verdictOf([failed('evidence.verifier', 'E_EVIDENCE', 'a verifier', 'none')]);

/** Accepts no evidence and no collateral at all: for tools and tests that have no verifier. */
export const refuseAllEvidence: EvidenceVerifier = {
  appraise: () => ({ verdict: NO_VERIFIER, claims: null, tcbStatus: null }),
  rescore: () => ({ fault: 'stale-collateral', tcbStatus: null, collateralEndMs: null }),
  appraiseCollateral: () => ({ verdict: NO_VERIFIER, facts: null }),
};

/** Knows no verifying key and accepts no proof: for tools and tests that have no proof system. */
export const refuseAllProofs: ZkProofSystem = {
  outlineKey: () => undefined,
  appraiseKey: () => ({ ok: false, info: 'there is no proof system' }),
  checkTensors: () => 'there is no proof system',
  verifyProof: () => false,
  verifyRegistration: null,
};
