/** The process of one peer: `process.ts PEER SIZE [PROOFS]`. Prints its result as the last line of stdout. */
import { measureEzkl } from './ezkl/measure.ts';
import type { MlpSize, PeerName, PeerResult } from './peer-result.ts';
import { measureSnarkjs } from './snarkjs/measure.ts';

const [name, size, proofs] = process.argv.slice(2) as [PeerName, MlpSize, string?];
const count = proofs === undefined || proofs === '' ? undefined : Number(proofs);

let result: PeerResult;
try {
  result = name === 'ezkl' ? await measureEzkl(size, count ?? 1) : await measureSnarkjs(count ?? 5);
} catch (error) {
  result = { name, missing: error instanceof Error ? error.message : String(error) };
}
// Threads of the peers would keep the process alive.
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit('missing' in result ? 1 : 0));
