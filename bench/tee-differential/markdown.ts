/** The page docs/tee-differential.md, out of what a run found. */
import type { DifferentialReport, DisagreementRow, PeerComparison } from './compare.ts';

export function markdownOf({ cases, compared, missing }: DifferentialReport, stride: number): string {
  return [
    '# Differential runs against other verifiers of TEE evidence',
    '',
    'Written by `npm run differential -- tee --write`; a test holds the list of disagreements against what a run finds. The cases',
    `are the recorded Intel quotes and AMD reports, each as it is, with a bit changed at every ${stride}th byte, with collateral changed or`,
    `left out, and at other times: ${cases.toLocaleString('en')} in all. Two answers agree where both refuse, or both accept with one TCB status. Any TCB`,
    'status that has hope is accepted here; debug is refused, except beside the Go verifiers, which leave it to their caller.',
    '',
    '| verifier | cases | agree | of them accepted | disagree |',
    '| --- | --- | --- | --- | --- |',
    ...compared.map(summaryRow),
    ...missing.map(({ name, missing: why }) => `| ${name} | not asked: ${why} | | | |`),
    '',
    ...compared.flatMap(peerSection),
  ].join('\n');
}

function summaryRow({ peer, asked, agreed, acceptedByBoth }: PeerComparison): string {
  const counts = [asked, agreed, acceptedByBoth, asked - agreed].map((count) => count.toLocaleString('en'));
  return `| ${peer} | ${counts.join(' | ')} |`;
}

function peerSection({ peer, rows }: PeerComparison): readonly string[] {
  if (rows.length === 0) return [];
  const explanations = [...new Set(rows.map(({ explanation }) => explanation))];
  return [
    `## ${peer}`,
    '',
    ...explanations.flatMap((explanation) => [
      explanation === null ? '**Unexplained.**' : explanation.why,
      '',
      '| change | here | there | cases |',
      '| --- | --- | --- | --- |',
      ...rows.filter((row) => row.explanation === explanation).map(tableRow),
      '',
    ]),
  ];
}

function tableRow({ change, ours, theirs, cases, vectors }: DisagreementRow): string {
  const what = change === 'none' ? `none (${vectors.join(', ')})` : change;
  return `| ${[what, ours, theirs].map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} | ${cases} |`;
}
