/** What a chain asks of documents besides collateral and measurement: what clouds genuinely have must not be refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { fromHex, toHex } from '@haca/primitives';
import {
  appraiseSnp,
  appraiseTdx,
  type EvidenceContext,
  type EvidenceRules,
  rescoringContext,
  type TdxPolicy,
  validateSnp,
  validateTdx,
} from '../src/index.ts';
import { mintedTrust, mint as mintQuote, WORLD } from './intel-fixture.ts';
import { mint as mintSnp, NOW_MS, TCB, tcbBytes } from './snp-fixture.ts';
import { contextAt, patched } from './snp-vectors.ts';

const RULES: EvidenceRules = {
  simulated: false,
  testRoots: [],
  measurements: [],
  revoked: [],
  collateral: () => null,
  collateralGraceMs: 0,
  tcbStatuses: [],
  tcbFloors: [],
  evidenceAgeMaxMs: 600_000,
  evidenceSkewMaxMs: 60_000,
  nowMs: 0,
};

function contextOf(changes: Partial<EvidenceRules> = {}): Required<EvidenceContext> {
  return rescoringContext(nodeCrypto, { ...RULES, ...changes }) as Required<EvidenceContext>;
}

const failedIds = (checks: readonly { readonly id: string; readonly status: string }[]): readonly string[] =>
  checks.filter(({ status }) => status === 'failed').map(({ id }) => id);

test('TDs of Azure may lack SEPT_VE_DISABLE, those of others may not; none may be migratable or in debug mode', () => {
  const { tdx, dstack, azure } = contextOf();
  const ask = (tdAttributes: string, policy: Omit<TdxPolicy, 'measurements' | 'reportData'>) => {
    const minted = mintQuote({ td: { ...WORLD.td, tdAttributes: fromHex(tdAttributes) } });
    const open = { ...policy, measurements: 'allow-any', reportData: 'allow-any' } as const;
    const { claims } = appraiseTdx(minted.quote, { ...mintedTrust(minted), policy: open });
    assert.ok(claims !== null);
    return failedIds(validateTdx(claims, open).checks);
  };
  const ofAzure = azure.policy.tdx;
  assert.ok(ofAzure !== undefined);
  assert.deepEqual(ask('0000000000000000', ofAzure), []);
  for (const { policy } of [tdx, dstack])
    assert.deepEqual(ask('0000000000000000', policy), ['tdx.attributes.sept-ve-disable']);
  for (const policy of [tdx.policy, dstack.policy, ofAzure]) {
    assert.deepEqual(ask('0000001000000000', policy), []);
    assert.deepEqual(ask('0000003000000000', policy), ['tdx.attributes.migratable']);
    assert.deepEqual(ask('0100001000000000', policy), ['tdx.debug']);
  }
});

test('SNP firmware that is not committed yet is accepted as far as the committed TCB meets the floors', () => {
  const committed = { ...TCB, fmc: null, snp: TCB.snp - 1 };
  const minted = mintSnp({
    report: (report) => patched(report, 0x1e0, toHex(tcbBytes('milan', { ...TCB, snp: committed.snp }))),
  });
  const { claims } = appraiseSnp(minted.document, { ...contextAt(NOW_MS), roots: [minted.root] });
  assert.ok(claims !== null);
  const ask = (floor: typeof committed) => {
    const { snp, azure } = contextOf({ tcbFloors: [{ product: 'milan', floor }] });
    const open = { measurements: 'allow-any', reportData: 'allow-any', vmpl: 0 } as const;
    const ofAzure = azure.policy.snp;
    assert.ok(ofAzure !== undefined);
    return [snp.policy, ofAzure].map((policy) =>
      failedIds(validateSnp(claims, { ...policy, ...open }).checks),
    );
  };
  assert.deepEqual(ask(committed), [[], []]);
  const current = { ...TCB, fmc: null };
  assert.deepEqual(ask(current), [['snp.tcb.floor'], ['snp.tcb.floor']]);
});
