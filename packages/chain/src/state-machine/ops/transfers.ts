/** Moving OPG and fee assets between accounts; issuing and retiring fee assets. */
import { bytesEqual } from '@haca/primitives';
import type { AccountRecord, OpOf } from '@haca/protocol';
import {
  ASSET_SUPPLY_MAX,
  assetTotals,
  creditOf,
  issueCredit,
  retireCredit,
  transferCredit,
} from '../credit-ledger.ts';
import { transferOpg } from '../opg-ledger.ts';
import { refuse } from '../refusal.ts';
import { accounts, assets, totalsOf } from '../tables.ts';
import type { Outcome, Step } from './step.ts';

export function applyTransferOpg(step: Step, op: OpOf<'transfer-opg'>): Outcome {
  const account = accounts.get(step.state, step.sender);
  const free = (account?.nopg ?? 0n) - (account?.lockedNopg ?? 0n);
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > free) return refuse('E_BALANCE', `at most ${free} nopg`, op.amount);
  transferOpg(step.state, step.sender, op.to, op.amount);
  const bare = bareAccount(step, step.sender, op.to);
  if (bare !== undefined) return bare;
  step.emit('transfer', { ledger: 'opg', from: step.sender, to: op.to, amount: op.amount });
  return undefined;
}

export function applyTransferCredit(step: Step, op: OpOf<'transfer-credit'>): Outcome {
  const balance = creditOf(accounts.get(step.state, step.sender), op.asset);
  if (assets.get(step.state, op.asset) === undefined) return refuse('E_ASSET', 'a fee asset', op.asset);
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > balance) return refuse('E_BALANCE', `at most ${balance} ncr`, op.amount);
  transferCredit(step.state, op.asset, step.sender, op.to, op.amount);
  const bare = bareAccount(step, step.sender, op.to);
  if (bare !== undefined) return bare;
  step.emit('transfer', {
    ledger: 'credit',
    asset: op.asset,
    from: step.sender,
    to: op.to,
    amount: op.amount,
  });
  return undefined;
}

export function applyIssue(step: Step, op: OpOf<'issue'>): Outcome {
  const asset = assets.get(step.state, op.asset);
  if (asset === undefined) return refuse('E_ASSET', 'a fee asset', op.asset);
  if (!bytesEqual(asset.issuer, step.sender))
    return refuse('E_ASSET', 'the issuer of the asset', 'another account');
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  const totals = assetTotals(totalsOf(step.state), op.asset);
  const inBeing = (totals?.issued ?? 0n) - (totals?.retired ?? 0n);
  if (inBeing + op.amount > ASSET_SUPPLY_MAX) {
    return refuse('E_OVERFLOW', `at most ${ASSET_SUPPLY_MAX - inBeing} more in being`, op.amount);
  }
  issueCredit(step.state, op.asset, op.to, op.amount);
  const bare = bareAccount(step, op.to);
  if (bare !== undefined) return bare;
  step.emit('issue', { asset: op.asset, to: op.to, amount: op.amount });
  return undefined;
}

export function applyRetire(step: Step, op: OpOf<'retire'>): Outcome {
  const balance = creditOf(accounts.get(step.state, step.sender), op.asset);
  if (assets.get(step.state, op.asset) === undefined) return refuse('E_ASSET', 'a fee asset', op.asset);
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > balance) return refuse('E_BALANCE', `at most ${balance} ncr`, op.amount);
  retireCredit(step.state, op.asset, step.sender, op.amount);
  const bare = bareAccount(step, step.sender);
  if (bare !== undefined) return bare;
  step.emit('retire', { asset: op.asset, from: step.sender, amount: op.amount });
  return undefined;
}

/** Account rows are for ever, so no transfer may leave one with less than the existential minimum of anything. */
function bareAccount(step: Step, ...touched: readonly Uint8Array[]): Outcome {
  const { existentialNopg, existentialNcr } = step.ctx.config.params;
  const stands = (account: AccountRecord | undefined): boolean =>
    account !== undefined &&
    (account.nopg >= existentialNopg || account.credits.some(([, amount]) => amount >= existentialNcr));
  return touched.every((accountId) => stands(accounts.get(step.state, accountId)))
    ? undefined
    : refuse('E_EXISTENTIAL', `${existentialNopg} nopg or ${existentialNcr} ncr left`, 'less');
}
