import { readFileSync, writeFileSync } from 'node:fs';
import { MalformedError, toHex } from '@haca/primitives';
import { type Verdict, verdictExitCode } from '@haca/protocol';
import {
  type Answer,
  type InferResult,
  type Lifecycle,
  type TensorInput,
  UnprovedError,
} from '@haca/sdk/node';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { findNetwork, findWallet, NETWORK_FLAGS, openClient, POLICY_FLAGS } from '../connection.ts';
import { FOLLOW_FLAGS, finalExitCode, followAnswer, wantedState } from '../follow.ts';
import { checkLines, credits } from '../report.ts';

export const inferCommand: Command = {
  name: 'infer',
  summary: 'Runs a model whose answers are proved, pays, and verifies the proof itself.',
  operands: '',
  flags: {
    model: { value: 'NAME', help: 'model name or id (default: the first model on chain that is proved)' },
    input: {
      value: 'FILE',
      help: 'tensors: JSON (a list of integers, nested or not, or {"tensors": [list, ...]}), a grey image (.pgm), or raw bytes',
    },
    ...FOLLOW_FLAGS,
    bundle: { value: 'FILE', help: 'write everything to verify the answer and its proof offline' },
    checks: { help: 'list every check instead of a summary' },
    wallet: { value: 'FILE', help: 'who pays (default: the devnet wallet)' },
    node: { value: 'URL', help: 'use this node', multiple: true },
    ...NETWORK_FLAGS,
    ...POLICY_FLAGS,
  },
  examples: [
    'haca infer --model digits --input digit.json',
    'haca infer --model digits --input digit.pgm --bundle digit.haca --json',
  ],
  run: runInfer,
};

/** Exit code of a failed check. */
const NOT_PROVED = 1;

async function runInfer(call: Call): Promise<number> {
  const until = wantedState(call);
  const file = call.text('input');
  if (file === undefined) throw new CommandLineError('which input? --input FILE');
  const tensors = readTensors(file);
  const network = await findNetwork(call);
  const haca = await openClient(call, network, findWallet(call, network), call.list('node'));
  try {
    const model = call.text('model') ?? (await firstProvedModel(haca));
    const result = await haca.infer({ model, tensors });
    const { answer } = result;
    if (!call.json) printAnswer(call, result);
    const lifecycle = await followAnswer(call, answer, until);
    if (!call.json) printProof(call, answer);
    if (call.has('bundle')) writeFileSync(call.text('bundle') as string, await answer.bundle());
    if (call.json) call.out(JSON.stringify(jsonOf(result, lifecycle), null, 2));
    return Math.max(
      verdictExitCode(answer.verdict),
      lifecycle === null ? 0 : finalExitCode(lifecycle, until),
    );
  } catch (error) {
    if (!(error instanceof UnprovedError)) throw error;
    return reportUnproved(call, error);
  } finally {
    haca.close();
  }
}

async function firstProvedModel(haca: Awaited<ReturnType<typeof openClient>>): Promise<string> {
  const found = (await haca.models()).find(({ manifest }) => manifest.methods.includes('zk'));
  if (found === undefined) throw new CommandLineError('no model on this chain is proved: --model NAME');
  return found.manifest.name;
}

/** Not proved is not wrong money: what was not proved is not paid. */
function reportUnproved(call: Call, { message, refund, asset, answerId }: UnprovedError): number {
  if (call.json) {
    const error = { name: 'UnprovedError', message, refund: `${refund}`, asset, receiptId: answerId };
    call.out(JSON.stringify({ ok: false, error }, null, 2));
  } else call.err(`haca: ${message}`);
  return NOT_PROVED;
}

/** Tensors out of a file, told apart by its first bytes. */
export function readTensors(path: string): readonly TensorInput[] {
  const bytes = new Uint8Array(readFileSync(path));
  const start = new TextDecoder('latin1').decode(bytes.subarray(0, 64)).trimStart();
  if (start.startsWith('P5')) return [readGreyImage(bytes, path)];
  if (start.startsWith('[') || start.startsWith('{')) return tensorsOfJson(bytes, path);
  return [bytes];
}

function tensorsOfJson(bytes: Uint8Array, path: string): readonly TensorInput[] {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new MalformedError('input.json', path, 'JSON', (error as Error).message);
  }
  const list = (value as { readonly tensors?: unknown }).tensors;
  const tensors = Array.isArray(list) ? list : [value];
  return tensors.map((tensor, i) => integersOf(tensor, `${path}.tensors.${i}`));
}

function integersOf(value: unknown, path: string): number[] {
  const flat = (Array.isArray(value) ? value : [value]).flat(8) as readonly unknown[];
  const wrong = flat.findIndex((each) => !Number.isSafeInteger(each));
  if (wrong >= 0)
    throw new MalformedError('input.value', `${path}.${wrong}`, 'an integer', String(flat[wrong]));
  return flat as number[];
}

/** A binary portable grey map of 8 bits: `P5`, width, height, 255, then the grey values. */
function readGreyImage(bytes: Uint8Array, path: string): Uint8Array {
  const head = new TextDecoder('latin1').decode(bytes.subarray(0, 512));
  const match = /^P5(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+255\s/.exec(head);
  if (match === null) throw new MalformedError('input.image', path, 'P5 with grey values to 255', 'another');
  const pixels = bytes.subarray(match[0].length);
  const count = Number(match[1]) * Number(match[2]);
  if (pixels.length !== count) {
    throw new MalformedError('input.image', path, `${count} grey values`, `${pixels.length}`);
  }
  return pixels;
}

function highest(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if ((scores[i] as number) > (scores[best] as number)) best = i;
  return best;
}

function printAnswer(call: Call, { outputs, answer }: InferResult): void {
  outputs.forEach((values, i) => {
    const shown = values.length > 64 ? `${[...values.slice(0, 64)].join(' ')} …` : [...values].join(' ');
    call.out(`output ${i}   ${shown}`);
    if (values.length > 1) call.out(`highest    ${highest(values)}`);
  });
  call.out('');
  call.out(`model      ${answer.modelName} at ${answer.node.name} (${answer.node.url})`);
  call.out(`price      ${credits(answer.receipt.value.amount)}, nothing if it is not proved in time`);
  const { totalMs, verifyMs } = answer.timing;
  call.out(`time       ${Math.round(totalMs)} ms, of it ${verifyMs.toFixed(1)} ms verifying`);
  call.out(`receipt    ${answer.id}`);
  for (const line of checkLines(answer.verdict, call.has('checks'))) call.out(`  ${line}`);
}

function printProof(call: Call, { proof, assurance }: Answer): void {
  const told = assurance === 'signed' ? 'signed (not proved yet)' : assurance;
  call.out(`assurance  ${told}`);
  if (proof === null) return;
  const made = proof.proveMs === null ? '' : `made in ${proof.proveMs} ms, `;
  const size = `${Math.round(proof.proofBytes / 1000)} kB for ${proof.batchSize} inference${proof.batchSize === 1 ? '' : 's'}`;
  call.out(`proof      ${size}, ${made}verified here in ${proof.verifyMs.toFixed(1)} ms`);
  for (const line of checkLines(proof.verdict, call.has('checks'))) call.out(`  ${line}`);
}

function jsonOf({ outputs, answer }: InferResult, lifecycle: Lifecycle | null) {
  const { value, hash } = answer.receipt;
  const { proof } = answer;
  const verdict = (given: Verdict) => ({ ok: given.ok, checks: given.checks });
  return {
    outputs: outputs.map((values) => [...values]),
    highest: outputs.map(highest),
    model: answer.modelName,
    modelId: toHex(value.modelId),
    assurance: answer.assurance,
    ok: answer.verdict.ok,
    receiptId: answer.id,
    receiptHash: toHex(hash),
    node: { nodeId: toHex(answer.node.nodeId), url: answer.node.url, name: answer.node.name },
    price: { amount: `${value.amount}`, asset: value.asset },
    timing: answer.timing,
    verdict: verdict(answer.verdict),
    lifecycle: lifecycle?.steps.map(({ state, height, atMs, by }) => ({ state, height, atMs, by })) ?? [],
    proof:
      proof === null
        ? null
        : {
            ...verdict(proof.verdict),
            inferences: proof.batchSize,
            bytes: proof.proofBytes,
            proveMs: proof.proveMs,
            verifyMs: proof.verifyMs,
          },
    finality: lifecycle === null ? null : verdict(lifecycle.verdict),
    txHash: lifecycle?.txHash == null ? null : toHex(lifecycle.txHash),
  };
}
