import { writeFileSync } from 'node:fs';
import { toHex } from '@haca/primitives';
import { type Verdict, verdictExitCode } from '@haca/protocol';
import type { Answer, Lifecycle } from '@haca/sdk/node';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { findNetwork, findWallet, NETWORK_FLAGS, openClient, POLICY_FLAGS } from '../connection.ts';
import { FOLLOW_FLAGS, finalExitCode, followAnswer, wantedState } from '../follow.ts';
import { assuranceText, checkLines, credits, shortHex } from '../report.ts';

export const chatCommand: Command = {
  name: 'chat',
  summary: 'Asks a model, pays, verifies the answer, and follows its receipt to finality.',
  operands: '"PROMPT"',
  flags: {
    model: { value: 'NAME', help: 'model name or id (default: the first chat model on chain)' },
    'max-tokens': { value: 'N', help: 'most tokens to answer with; bounds the price' },
    system: { value: 'TEXT', help: 'system message' },
    seed: { value: 'N', help: 'sampling seed' },
    temperature: { value: 'T', help: 'sampling temperature' },
    'no-stream': { help: 'print the answer at the end, already verified' },
    ...FOLLOW_FLAGS,
    bundle: { value: 'FILE', help: 'write everything to verify the answer offline' },
    checks: { help: 'list every check instead of a summary' },
    wallet: { value: 'FILE', help: 'who pays (default: the devnet wallet)' },
    node: { value: 'URL', help: 'use this node', multiple: true },
    ...NETWORK_FLAGS,
    ...POLICY_FLAGS,
  },
  examples: [
    'haca chat "What is HACA?"',
    'haca chat "Tell me a story" --max-tokens 200 --bundle story.haca',
    'haca chat "Hello" --json | jq .assurance',
  ],
  run: runChat,
};

async function runChat(call: Call): Promise<number> {
  const prompt = call.operands.join(' ');
  if (prompt === '') throw new CommandLineError('what to ask? haca chat "PROMPT"');
  const until = wantedState(call);
  const network = await findNetwork(call);
  const haca = await openClient(call, network, findWallet(call, network), call.list('node'));
  try {
    const isStream = !call.has('no-stream');
    const { text, finishReason, answer } = await haca.chat({
      messages: [
        ...(call.has('system') ? [{ role: 'system', content: call.text('system') ?? '' }] : []),
        { role: 'user', content: prompt },
      ],
      ...(call.has('model') ? { model: call.text('model') as string } : {}),
      ...numberFlag(call, 'max-tokens', 'maxOutputTokens'),
      ...numberFlag(call, 'temperature', 'temperature'),
      ...numberFlag(call, 'seed', 'seed'),
      ...(isStream
        ? { onText: (piece: string) => (call.json ? undefined : process.stdout.write(piece)) }
        : {}),
    });
    if (!call.json) {
      call.out(isStream ? '' : text);
      printAnswer(call, answer);
    }
    const lifecycle = await followAnswer(call, answer, until);
    if (call.has('bundle')) writeFileSync(call.text('bundle') as string, await answer.bundle());
    if (call.json) call.out(JSON.stringify(jsonOf(answer, text, finishReason, lifecycle), null, 2));
    return Math.max(
      verdictExitCode(answer.verdict),
      lifecycle === null ? 0 : finalExitCode(lifecycle, until),
    );
  } finally {
    haca.close();
  }
}

function numberFlag(call: Call, flag: string, name: string): Record<string, number> {
  const text = call.text(flag);
  if (text === undefined) return {};
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) {
    throw new CommandLineError(`--${flag} takes a number, not ${text}`);
  }
  return { [name]: value };
}

function printAnswer(call: Call, answer: Answer): void {
  const { usage, amount } = answer.receipt.value;
  const price = credits(amount);
  call.out('');
  call.out(`assurance  ${assuranceText(answer)}`);
  call.out(`model      ${answer.modelName} at ${answer.node.name} (${answer.node.url})`);
  call.out(`price      ${price} for ${usage.inputTokens} + ${usage.outputTokens} tokens`);
  call.out(
    `time       ${Math.round(answer.timing.totalMs)} ms, of it ${answer.timing.verifyMs.toFixed(1)} ms verifying`,
  );
  call.out(`receipt    ${answer.id}`);
  for (const line of checkLines(answer.verdict, call.has('checks'))) call.out(`  ${line}`);
}

function jsonOf(answer: Answer, text: string, finishReason: string | null, lifecycle: Lifecycle | null) {
  const { value, hash } = answer.receipt;
  const verdict = (given: Verdict) => ({ ok: given.ok, checks: given.checks });
  return {
    text,
    finishReason,
    model: answer.modelName,
    assurance: answer.assurance,
    tier: answer.tier,
    tcbStatus: answer.tcbStatus,
    ok: answer.verdict.ok,
    receiptId: answer.id,
    receiptHash: toHex(hash),
    node: { nodeId: toHex(answer.node.nodeId), url: answer.node.url, name: answer.node.name },
    usage: value.usage,
    price: { amount: `${value.amount}`, asset: value.asset },
    timing: answer.timing,
    verdict: verdict(answer.verdict),
    lifecycle: lifecycle?.steps.map(({ state, height, atMs, by }) => ({ state, height, atMs, by })) ?? [],
    finality: lifecycle === null ? null : verdict(lifecycle.verdict),
    txHash: lifecycle?.txHash == null ? null : toHex(lifecycle.txHash),
    channel: shortHex(value.channelId),
  };
}
