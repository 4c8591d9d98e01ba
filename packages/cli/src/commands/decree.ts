/** Decrees of the validators: written down by one, signed by each offline, submitted by anybody. */
import { readFileSync, writeFileSync } from 'node:fs';
import { nodeCrypto } from '@haca/platform';
import { toHex } from '@haca/primitives';
import { decreeMessage, type Op } from '@haca/protocol';
import {
  decreeOp,
  decreePower,
  listValidators,
  nextDecreeSerial,
  readConsensusKeyFile,
  signDecree,
  type Wallet,
} from '@haca/sdk/node';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { findNetwork, findWallet, NETWORK_FLAGS, openClient } from '../connection.ts';
import {
  ACTION_FORMS,
  type DecreeFile,
  formatDecreeFile,
  parseAction,
  parseDecreeFile,
} from '../decree-file.ts';
import { printable } from '../report.ts';

const FORMS = Object.entries(ACTION_FORMS)
  .map(([kind, form]) => `  ${kind}: ${form}`)
  .join('\n');

export const decreeMakeCommand: Command = {
  name: 'decree make',
  summary: `Writes down what validators are to decide, as a JSON file for them to read and sign. Nothing is sent.
The file holds the exact message that consensus keys sign. Actions, {"kind": ..., and their members}:
${FORMS}
Measurements are written as in policies of 'haca evidence verify'. --action takes the JSON or the name of a file with it.`,
  operands: '',
  flags: {
    action: { value: 'JSON', help: 'what is decided' },
    out: { value: 'FILE', help: 'write the file there (default: standard output)' },
    serial: { value: 'N', help: "serial of the decree (default: one above the chain's last, asked there)" },
    'chain-id': { value: 'ID', help: 'with --serial: no network is asked' },
    ...NETWORK_FLAGS,
  },
  examples: [
    `haca decree make --action '{"kind":"revoke-measurement","measurementId":"9c…"}' --out decree.json`,
    'haca decree make --action release.json --out decree.json',
    `haca decree make --chain-id haca-1 --serial 4 --action '{"kind":"set-tcb-statuses","evidenceKind":"tdx","statuses":["UpToDate"]}'`,
  ],
  run: runMake,
};

async function runMake(call: Call): Promise<number> {
  const given = required(call, 'action');
  const action = parseAction(/^\s*[{[]/.test(given) ? given : readFileSync(given, 'utf8'));
  const file: DecreeFile = { decree: { ...(await placeOf(call)), action }, signatures: [] };
  const text = formatDecreeFile(file);
  const out = call.text('out');
  if (out === undefined) {
    call.out(text.trimEnd());
    return 0;
  }
  writeFileSync(out, text, { flag: 'wx' });
  if (call.json) call.out(JSON.stringify({ file: out, ...summaryOf(file) }, null, 2));
  else call.out(`${out}: decree ${file.decree.serial}, to be signed: haca decree sign --key KEY_FILE ${out}`);
  return 0;
}

async function placeOf(call: Call): Promise<{ readonly chainId: string; readonly serial: number }> {
  const serial = call.text('serial');
  if (serial !== undefined && !/^[1-9][0-9]{0,14}$/.test(serial))
    throw new CommandLineError(`--serial takes a number from 1 on, not ${serial}`);
  const chainId = call.text('chain-id');
  if (serial !== undefined && chainId !== undefined) return { chainId, serial: Number(serial) };
  const haca = await openClient(call, await findNetwork(call), null);
  try {
    const own = haca.chain.chainId;
    if (chainId !== undefined && chainId !== own)
      throw new CommandLineError(`this network is ${own}, not ${chainId}`);
    return {
      chainId: own,
      serial: serial === undefined ? await nextDecreeSerial(haca.chain) : Number(serial),
    };
  } finally {
    haca.close();
  }
}

export const decreeSignCommand: Command = {
  name: 'decree sign',
  summary: `Adds a validator's signature to a decree file, offline: what is signed is worked out of the action in the file.
Read the file first; what you sign is printed as well.`,
  operands: 'FILE',
  flags: {
    key: { value: 'FILE', help: "the validator's priv_validator_key.json, or a haca-validator file" },
    out: { value: 'FILE', help: 'write the signed file there (default: in place)' },
  },
  examples: [
    'haca decree sign --key config/priv_validator_key.json decree.json',
    'haca decree sign --key key.json decree.json --out decree.signed.json --json',
  ],
  run: runSign,
};

async function runSign(call: Call): Promise<number> {
  const path = operandFile(call);
  const { decree, signatures } = parseDecreeFile(readFileSync(path, 'utf8'));
  const signature = signDecree(decree, readConsensusKeyFile(required(call, 'key')));
  const own = toHex(signature.validator);
  const others = signatures.filter(({ validator }) => toHex(validator) !== own);
  const file: DecreeFile = { decree, signatures: [...others, signature] };
  const out = call.text('out') ?? path;
  writeFileSync(out, formatDecreeFile(file));
  if (call.json) {
    call.out(JSON.stringify({ file: out, validator: own, ...summaryOf(file) }, null, 2));
    return 0;
  }
  call.out(
    `signed by ${own}: decree ${decree.serial} of ${printable(decree.chainId)}, ${decree.action.kind}`,
  );
  for (const line of actionLines(file)) call.out(`  ${line}`);
  call.out(`${out}: ${file.signatures.length} signatures`);
  return 0;
}

function actionLines(file: DecreeFile): readonly string[] {
  const { action } = JSON.parse(formatDecreeFile(file)) as { readonly action: object };
  return JSON.stringify(action, null, 2).split('\n').map(printable);
}

function summaryOf({ decree, signatures }: DecreeFile) {
  return {
    chainId: decree.chainId,
    serial: decree.serial,
    action: decree.action.kind,
    message: toHex(decreeMessage(decree)),
    signers: signatures.map(({ validator }) => toHex(validator)),
  };
}

export const decreeSubmitCommand: Command = {
  name: 'decree submit',
  summary: `Sends a signed decree, once enough of the voting power has signed it: more than two thirds, or more than five sixths
for a measurement that is approved at once. Anybody may. Exit code 1: not enough, another chain or serial, or refused.`,
  operands: 'FILE',
  flags: {
    wallet: { value: 'FILE', help: "who pays the fee (default: the devnet's wallet)" },
    'dry-run': { help: 'only count the power behind it' },
    ...NETWORK_FLAGS,
  },
  examples: ['haca decree submit decree.json', 'haca decree submit decree.json --dry-run --json'],
  run: runSubmit,
};

async function runSubmit(call: Call): Promise<number> {
  const { decree, signatures } = parseDecreeFile(readFileSync(operandFile(call), 'utf8'));
  const network = await findNetwork(call);
  const isDryRun = call.has('dry-run');
  const haca = await openClient(call, network, isDryRun ? null : findWallet(call, network));
  try {
    if (decree.chainId !== haca.chain.chainId)
      return refuse(
        call,
        `the decree is for ${printable(decree.chainId)}, this network is ${haca.chain.chainId}`,
      );
    const serial = await nextDecreeSerial(haca.chain);
    if (decree.serial !== serial)
      return refuse(call, `the next decree is ${serial}, this one is ${decree.serial}`);
    const validators = await listValidators(haca.chain.rpc);
    const power = decreePower(nodeCrypto, decree, signatures, validators);
    const { signed, all, share, isEnough, refused } = power;
    const [bad] = refused;
    if (bad !== undefined)
      return refuse(
        call,
        `the signature of ${toHex(bad.validator)} is not by a validator with power over this decree`,
      );
    const behind = `${signed} of ${all} units of power`;
    if (!isEnough) return refuse(call, `${behind} have signed; it takes more than ${share}`);
    if (isDryRun) {
      if (call.json) call.out(JSON.stringify({ ok: true, signed, all, dryRun: true }, null, 2));
      else call.out(`${behind} have signed: enough`);
      return 0;
    }
    const op: Op = decreeOp(decree, signatures);
    const { height, hash, gasUsed } = await (haca.wallet as Wallet).submit([op]);
    const result = {
      ok: true,
      ...summaryOf({ decree, signatures }),
      signed,
      all,
      height,
      txHash: toHex(hash),
      gasUsed,
    };
    if (call.json) call.out(JSON.stringify(result, null, 2));
    else call.out(`decree ${serial} (${decree.action.kind}) holds from height ${height} on, by ${behind}`);
    return 0;
  } finally {
    haca.close();
  }
}

function refuse(call: Call, why: string): number {
  if (call.json) call.out(JSON.stringify({ ok: false, error: why }, null, 2));
  else call.err(`not submitted: ${why}`);
  return 1;
}

function required(call: Call, flag: string): string {
  const text = call.text(flag);
  if (text === undefined)
    throw new CommandLineError(`--${flag} is needed\nTry: haca ${call.command.name} --help`);
  return text;
}

function operandFile(call: Call): string {
  const [path, ...others] = call.operands;
  if (path === undefined || others.length > 0)
    throw new CommandLineError(`one decree file: haca ${call.command.name} FILE`);
  return path;
}
