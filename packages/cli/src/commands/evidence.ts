import { readFileSync } from 'node:fs';
import { fromBase64, nodeCrypto } from '@haca/platform';
import { bytesEqual, fromHex, MalformedError } from '@haca/primitives';
import { type Measurement, pcrRegisters, toJsonView, verdictExitCode } from '@haca/protocol';
import {
  APPRAISED_KINDS,
  AWS_NITRO_ROOT_G1,
  appraiseEvidence,
  type Expected,
  type NitroPolicy,
  NO_COLLATERAL,
  type TrustRoot,
} from '@haca/verifier';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { checkLine } from '../report.ts';

export const evidenceVerifyCommand: Command = {
  name: 'evidence verify',
  summary: `Appraises TEE attestation evidence offline, at a given time. Kinds: ${APPRAISED_KINDS.join(', ')}.
Policy members: allowDebug, measurements [{name, pcrs: {"0": hex, ...}}], maxAgeMs, maxFutureSkewMs, userData, nonce,
publicKey (hex, or null: must be absent). "any" waives a member; one that is left out is not checked, and exit code is 3.`,
  operands: '',
  flags: {
    kind: { value: 'KIND', help: `${APPRAISED_KINDS.join(' | ')}` },
    file: { value: 'FILE', help: 'the evidence document, or - for standard input' },
    at: { value: 'UNIX_MS', help: 'time to judge at; never read from a clock' },
    roots: { value: 'PEM', help: 'trust these root certificates instead of the vendor root' },
    collateral: { value: 'PATH', help: 'not needed for nitro' },
    policy: { value: 'JSON', help: 'expected values: a JSON object, or the name of a file with one' },
  },
  examples: [
    'haca evidence verify --kind nitro --file doc.bin --at 1665651482136 --json',
    `haca evidence verify --kind nitro --file doc.bin --at 1665651482136 --policy '{"measurements":"any","maxAgeMs":300000}'`,
  ],
  run: async (call) => runEvidence(call),
};

function runEvidence(call: Call): number {
  const kind = required(call, 'kind');
  if (!APPRAISED_KINDS.some((known) => known === kind)) {
    throw new CommandLineError(`this version appraises ${APPRAISED_KINDS.join(', ')}, not ${kind}`);
  }
  const at = required(call, 'at');
  if (!/^[0-9]{1,15}$/.test(at)) throw new CommandLineError('--at takes milliseconds since 1970');
  const file = required(call, 'file');
  const document = new Uint8Array(readFileSync(file === '-' ? 0 : file));
  const roots = call.has('roots') ? readRoots(required(call, 'roots')) : [AWS_NITRO_ROOT_G1];
  const { verdict, claims, measurement } = appraiseEvidence(kind, document, {
    crypto: nodeCrypto,
    nowMs: Number(at),
    revoked: [],
    collateral: NO_COLLATERAL,
    collateralGraceMs: 0,
    nitro: { roots, policy: parsePolicy(call.text('policy')) },
  });
  const shown = {
    kind,
    atMs: Number(at),
    ok: verdict.ok,
    checks: verdict.checks,
    measurement,
    simulated: claims?.isSimulated ?? null,
    claims: claims === null ? null : claimsView(claims),
  };
  if (call.json) call.out(JSON.stringify(shown, null, 2));
  else for (const check of verdict.checks) call.out(checkLine(check));
  return verdictExitCode(verdict);
}

function claimsView(claims: object): unknown {
  const shown = Object.entries(claims).map(([name, value]: [string, unknown]) => [
    name,
    value instanceof Map ? Object.fromEntries(value) : value,
  ]);
  return toJsonView(Object.fromEntries(shown));
}

function required(call: Call, flag: string): string {
  const value = call.text(flag);
  if (value === undefined)
    throw new CommandLineError(`--${flag} is needed\nTry: haca ${call.command.name} --help`);
  return value;
}

/** Roots by the hash of their DER. Any root but the vendor's own counts as simulated. */
function readRoots(path: string): readonly TrustRoot[] {
  const text = readFileSync(path, 'utf8');
  const blocks = [
    ...text.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g),
  ];
  if (blocks.length === 0) throw new MalformedError('roots.pem', path, 'PEM certificates', 'none');
  return blocks.map(([, base64]) => {
    const sha256 = nodeCrypto.sha256(fromBase64((base64 as string).replaceAll(/\s/g, '')));
    return { sha256, simulated: !bytesEqual(sha256, AWS_NITRO_ROOT_G1.sha256) };
  });
}

const POLICY_MEMBERS = [
  'allowDebug',
  'measurements',
  'maxAgeMs',
  'maxFutureSkewMs',
  'userData',
  'nonce',
  'publicKey',
] as const;
type Json = Readonly<Record<string, unknown>>;

function parsePolicy(given: string | undefined): NitroPolicy {
  const doc = given === undefined ? {} : readPolicy(given);
  for (const name of Object.keys(doc)) {
    if (!POLICY_MEMBERS.some((known) => known === name)) throw badPolicy(name, POLICY_MEMBERS.join(', '));
  }
  const allowDebug = doc['allowDebug'] ?? false;
  if (typeof allowDebug !== 'boolean') throw badPolicy('allowDebug', 'true or false');
  return {
    allowDebug,
    measurements: expected(doc, 'measurements', parseMeasurements),
    maxAgeMs: expected(doc, 'maxAgeMs', parseMs),
    maxFutureSkewMs: expected(doc, 'maxFutureSkewMs', parseMs),
    userData: expected(doc, 'userData', parseBytes),
    nonce: expected(doc, 'nonce', parseBytes),
    publicKey: expected(doc, 'publicKey', parseBytes),
  };
}

function readPolicy(given: string): Json {
  const text = given.trimStart().startsWith('{') ? given : readFileSync(given, 'utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badPolicy('', 'a JSON object');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badPolicy('', 'a JSON object');
  return value as Json;
}

function expected<T>(doc: Json, name: string, parse: (value: unknown, name: string) => T): Expected<T> {
  if (!Object.hasOwn(doc, name)) return 'not-given';
  return doc[name] === 'any' ? 'allow-any' : parse(doc[name], name);
}

function parseMs(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw badPolicy(name, 'milliseconds');
  return value;
}

function parseBytes(value: unknown, name: string): Uint8Array | null {
  if (value === null) return null;
  if (typeof value !== 'string') throw badPolicy(name, 'hex, null or "any"');
  return fromHex(value, name);
}

function parseMeasurements(value: unknown, name: string): readonly Measurement[] {
  if (!Array.isArray(value)) throw badPolicy(name, 'a list');
  return value.map((entry: unknown, i) => {
    const { name: label, pcrs } = (typeof entry === 'object' && entry !== null ? entry : {}) as Json;
    if (typeof pcrs !== 'object' || pcrs === null) throw badPolicy(`${name}.${i}.pcrs`, 'PCR index to hex');
    return {
      kind: 'nitro' as const,
      name: typeof label === 'string' ? label : `measurement ${i + 1}`,
      registers: pcrRegisters(
        Object.entries(pcrs).map(([index, hex]) => {
          if (!/^([0-9]|[12][0-9]|3[01])$/.test(index) || typeof hex !== 'string') {
            throw badPolicy(`${name}.${i}.pcrs.${index}`, 'hex');
          }
          return [Number(index), fromHex(hex, `${name}.${i}.pcrs.${index}`)] as const;
        }),
      ),
    };
  });
}

function badPolicy(name: string, wanted: string): MalformedError {
  return new MalformedError('policy.invalid', name, wanted, 'something else');
}
