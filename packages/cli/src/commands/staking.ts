/** Transactions of a validator's operator. */
import { decode, fromHex, toHex } from '@haca/primitives';
import {
  formatOpg,
  nopg,
  type Op,
  recordKey,
  type ValidatorRecord,
  validatorRecordCodec,
} from '@haca/protocol';
import {
  type Haca,
  readConsensusKeyFile,
  registerValidatorOp,
  validatorAddressOf,
  type Wallet,
} from '@haca/sdk/node';
import { type Call, type Command, CommandLineError, type Flag } from '../command.ts';
import { findNetwork, findWallet, NETWORK_FLAGS, openClient } from '../connection.ts';

const WALLET_FLAG: Readonly<Record<string, Flag>> = {
  wallet: { value: 'FILE', help: "the operator's wallet, which pays (default: the devnet's)" },
};
const AMOUNT_HELP = 'OPG, up to nine decimals';

export const registerValidatorCommand: Command = {
  name: 'tx register-validator',
  summary: `Makes the wallet's account the operator of a new validator and bonds OPG behind its consensus key.
The key must never have been registered before. It votes from two blocks later on: run its node first. On a network whose
full node has the embedded engine, a bond above half of the validator's own stops that node: use CometBFT there.`,
  operands: '',
  flags: {
    'consensus-key': { value: 'FILE', help: "the node's priv_validator_key.json, or a haca-validator file" },
    bond: { value: 'AMOUNT', help: `${AMOUNT_HELP}; 1,000 OPG are a unit of voting power` },
    ...WALLET_FLAG,
    ...NETWORK_FLAGS,
  },
  examples: [
    'haca tx register-validator --consensus-key config/priv_validator_key.json --bond 100000',
    'haca tx register-validator --consensus-key key.json --bond 250000.5 --wallet ./operator.json --json',
  ],
  run: (call) => {
    const signer = readConsensusKeyFile(required(call, 'consensus-key'));
    const bond = amountOf(call, 'bond');
    const validator = validatorAddressOf(signer.publicKey);
    return submit(call, 'registered', validator, (haca, wallet) => ({
      op: registerValidatorOp({
        chainId: haca.chain.chainId,
        operator: wallet.accountId,
        consensusKey: signer,
        bond,
      }),
      amount: bond,
    }));
  },
};

export const bondValidatorCommand: Command = {
  name: 'tx bond-validator',
  summary: `Adds to a validator's bond. One that has left comes back this way, by bonding the minimum again.`,
  operands: 'VALIDATOR',
  flags: { amount: { value: 'AMOUNT', help: AMOUNT_HELP }, ...WALLET_FLAG, ...NETWORK_FLAGS },
  examples: ['haca tx bond-validator 3c…(40 hex digits) --amount 5000'],
  run: (call) => {
    const validator = validatorOperand(call);
    const amount = amountOf(call, 'amount');
    return submit(call, 'bonded', validator, () => ({
      op: { kind: 'bond-validator', validator, amount: nopg(amount) },
      amount,
    }));
  },
};

export const unbondValidatorCommand: Command = {
  name: 'tx unbond-validator',
  summary: `Takes a part of a validator's bond out, down to the minimum, or all of it: then the validator leaves.
What is taken out is free after the unbonding time, and can be slashed until then.`,
  operands: 'VALIDATOR',
  flags: {
    amount: { value: 'AMOUNT', help: AMOUNT_HELP },
    all: { help: 'the whole bond: the validator leaves' },
    ...WALLET_FLAG,
    ...NETWORK_FLAGS,
  },
  examples: [
    'haca tx unbond-validator 3c…(40 hex digits) --amount 5000',
    'haca tx unbond-validator 3c…(40 hex digits) --all',
  ],
  run: (call) => {
    const validator = validatorOperand(call);
    if (call.has('all') === call.has('amount')) throw new CommandLineError('either --amount or --all');
    const wanted = call.has('all') ? null : amountOf(call, 'amount');
    return submit(call, 'unbonds', validator, async (haca) => {
      const amount = wanted ?? (await recordOf(haca, validator)).selfBond;
      return { op: { kind: 'unbond-validator', validator, amount: nopg(amount) }, amount };
    });
  },
};

export const claimRewardsCommand: Command = {
  name: 'tx claim-rewards',
  summary: "Moves a validator's accrued rewards to its operator's account.",
  operands: 'VALIDATOR',
  flags: { ...WALLET_FLAG, ...NETWORK_FLAGS },
  examples: ['haca tx claim-rewards 3c…(40 hex digits)', 'haca tx claim-rewards 3c…(40 hex digits) --json'],
  run: (call) => {
    const validator = validatorOperand(call);
    return submit(call, 'claimed', validator, () => ({
      op: { kind: 'claim-rewards', validator },
      amount: null,
    }));
  },
};

interface Intent {
  readonly op: Op;
  /** Null where only the chain knows it. */
  readonly amount: bigint | null;
}

async function submit(
  call: Call,
  done: string,
  validator: Uint8Array,
  intend: (haca: Haca, wallet: Wallet) => Intent | Promise<Intent>,
): Promise<number> {
  const network = await findNetwork(call);
  const haca = await openClient(call, network, findWallet(call, network));
  try {
    const wallet = haca.wallet as Wallet;
    const { op, amount } = await intend(haca, wallet);
    const { height, hash, gasUsed, events } = await wallet.submit([op]);
    const shown = events.find(({ type }) => type === 'validator')?.attributes ?? {};
    const moved = amount ?? BigInt(shown['amount'] ?? 0);
    const result = {
      action: op.kind,
      validator: toHex(validator),
      operator: toHex(wallet.accountId),
      amountNopg: `${moved}`,
      height,
      txHash: toHex(hash),
      gasUsed,
      ...(shown['due'] === undefined ? {} : { due: Number(shown['due']) }),
    };
    if (call.json) call.out(JSON.stringify(result, null, 2));
    else call.out(sentence(result, done, moved));
    return 0;
  } finally {
    haca.close();
  }
}

function sentence(
  { validator, height, due }: { readonly validator: string; readonly height: number; readonly due?: number },
  done: string,
  amount: bigint,
): string {
  const then = due === undefined ? '' : `, free from height ${due} on if block time has come as far`;
  return `validator ${validator} ${done} ${formatOpg(amount)} at height ${height}${then}`;
}

async function recordOf(haca: Haca, validator: Uint8Array): Promise<ValidatorRecord> {
  const { value } = await haca.chain.record(recordKey.validator(validator));
  if (value === null) throw new CommandLineError(`there is no validator ${toHex(validator)}`);
  return decode(validatorRecordCodec, value, 'validator');
}

function required(call: Call, flag: string): string {
  const text = call.text(flag);
  if (text === undefined)
    throw new CommandLineError(`--${flag} is needed\nTry: haca ${call.command.name} --help`);
  return text;
}

function validatorOperand(call: Call): Uint8Array {
  return validatorId(call.operands[0]);
}

/** A consensus address as typed, in either case: CometBFT writes upper case. */
export function validatorId(text: string | undefined): Uint8Array {
  if (text === undefined || !/^[0-9a-fA-F]{40}$/.test(text)) {
    throw new CommandLineError(
      `a validator is 40 hex digits${text === undefined ? '' : `, not ${text}`} (haca query validators)`,
    );
  }
  return fromHex(text.toLowerCase());
}

/** Decimal OPG as nopg, exact. */
function amountOf(call: Call, flag: string): bigint {
  const text = required(call, flag);
  const match = /^([0-9]{1,10})(?:\.([0-9]{1,9}))?$/.exec(text);
  if (match === null) throw new CommandLineError(`--${flag} takes ${AMOUNT_HELP}, not ${text}`);
  const [, whole = '0', fraction = ''] = match;
  return BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
}
