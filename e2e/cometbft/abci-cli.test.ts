import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { COMETBFT_VERSIONS, findCometBft } from '@haca/chain';
import { runAbciCli } from './abci-cli.ts';

function hasGo(): boolean {
  try {
    execFileSync('go', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

for (const version of COMETBFT_VERSIONS) {
  const isBuilt = findCometBft({ version, program: 'abci-cli' }) !== undefined;
  const missing = !hasGo()
    ? 'there is no `go` on the PATH, which knows where the golden files are'
    : `abci-cli ${version} is not built; \`npm run e2e -- abci-cli\` builds and runs it`;
  const skip = hasGo() && isBuilt ? false : missing;
  test(`ABCI-18: abci-cli ${version} prints its golden files with our server`, { skip }, async () => {
    const results = await runAbciCli({ versions: [version] });
    assert.equal(results.length, 4);
    for (const { file, transport, printed, golden } of results) {
      assert.equal(printed, golden, `${file} over ${transport}`);
    }
  });
}
