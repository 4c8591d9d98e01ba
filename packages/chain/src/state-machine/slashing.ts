/**
 * What a fault of a node costs (N-rows). A node's bond is its operator's own money, so unbonding entries are taken too, whatever
 * their date; all of it is burned. Whoever slashes itself therefore always loses.
 */
import {
  CLAIM_FAULT_WINDOW,
  CLAIM_FAULTS_MAX,
  type ClaimRecord,
  type NodeRecord,
  type Nopg,
  nopg,
} from '@haca/protocol';
import { eventOf } from './events.ts';
import { closeKey, type DueBlock, freezeKey, liveKeys } from './node-keys.ts';
import { slashNodeBond, slashNodeUnbonding } from './opg-ledger.ts';
import type { State } from './state.ts';
import { nodeKeys, nodes, unbondings } from './tables.ts';

const OPG = 1_000_000_000n;

/** Share of all bonded money, and the least that is taken where there is as much. */
export const NODE_FAULTS = {
  /** N1: a claim expired. */
  'expired-claim': { bps: 100n, least: 10n * OPG },
  /** N6: a proof was verified and does not hold. */
  'invalid-proof': { bps: 10n, least: 1n * OPG },
} as const;
export type NodeFault = keyof typeof NODE_FAULTS;

/** Burns what the fault costs: of the bond first, then of unbonding entries, the newest first. */
export function slashNode(
  state: State,
  nodeId: Uint8Array,
  fault: NodeFault,
  about: { readonly keyId: Uint8Array; readonly claimId?: Uint8Array },
  block: DueBlock,
): void {
  const node = nodes.get(state, nodeId);
  if (node === undefined) return;
  const { bps, least } = NODE_FAULTS[fault];
  const bonded = node.bond + node.unbonding;
  const share = (bonded * bps) / 10_000n;
  const wanted = share > least ? share : least;
  const amount = wanted < bonded ? wanted : bonded;
  takeSlash(state, nodeId, node, nopg(amount));
  block.events.push(eventOf('slash', { nodeId, fault, amount, ...about }));
  closeWhereUnbonded(state, nodeId, block);
}

function takeSlash(state: State, nodeId: Uint8Array, node: NodeRecord, amount: Nopg): void {
  let left: bigint = amount;
  const take = (available: bigint): Nopg => {
    const part = available < left ? available : left;
    left -= part;
    return nopg(part);
  };
  const ofBond = take(node.bond);
  if (ofBond > 0n) slashNodeBond(state, nodeId, ofBond);
  for (const due of [...node.unbondingDue].reverse()) {
    const part = take(unbondings.get(state, nodeId, due)?.amount ?? 0n);
    if (part > 0n) slashNodeUnbonding(state, nodeId, due, part);
  }
}

/** Below half the minimum bond a node's keys close, however it came there. */
function closeWhereUnbonded(state: State, nodeId: Uint8Array, { height, params, events }: DueBlock): void {
  const node = nodes.get(state, nodeId);
  if (node === undefined || node.bond >= params.nodeBondMin / 2n) return;
  for (const keyId of liveKeys(state, node, height)) {
    closeKey(state, keyId, height, params);
    events.push(eventOf('close-key', { keyId, nodeId, reason: 'bond', closingAt: height }));
  }
}

/**
 * N1. Up to eight in a window: payers lose nothing by expiry, and an outage of provers must not eat a bond. The eighth ends the
 * node's zk keys and jails it.
 */
export function punishExpiry(
  state: State,
  claim: Pick<ClaimRecord, 'keyId'>,
  nodeId: Uint8Array,
  block: DueBlock,
): void {
  const node = nodes.get(state, nodeId);
  if (node === undefined) return;
  const window = Math.floor(block.height / CLAIM_FAULT_WINDOW);
  const before = node.expiries?.window === window ? node.expiries.count : 0;
  if (before >= CLAIM_FAULTS_MAX) return;
  const count = before + 1;
  nodes.put(state, { ...node, expiries: { window, count } }, nodeId);
  slashNode(state, nodeId, 'expired-claim', { keyId: claim.keyId }, block);
  if (count < CLAIM_FAULTS_MAX) return;
  const slashed = nodes.get(state, nodeId) ?? node;
  const jailedUntil = block.height + CLAIM_FAULT_WINDOW;
  nodes.put(state, { ...slashed, jailedUntil }, nodeId);
  for (const keyId of slashed.keys) {
    if (nodeKeys.get(state, keyId)?.method === 'zk') freezeKey(state, keyId, block);
  }
  block.events.push(eventOf('node', { action: 'jail', nodeId, until: jailedUntil }));
}
