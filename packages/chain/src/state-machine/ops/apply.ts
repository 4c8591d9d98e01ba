import type { Op, SignedObject, Statement } from '@haca/protocol';
import { refuse } from '../refusal.ts';
import * as channels from './channels.ts';
import { applyPostCollateral } from './collateral.ts';
import { applyDecree } from './decree.ts';
import * as keys from './keys.ts';
import { applyRegisterModel } from './models.ts';
import { applyProve } from './prove.ts';
import * as registry from './registry.ts';
import { applySettle } from './settle.ts';
import * as staking from './staking.ts';
import type { Outcome, Step } from './step.ts';
import * as transfers from './transfers.ts';

/** Applies one operation, or returns why not; what it wrote before refusing is taken back by the caller. */
export function applyOp(step: Step, op: Op, statement: SignedObject<Statement> | undefined): Outcome {
  switch (op.kind) {
    case 'transfer-opg':
      return transfers.applyTransferOpg(step, op);
    case 'transfer-credit':
      return transfers.applyTransferCredit(step, op);
    case 'issue':
      return transfers.applyIssue(step, op);
    case 'retire':
      return transfers.applyRetire(step, op);
    case 'open-channel':
      return channels.applyOpenChannel(step, op);
    case 'deposit':
      return channels.applyDeposit(step, op);
    case 'register-session':
      return channels.applyRegisterSession(step, op);
    case 'revoke-session':
      return channels.applyRevokeSession(step, op);
    case 'allocate':
      return channels.applyAllocate(step, op);
    case 'release':
      return channels.applyRelease(step, op);
    case 'request-withdraw':
      return channels.applyRequestWithdraw(step, op);
    case 'finalize-withdraw':
      return channels.applyFinalizeWithdraw(step, op);
    case 'withdraw-free':
      return channels.applyWithdrawFree(step, op);
    case 'close-channel':
      return channels.applyCloseChannel(step, op);
    case 'register-model':
      return applyRegisterModel(step, op);
    case 'register-node':
      return registry.applyRegisterNode(step, op);
    case 'update-node':
      return registry.applyUpdateNode(step, op);
    case 'bond-node':
      return registry.applyBondNode(step, op);
    case 'unbond-node':
      return registry.applyUnbondNode(step, op);
    case 'open-key':
      return keys.applyOpenKey(step, op);
    case 'close-key':
      return keys.applyCloseKey(step, op);
    case 'abandon-key':
      return keys.applyAbandonKey(step, op);
    case 'register-validator':
      return staking.applyRegisterValidator(step, op);
    case 'bond-validator':
      return staking.applyBondValidator(step, op);
    case 'unbond-validator':
      return staking.applyUnbondValidator(step, op);
    case 'claim-rewards':
      return staking.applyClaimRewards(step, op);
    case 'settle':
      return statement === undefined
        ? refuse('E_MALFORMED', 'a statement', 'none')
        : applySettle(step, statement, op);
    case 'decree':
      return applyDecree(step, op);
    case 'post-collateral':
      return applyPostCollateral(step, op);
    case 'prove':
      return applyProve(step, op, statement);
  }
}
