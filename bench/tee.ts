/** Evidence of TEEs: what appraising it costs, beside the signatures in it alone and, for Intel quotes, another verifier. */
import { spawnSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { genuineDocuments } from '../interop/tee-documents/genuine.ts';
import { vectorsMissing } from '../interop/tee-documents/vector-files.ts';
import type { Figure, Report } from './measure.ts';
import { round } from './measure.ts';
import { DCAP_QVL, dcapQvlVersion, installDcapQvl } from './peers/dcap-qvl/verify.ts';
import type { KindFigures } from './tee/measure-kind.ts';

const CHILD = join(import.meta.dirname, 'tee/measure-kind.ts');
const PEER_KINDS = ['tdx', 'sgx'];
/** CPU time of a first look, by the design. */
const COLD_TARGETS_MS: Readonly<Record<string, number>> = { tdx: 1, nitro: 3.5 };

export async function benchTee(): Promise<Report> {
  if (vectorsMissing !== false) return unmeasured(vectorsMissing);
  const wantsPeer = process.env['HACA_BENCH_PEERS'] !== '0';
  const reason = wantsPeer ? await installDcapQvl() : 'left out by HACA_BENCH_PEERS=0';
  const kinds = [...new Set(genuineDocuments().map(({ kind }) => kind))];
  const loadBefore = loadavg()[0] ?? 0;
  const measured = kinds.map((kind) => {
    process.stderr.write(`  ${kind} ...\n`);
    return measureKind(kind, PEER_KINDS.includes(kind) && reason === undefined);
  });
  return {
    area: 'tee',
    figures: [
      {
        name: 'load average before',
        value: loadBefore,
        unit: '',
        note: 'of the last minute; measure where it is low',
      },
      ...measured.flatMap((figures) => figuresOf(figures, reason)),
    ],
    targets: measured.flatMap(targetsOf),
    covers:
      'CPU time of the process, median of 31 rounds in which all take turns, code compiled. Cold: no key, certificate or ' +
      'collateral was seen before. Warm: signatures of certificates and collateral are remembered and keys imported, what is ' +
      'signed for this one document is verified. Collateral is at hand either way: fetching, posting and storing it is not ' +
      'in these figures, nor are reading policies, the transaction around a registration, or the state it writes. Bare ' +
      "signatures are OpenSSL's through node:crypto, keys imported anew beside cold and before beside warm. One genuine document " +
      'of each kind; the peer verifies the same quote and collateral in the same process, but checks less (docs/tee-differential.md).',
  };
}

function unmeasured(missing: string): Report {
  return { area: 'tee', figures: [], targets: [], covers: `Nothing was measured: ${missing}.` };
}

function measureKind(kind: string, withPeer: boolean): KindFigures {
  const child = spawnSync(process.execPath, [CHILD, kind, ...(withPeer ? ['peer'] : [])], {
    encoding: 'utf8',
    maxBuffer: 1 << 24,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.status !== 0) throw new Error(`measuring ${kind} ended with ${child.status ?? child.signal}`);
  return JSON.parse(child.stdout) as KindFigures;
}

const SCHEME_NAMES = {
  verifyEd25519: 'Ed25519',
  verifyEcdsaP256: 'P-256',
  verifyEcdsaP384: 'P-384',
  verifyRsaPssSha384: 'RSA-PSS',
  verifyRsaPkcs1Sha256: 'RSA PKCS #1',
} as const;

function figuresOf(measured: KindFigures, peerMissing: string | undefined): Figure[] {
  const { kind, signatures, cold, warm, bareCold, bareWarm } = measured;
  const of = (what: string, value: number, unit: string, note?: string): Figure =>
    note === undefined
      ? { name: `${kind}: ${what}`, value, unit }
      : { name: `${kind}: ${what}`, value, unit, note };
  const counts = Object.entries(signatures).map(
    ([scheme, count]) => `${count} ${SCHEME_NAMES[scheme as keyof typeof SCHEME_NAMES]}`,
  );
  const left = measured.warmSignatures;
  return [
    of(
      'cold',
      cold.cpuUs,
      'µs CPU',
      `${measured.document}, ${measured.documentBytes.toLocaleString('en')} bytes; ${counts.join(', ')}`,
    ),
    of('cold, by the clock', cold.wallUs, 'µs'),
    of('its signatures alone', bareCold.cpuUs, 'µs CPU', "OpenSSL's, each key imported once"),
    of('cold against its signatures', cold.cpuUs / bareCold.cpuUs, '×'),
    ...(measured.collateralKnown === null
      ? []
      : [
          of(
            'cold, collateral known',
            measured.collateralKnown.cpuUs,
            'µs CPU',
            `${measured.collateralSignatures} signatures of collateral verified before, as when it was posted`,
          ),
        ]),
    of('warm', warm.cpuUs, 'µs CPU', `${left} signature${left === 1 ? '' : 's'} left to verify`),
    ...(left === 0
      ? []
      : [
          of('those signatures alone', bareWarm.cpuUs, 'µs CPU', 'keys imported before'),
          of('warm against those', warm.cpuUs / bareWarm.cpuUs, '×'),
        ]),
    of('all but the signatures', measured.rest.cpuUs, 'µs CPU', 'every signature remembered'),
    of('portable crypto', measured.portable.cpuUs, 'µs CPU', 'as in browsers, the same verdict'),
    of(
      'portable, P-384 in WebAssembly',
      measured.portableFast.cpuUs,
      'µs CPU',
      'as in browsers that are given the module',
    ),
    of('first in a process', measured.firstMs, 'ms', 'by the clock, one sample, code not compiled'),
    of('memory taken', measured.takenBytes / 1024, 'KiB', 'by one cold appraisal before any collection'),
    of('memory kept', measured.keptBytes / 1024, 'KiB', 'per appraisal after 500 and a collection'),
    ...peerFigures(measured, peerMissing),
  ];
}

function peerFigures({ kind, cold, warm, peer }: KindFigures, missing: string | undefined): Figure[] {
  if (!PEER_KINDS.includes(kind)) return [];
  const name = `${kind}: ${DCAP_QVL} ${dcapQvlVersion() ?? ''}`.trim();
  if (peer === null || 'missing' in peer) {
    const note = peer === null ? (missing ?? 'not asked for') : peer.missing;
    return [{ name: `${name}: not measured`, value: Number.NaN, unit: '', note }];
  }
  return [
    { name, value: peer.cpuUs, unit: 'µs CPU', note: 'the same quote, collateral and time' },
    { name: `${name} against cold`, value: peer.cpuUs / cold.cpuUs, unit: '×' },
    { name: `${name} against warm`, value: peer.cpuUs / warm.cpuUs, unit: '×' },
  ];
}

function targetsOf({ kind, cold }: KindFigures): Report['targets'] {
  const targetMs = COLD_TARGETS_MS[kind];
  if (targetMs === undefined) return [];
  const ms = cold.cpuUs / 1000;
  return [
    {
      what: `${kind}, cold`,
      target: `≤ ${targetMs} ms CPU`,
      got: `${round(ms)} ms CPU`,
      met: ms <= targetMs,
    },
  ];
}
