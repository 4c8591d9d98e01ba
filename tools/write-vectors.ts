/** `npm run vectors:write`: the golden vectors of the protocol objects, and their CDDL. Tests hold the code against both. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ed25519SignerFromSeed } from '@haca/platform';
import { goldenVectors } from '@haca/testkit';
import './write-spec-tables.ts';

const file = resolve(import.meta.dirname, '../vectors/protocol.json');
const document = {
  about:
    'Golden vectors of every protocol object; keys are Ed25519 seeds of 32 equal bytes: operator 1, payer 2, session 3, node 4. Read with spec/encoding.md and spec/objects.md.',
  vectors: goldenVectors(ed25519SignerFromSeed),
};
writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`);
