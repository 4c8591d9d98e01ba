/** `haca evidence page`: writes the page that verifies evidence in a browser. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { singleFilePage } from './single-file.ts';

const USAGE = `Usage: haca evidence page [--out FILE] [--json]

Writes one HTML file (default: verify-evidence.html) that judges evidence of every kind in a browser, offline, as
haca evidence verify does. Open it from disk; it opens no connections.
`;

function run(args: readonly string[]): number {
  const { values } = parseArgs({
    args: [...args],
    options: { out: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const path = resolve(values.out ?? 'verify-evidence.html');
  const page = singleFilePage();
  writeFileSync(path, page);
  const sizeBytes = Buffer.byteLength(page);
  process.stdout.write(
    values.json === true
      ? `${JSON.stringify({ ok: true, path, sizeBytes })}\n`
      : `${path}: ${Math.round(sizeBytes / 1000)} kB, open it in a browser\n`,
  );
  return 0;
}

// Stripping types is what Node itself does to run this; its notice says nothing to whoever wants a page.
process.removeAllListeners('warning');

try {
  process.exitCode = run(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`haca evidence page: ${(error as Error).message}\n`);
  process.exitCode = 2;
}
