import { formatFixed, formatOpg } from '@haca/protocol';
import type { DemoSummary } from './demo.ts';
import type { Terminal } from './terminal.ts';

/** The way of a receipt, drawn once it is complete. */
export function drawLifecycle(terminal: Terminal, { lifecycle }: DemoSummary['chat']): void {
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
export function drawMoney(terminal: Terminal, { money }: DemoSummary): void {
  const credits = (ncr: string): string => `${formatFixed(BigInt(ncr), 9)} ${money.feeAsset}`;
  terminal.line(
    `    execution     user paid ${terminal.bold(credits(money.paidByUser))} ──▶ node received ${terminal.bold(credits(money.receivedByNode))}`,
  );
  terminal.line(
    `    verification  burned ${terminal.bold(formatOpg(BigInt(money.burnedNopg)))}; supply ${formatOpg(BigInt(money.supplyBefore))} ──▶ ${formatOpg(BigInt(money.supplyAfter))}`,
  );
}
