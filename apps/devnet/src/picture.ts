import { formatFixed, formatOpg } from '@haca/protocol';
import type { NetworkFile } from '@haca/sdk';
import type { DemoSummary } from './demo.ts';
import type { Terminal } from './terminal.ts';

/** Everything the demonstration showed, under the text of its answer. */
export function drawDemo(terminal: Terminal, summary: DemoSummary, invariants: string): void {
  const { chat, lightClient } = summary;
  const { bold, good, warn } = terminal;
  terminal.line(
    `\n\n    ${chat.model}, ${chat.tokens} tokens in ${chat.answerMs} ms, assurance ${bold(chat.assurance)}, ${chat.receiptId}\n`,
  );
  drawLifecycle(terminal, chat);
  drawClassification(terminal, summary);
  terminal.line();
  drawMoney(terminal, summary);
  const verified = lightClient.verified ? good('verified') : warn('NOT verified');
  terminal.line(
    `    light client  ${verified} up to header ${lightClient.height}; invariants ${invariants === 'ok' ? good('ok') : warn(invariants)}`,
  );
}

/** The digit, what the node read, and how that was proved. */
function drawClassification(terminal: Terminal, { classification, money }: DemoSummary): void {
  const { bold, dim, good, warn } = terminal;
  const { proof, digit, answer, picture } = classification;
  terminal.heading('Classifying a digit, with a proof');
  for (const line of picture) terminal.line(`    ${dim(line)}`);
  const says = answer === digit ? good(`${answer}`) : warn(`${answer} (it is a ${digit})`);
  terminal.line(
    `\n    ${classification.model} says ${says} in ${classification.answerMs} ms, assurance ${bold(classification.assurance)}, ${classification.receiptId}\n`,
  );
  drawLifecycle(terminal, classification);
  const proveMs = proof.proveMs === null ? '' : `made in ${proof.proveMs} ms, `;
  terminal.line(
    `\n    proof         ${Math.round(proof.bytes / 1000)} kB, ${proveMs}verified here in ${proof.verifyMs} ms and by every full node`,
  );
  terminal.line(
    `    costs         ${formatFixed(BigInt(classification.paidByUser), 9)} ${money.feeAsset} for the node; ${formatOpg(BigInt(classification.burnedNopg))} burned`,
  );
}

/** The way of a receipt, in columns. */
function drawLifecycle(terminal: Terminal, { lifecycle }: Pick<DemoSummary['chat'], 'lifecycle'>): void {
  const columns = lifecycle.map(({ state, height, ms }) => [
    state,
    ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(2)} s`,
    height === null ? 'at the node' : `block ${height}`,
  ]);
  const widths = columns.map((column) => Math.max(...column.map((text) => text.length)));
  const row = (line: number, between: string): string =>
    columns.map((column, i) => (column[line] ?? '').padEnd(widths[i] ?? 0)).join(between);
  terminal.line(`    ${terminal.good(row(0, ' ──▶ '))}`);
  terminal.line(`    ${terminal.dim(row(1, '     '))}`);
  terminal.line(`    ${terminal.dim(row(2, '     '))}`);
}

/** The two cycles, kept apart on the screen too. */
function drawMoney({ bold, line }: Terminal, { money }: DemoSummary): void {
  const credits = (ncr: string): string => bold(`${formatFixed(BigInt(ncr), 9)} ${money.feeAsset}`);
  const opg = (nopg: string): string => formatOpg(BigInt(nopg));
  line(
    `    execution     user paid ${credits(money.paidByUser)} ──▶ node received ${credits(money.receivedByNode)}`,
  );
  line(
    `    verification  burned ${bold(opg(money.burnedNopg))}; supply ${opg(money.supplyBefore)} ──▶ ${opg(money.supplyAfter)}`,
  );
}

/** What a person can do with the running network. */
export function drawInvitation(
  terminal: Terminal,
  network: NetworkFile,
  proxyUrl: string,
  model: string,
  logs: string,
): void {
  const question = `{"model":"${model}","messages":[{"role":"user","content":"Why is the sky blue?"}]}`;
  terminal.heading('Try it');
  terminal.line(`  curl ${proxyUrl}/chat/completions -H 'content-type: application/json' \\`);
  terminal.line(`    -d '${question}'`);
  terminal.line('  npx haca chat "Hello!"        pays, verifies, follows to final');
  terminal.line('  npx haca infer --input models/digits/seven.pgm   with a proof, verified here');
  terminal.line('  npx haca query supply        proven by the light client');
  if (network.explorerUrl !== null) terminal.line(`  ${network.explorerUrl}   the explorer`);
  terminal.line(`\n  RPC ${network.rpcUrl}   logs in ${logs}   Ctrl-C stops everything`);
}
