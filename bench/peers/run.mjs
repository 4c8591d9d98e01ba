/**
 * Measures the peers by themselves:
 *
 *   node bench/peers/run.mjs [--only ezkl,noir,snarkjs] [--size 784-64-10|784-16-10|16-8-4] [--proofs N] [--json]
 *
 * `--json` prints one JSON object a line and peer. Ends with 1 where a peer could not be measured.
 */
import { parseArgs } from 'node:util';
import { MLP_SIZES, measurePeers, PEER_NAMES } from './index.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: PEER_NAMES.join(',') },
    size: { type: 'string', default: MLP_SIZES[0] },
    proofs: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const only = values.only.split(',');
const proofs = values.proofs === undefined ? undefined : Number(values.proofs);
const known = only.every((name) => PEER_NAMES.includes(name)) && MLP_SIZES.includes(values.size);
if (!known || (proofs !== undefined && !(Number.isInteger(proofs) && proofs >= 1))) {
  process.stderr.write(
    `Usage: node bench/peers/run.mjs [--only ${PEER_NAMES.join(',')}] [--size ${MLP_SIZES.join('|')}] [--proofs N] [--json]\n`,
  );
  process.exit(2);
}

const results = await measurePeers({ only, size: values.size, ...(proofs === undefined ? {} : { proofs }) });
for (const result of results)
  process.stdout.write(`${values.json ? JSON.stringify(result) : asText(result)}\n`);
process.exitCode = results.some((result) => 'missing' in result) ? 1 : 0;

function asText(result) {
  if ('missing' in result) return `${result.name}: not measured: ${result.missing}\n`;
  const figures = [
    ...Object.entries(result.median).map(([name, ms]) => [name, `${ms} ms`, result.samples[name].length]),
    ...Object.entries(result.sizes).map(([name, bytes]) => [name, `${bytes.toLocaleString('en')} bytes`, 1]),
    ['peakRss', `${Math.round(result.peakRssBytes / 1e6)} MB`, 1],
  ];
  return [
    `${result.name}: ${result.package} ${result.version}, ${result.what}`,
    ...figures.map(
      ([name, value, count]) => `  ${name.padEnd(18)} ${value}${count > 1 ? ` (median of ${count})` : ''}`,
    ),
    ...result.notes.map((note) => `  - ${note}`),
    '',
  ].join('\n');
}
