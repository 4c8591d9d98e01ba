/**
 * Writes what the specification takes from the code: `spec/protocol.cddl`, every protocol object and state record in CDDL
 * (RFC 8610), `spec/zkml.cddl`, the verifying key, and `spec/codes.md`, every error code. `--check` fails when a file
 * differs. Part of `npm run vectors:write`.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { HZK_HEADER_CDDL, HZP_CDDL, VERIFYING_KEY_CDDL } from '@haca/circuit';
import type { Codec } from '@haca/primitives';
import * as protocol from '@haca/protocol';

const specDir = resolve(import.meta.dirname, '../spec');

const HEADER = `; Objects of the protocol and records of chain state, as deterministic CBOR (see encoding.md).
; Generated from the codecs in packages/protocol/src by \`npm run vectors:write\`; do not edit.
;
; Signed objects travel as COSE_Sign1 = [h'a10132', {}, bstr .cbor object, bstr .size 64].
; A transaction travels as [bstr .cbor transaction-body, bstr .size 64, (bstr .size 64) / null].
; Integers without a smaller bound are at most 18446744073709551615; maps have ascending keys.
`;

/** `receiptBatchCodec` is rule `receipt-batch`. */
const rules = Object.entries(protocol as Readonly<Record<string, unknown>>)
  .filter(([name]) => name.endsWith('Codec'))
  .map(([name, codec]) => [ruleName(name), (codec as Codec<unknown>).cddl] as const)
  .filter(([, cddl]) => cddl.includes('\n'))
  .sort(([a], [b]) => (a < b ? -1 : 1));

function ruleName(name: string): string {
  return name.replace(/Codec$/, '').replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** A rule that occurs whole inside another is named there, longest first, so each object is written out once. */
function withReferences(name: string, cddl: string): string {
  const others = rules.filter(([other]) => other !== name).sort(([, a], [, b]) => b.length - a.length);
  let text = cddl;
  for (let depth = 1; depth <= 6; depth++) {
    const indent = '  '.repeat(depth);
    for (const [other, body] of others) text = text.replaceAll(body.replaceAll('\n', `\n${indent}`), other);
  }
  return text;
}

const cddl = `${HEADER}\n${rules.map(([name, shape]) => `${name} = ${withReferences(name, shape)}\n`).join('\n')}`;

const keyCddl = `; The verifying key of a model and the files of models and proofs, as deterministic CBOR (see encoding.md and zkml.md).
; Generated from the codecs in packages/circuit/src by \`npm run vectors:write\`; do not edit.
; What a key must mean beyond this shape is section 3 of zkml.md.

verifying-key = ${VERIFYING_KEY_CDDL}

; The file of a proof (.hzp), whole.
proof-file = ${HZP_CDDL}

; The header of a model file (.hzk), which the weights follow.
model-file-header = ${HZK_HEADER_CDDL}

; A signed integer: 0, -1, 1, -2, ... are 0, 1, 2, 3, ...
zigzag = uint
`;

const codes = `# Error codes

Generated from \`packages/protocol/src/codes.ts\`. Numbers stand in block results and never change meaning.

| number | code | meaning |
| --- | --- | --- |
${protocol.ERROR_CODES.map((code) => `| ${protocol.codeNumber(code)} | \`${code}\` | ${protocol.codeText(code)} |`).join('\n')}
`;

for (const [name, text] of Object.entries({
  'protocol.cddl': cddl,
  'zkml.cddl': keyCddl,
  'codes.md': codes,
})) {
  const file = join(specDir, name);
  if (!process.argv.includes('--check')) {
    writeFileSync(file, text);
  } else if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
    process.stderr.write(`spec/${name} differs from the code; run: npm run vectors:write\n`);
    process.exitCode = 1;
  }
}
