/** The process of one peer: `process.ts PEER SIZE [PROOFS]`. Prints its result as the last line of stdout. */
import { measureEzkl } from './ezkl/measure.ts';
import { measureNoir } from './noir/measure.ts';
import type { MeasuredPeer, MlpSize, PeerName, PeerResult } from './peer-result.ts';
import { measureSnarkjs } from './snarkjs/measure.ts';

const [name, size, proofs] = process.argv.slice(2) as [PeerName, MlpSize, string?];
const count = proofs === undefined || proofs === '' ? undefined : Number(proofs);

const MEASUREMENTS: Readonly<Record<PeerName, () => Promise<MeasuredPeer>>> = {
  ezkl: () => measureEzkl(size, count ?? 1),
  noir: () => measureNoir(size, count ?? 3),
  snarkjs: () => measureSnarkjs(count ?? 5),
};

let result: PeerResult;
try {
  result = await MEASUREMENTS[name]();
} catch (error) {
  result = { name, missing: error instanceof Error ? error.message : String(error) };
}
// Threads of the peers would keep the process alive.
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit('missing' in result ? 1 : 0));
