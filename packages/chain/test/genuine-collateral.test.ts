/** Intel's own collateral on a chain, and a genuine quote judged by it: all but that the quote is bound to no key of ours. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { nodeCrypto } from '@haca/platform';
import { fromHex, toHex, utf8Encode } from '@haca/primitives';
import {
  type Collateral,
  collateralIdOf,
  collateralRecordCodec,
  type DecreeAction,
  type Measurement,
  recordKey,
} from '@haca/protocol';
import {
  appraiseTdx,
  parseCertificate,
  parsePemCertificates,
  registrationContext,
  stripQuotePadding,
} from '@haca/verifier';
import fc from 'fast-check';
import { EVIDENCE_VERIFIER } from '../src/application/evidence.ts';
import { answeringCrypto } from '../src/application/verdict-cache.ts';
import type { EvidenceVerifier } from '../src/state-machine/index.ts';
import { decree, EVIDENCE_PARAMS, standingOf } from './evidence-world.ts';
import {
  createWorld,
  FAUCET,
  funded,
  OPG,
  openKey,
  openKeyOp,
  registerModel,
  registerNode,
  settle,
  testGenesis,
  type World,
} from './state-machine-world.ts';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee/tdx');
const skip: string | false = existsSync(FOLDER) ? false : `no recorded vectors at ${FOLDER}`;

/** Within the windows of everything in the bundle. */
const NOW_MS = Date.UTC(2025, 5, 20);
const DAY_MS = 86_400_000;

interface CollateralBundle {
  readonly tcb_info: string;
  readonly tcb_info_signature: string;
  readonly tcb_info_issuer_chain: string;
  readonly qe_identity: string;
  readonly qe_identity_signature: string;
  readonly qe_identity_issuer_chain: string;
  readonly root_ca_crl: string;
  readonly pck_crl: string;
  readonly pck_crl_issuer_chain: string;
}

function chainOf(pem: string): readonly Uint8Array[] {
  return [...parsePemCertificates(pem, 'chain')].reverse();
}

/** In the order in which they can be posted: the root's list first. */
function genuineItems() {
  const read = (file: string): Buffer => readFileSync(join(FOLDER, file));
  const bundle = JSON.parse(read('v4-uptodate-2025-06.collateral.json').toString()) as CollateralBundle;
  const pckChain = chainOf(bundle.pck_crl_issuer_chain);
  const tcbInfo: Collateral = {
    kind: 'intel-tcb-info',
    body: utf8Encode(bundle.tcb_info),
    signature: fromHex(bundle.tcb_info_signature),
    issuerChain: chainOf(bundle.tcb_info_issuer_chain),
  };
  const qeIdentity: Collateral = {
    kind: 'intel-qe-identity',
    body: utf8Encode(bundle.qe_identity),
    signature: fromHex(bundle.qe_identity_signature),
    issuerChain: chainOf(bundle.qe_identity_issuer_chain),
  };
  const rootCrl: Collateral = {
    kind: 'intel-crl',
    crl: fromHex(bundle.root_ca_crl),
    issuerChain: pckChain.slice(0, 1),
  };
  const pckCrl: Collateral = { kind: 'intel-crl', crl: fromHex(bundle.pck_crl), issuerChain: pckChain };
  const quote = stripQuotePadding(new Uint8Array(read('v4-uptodate-2025-06.quote.bin')));
  return { rootCrl, pckCrl, tcbInfo, qeIdentity, quote };
}

/** By the production verifier, but that a quote made long ago for somebody else counts as bound. */
function unboundVerifier(quote: Uint8Array): EvidenceVerifier {
  return {
    ...EVIDENCE_VERIFIER,
    appraise: (_envelope, expected, crypto) => {
      const { tdx, ...context } = registrationContext(crypto, expected.binding, expected);
      assert.ok(tdx !== undefined);
      const policy = { ...tdx.policy, reportData: 'allow-any' as const };
      const { verdict, claims } = appraiseTdx(quote, { ...context, roots: tdx.roots, policy });
      const [measurement] = expected.measurements;
      if (!verdict.ok || claims === null || measurement === undefined)
        return { verdict, claims: null, tcbStatus: claims?.tcb?.status ?? null };
      const { claimsDigest, collateralEndMs, facts, hardware, cloud } = claims;
      const kept = { claimsDigest, collateralEndMs, facts, hardware, cloud, measurement };
      return {
        verdict,
        claims: { ...kept, endMs: claims.evidenceEndMs, simulated: claims.isSimulated },
        tcbStatus: claims.tcb?.status ?? null,
      };
    },
  };
}

/** The tuple that the quote shows, approved under a name. */
function measured(quote: Uint8Array): Measurement {
  const waived = 'allow-any';
  const { claims } = appraiseTdx(quote, {
    crypto: nodeCrypto,
    nowMs: NOW_MS,
    roots: [
      {
        sha256: nodeCrypto.sha256(new Uint8Array(readFileSync(join(FOLDER, 'intel-sgx-root.der')))),
        simulated: false,
      },
    ],
    revoked: [],
    collateral: () => null,
    collateralGraceMs: 0,
    policy: {
      tcbStatuses: waived,
      minTcbEvaluationDataNumber: waived,
      allowDebug: false,
      measurements: waived,
      reportData: waived,
      septVeDisable: waived,
      migratable: waived,
      xfam: waived,
      serviceTd: waived,
    },
  });
  const names = ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'];
  const registers = names.map((register) => ({
    register,
    value: claims?.registers.get(register) ?? new Uint8Array(0),
  }));
  return { kind: 'tdx', name: 'a genuine guest', registers };
}

function genuineWorld(evidence: EvidenceVerifier, quote: Uint8Array) {
  const genesis = {
    ...testGenesis({ ...EVIDENCE_PARAMS, tcbGraceMs: DAY_MS, collateralGraceMs: DAY_MS }, false),
    measurements: [measured(quote)],
  };
  const world = createWorld({ genesis, evidence });
  world.block([], { timeMs: NOW_MS });
  registerModel(world);
  return { world, node: registerNode(world, funded(world, 'operator', 90_000n * OPG)) };
}

function postCode(world: World, ...items: readonly Collateral[]): string {
  return world.run(FAUCET, [{ kind: 'post-collateral', items }]).codeName;
}

test(
  "TC-1: Intel's collateral is taken as Intel signed it, the root's list first, and nothing that was touched",
  {
    skip,
  },
  () => {
    const { rootCrl, pckCrl, tcbInfo, qeIdentity, quote } = genuineItems();
    const { world } = genuineWorld(EVIDENCE_VERIFIER, quote);
    assert.equal(postCode(world, tcbInfo), 'E_COLLATERAL', 'its signer can be judged by no list yet');
    for (const item of [tcbInfo, qeIdentity]) {
      assert.ok('body' in item);
      const body = item.body.slice();
      body[100] = (body[100] as number) ^ 1;
      assert.equal(postCode(world, rootCrl, { ...item, body }), 'E_COLLATERAL');
    }
    assert.equal(postCode(world, rootCrl, pckCrl, tcbInfo, qeIdentity), 'OK');
    for (const item of [rootCrl, pckCrl, tcbInfo, qeIdentity])
      assert.equal(postCode(world, item), 'E_COLLATERAL', 'again');
    const scope = utf8Encode('TDX:b0c06f000000');
    const id = collateralIdOf({
      kind: 'intel-tcb-info',
      rootCertificate: tcbInfo.issuerChain[0] as Uint8Array,
      scope,
    });
    const row = world.read(collateralRecordCodec, recordKey.collateral(id));
    assert.equal(row?.simulated, false);
    assert.ok(row !== undefined && row.version.number > 0 && row.version.issuedMs < NOW_MS);
  },
);

test('TC-1 E_COLLATERAL: genuine collateral before its day and after it', { skip }, () => {
  const { rootCrl, tcbInfo, quote } = genuineItems();
  const { world } = genuineWorld(EVIDENCE_VERIFIER, quote);
  assert.equal(postCode(world, rootCrl), 'OK');
  world.block([], { timeMs: NOW_MS + 40 * DAY_MS });
  assert.equal(postCode(world, tcbInfo), 'E_COLLATERAL');
  const early = createWorld({ genesis: testGenesis(EVIDENCE_PARAMS, false), evidence: EVIDENCE_VERIFIER });
  assert.equal(postCode(early, rootCrl), 'E_COLLATERAL');
});

test(
  'TC-15 E_COLLATERAL: a genuine signer that was taken back by decree signs no collateral any more',
  { skip },
  () => {
    const { rootCrl, tcbInfo, qeIdentity, quote } = genuineItems();
    const { world } = genuineWorld(EVIDENCE_VERIFIER, quote);
    assert.equal(postCode(world, rootCrl, tcbInfo), 'OK');
    const { issuer, serial } = parseCertificate(tcbInfo.issuerChain[1] as Uint8Array, 'signer');
    const revoking = (certificate: { issuer: Uint8Array; serial: Uint8Array }): string =>
      decree(world, FAUCET, { kind: 'revoke-certificate', certificate });
    assert.equal(revoking({ issuer, serial: Uint8Array.of(1) }), 'OK');
    const spare = genuineWorld(EVIDENCE_VERIFIER, quote).world;
    assert.equal(postCode(spare, rootCrl, qeIdentity), 'OK', 'as long as it stands');
    assert.equal(revoking({ issuer, serial }), 'OK');
    assert.equal(postCode(world, qeIdentity), 'E_COLLATERAL');
  },
);

test('TC-5 E_EVIDENCE: a genuine quote opens no key: it binds nothing of ours', { skip }, () => {
  const { rootCrl, pckCrl, tcbInfo, qeIdentity, quote } = genuineItems();
  const { world, node } = genuineWorld(EVIDENCE_VERIFIER, quote);
  const open = () => {
    const { op } = openKeyOp(world, node, { method: 'tee' });
    return world.run(node.operator, [{ ...op, evidence: { kind: 'tdx', document: quote } }]);
  };
  const before = open();
  assert.equal(before.codeName, 'E_EVIDENCE');
  assert.equal(postCode(world, rootCrl, pckCrl, tcbInfo, qeIdentity), 'OK');
  const after = open();
  assert.equal(after.codeName, 'E_EVIDENCE');
  assert.match(after.info, /tdx\.report-data/, 'the one check that fails');
});

test(
  'TC-6 TC-7 TC-8 TC-15: the platform of a genuine quote is judged again by its facts as collateral and decrees change',
  {
    skip,
  },
  () => {
    const { rootCrl, pckCrl, tcbInfo, qeIdentity, quote } = genuineItems();
    const { world, node } = genuineWorld(unboundVerifier(quote), quote);
    const open = () =>
      openKey(world, node, { method: 'tee', op: { evidence: { kind: 'tdx', document: quote } } });
    assert.throws(open, /tdx\.|collateral/, 'no collateral yet');
    assert.equal(postCode(world, rootCrl, pckCrl, tcbInfo, qeIdentity), 'OK');
    const key = open();
    const good = standingOf(world, key);
    assert.deepEqual([good?.standing, good?.tcbStatus, good?.tier], ['good', 'UpToDate', 'unknown-host']);
    assert.ok(
      good !== undefined && good.effectiveEndMs !== null && good.effectiveEndMs < NOW_MS + 32 * DAY_MS,
    );
    assert.equal(settle(world, key, 1, 0n).codeName, 'OK');

    const set = (statuses: Extract<DecreeAction, { kind: 'set-tcb-statuses' }>['statuses']): string =>
      decree(world, FAUCET, { kind: 'set-tcb-statuses', evidenceKind: 'tdx', statuses });
    assert.equal(set(['SWHardeningNeeded']), 'OK');
    assert.equal(standingOf(world, key)?.standing, 'tcb-out-of-date');
    assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY');
    assert.equal(set(['UpToDate', 'SWHardeningNeeded']), 'OK');
    assert.equal(settle(world, key, 1, 0n).codeName, 'OK');

    const [, pckCa] = pckCrl.issuerChain;
    assert.ok(pckCa !== undefined);
    const { issuer, serial } = parseCertificate(pckCa, 'pckCa');
    assert.equal(
      decree(world, FAUCET, { kind: 'revoke-certificate', certificate: { issuer, serial } }),
      'OK',
    );
    assert.equal(standingOf(world, key)?.standing, 'certificate-revoked');
    assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY');
  },
);

test('TC-7: a genuine platform is stale a grace after its collateral was to be updated', { skip }, () => {
  const { rootCrl, pckCrl, tcbInfo, qeIdentity, quote } = genuineItems();
  const { world, node } = genuineWorld(unboundVerifier(quote), quote);
  assert.equal(postCode(world, rootCrl, pckCrl, tcbInfo, qeIdentity), 'OK');
  const key = openKey(world, node, { method: 'tee', op: { evidence: { kind: 'tdx', document: quote } } });
  const endMs = standingOf(world, key)?.effectiveEndMs ?? 0;
  world.block([], { timeMs: endMs - 1 });
  assert.equal(standingOf(world, key)?.standing, 'good');
  world.block([], { timeMs: endMs });
  assert.equal(standingOf(world, key)?.standing, 'stale-collateral');
  assert.equal(settle(world, key, 1, 0n).codeName, 'E_KEY');
});

test('TC-10: judging a genuine platform again asks for no signature twice', { skip }, () => {
  const { rootCrl, pckCrl, tcbInfo, qeIdentity, quote } = genuineItems();
  const { world, node } = genuineWorld(unboundVerifier(quote), quote);
  const asked = new Map<string, number>();
  const counting = answeringCrypto(nodeCrypto, ({ message, signature }) => {
    const name = toHex(nodeCrypto.sha256(message)) + toHex(signature);
    asked.set(name, (asked.get(name) ?? 0) + 1);
    return true;
  });
  assert.equal(postCode(world, rootCrl, pckCrl, tcbInfo, qeIdentity), 'OK');
  const key = openKey(world, node, { method: 'tee', op: { evidence: { kind: 'tdx', document: quote } } });
  const ctx = { ...world.ctx, crypto: counting };
  const first = standingOf({ ...world, ctx }, key);
  asked.clear();
  assert.deepEqual(standingOf({ ...world, ctx }, key), first);
  assert.equal(asked.size, 0);
});

test(
  'TC-1 attack: no bit of a posted piece can be changed, and no bytes in its place make the chain stumble',
  {
    skip,
  },
  () => {
    const { rootCrl, pckCrl, tcbInfo, qeIdentity, quote } = genuineItems();
    const { world } = genuineWorld(EVIDENCE_VERIFIER, quote);
    assert.equal(postCode(world, rootCrl), 'OK');
    const flip = (bytes: Uint8Array, at: number): Uint8Array => {
      const copy = bytes.slice();
      const bit = at % (8 * copy.length);
      copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
      return copy;
    };
    const changed = (item: Collateral, part: number, at: number): Collateral => {
      const inChain = part < item.issuerChain.length;
      const issuerChain = item.issuerChain.map((der, i) => (inChain && i === part ? flip(der, at) : der));
      if (inChain) return { ...item, issuerChain };
      if ('crl' in item) return { ...item, crl: flip(item.crl, at) };
      return part % 2 === 0
        ? { ...item, body: flip(item.body, at) }
        : { ...item, signature: flip(item.signature, at) };
    };
    const pieces = fc.constantFrom(pckCrl, tcbInfo, qeIdentity);
    fc.assert(
      fc.property(pieces, fc.nat(5), fc.nat(1 << 20), (item, part, at) => {
        assert.equal(postCode(world, changed(item, part, at)), 'E_COLLATERAL');
      }),
      { numRuns: 150 },
    );
    const bytes = fc.uint8Array({ minLength: 2, maxLength: 300 });
    fc.assert(
      fc.property(
        pieces,
        bytes,
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 99 }), { maxLength: 4 }),
        (item, junk, issuerChain) => {
          const lying: Collateral = 'crl' in item ? { ...item, crl: junk } : { ...item, body: junk };
          assert.equal(postCode(world, lying), 'E_COLLATERAL');
          assert.equal(postCode(world, { ...item, issuerChain }), 'E_COLLATERAL');
        },
      ),
      { numRuns: 40 },
    );
    assert.equal(postCode(world, pckCrl, tcbInfo, qeIdentity), 'OK', 'and the pieces themselves are taken');
  },
);
