import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addNanos,
  type Commit,
  type CommitSig,
  DEFAULT_TRUST_LEVEL,
  dataHash,
  encodeStoreProof,
  type Header,
  headerHash,
  type LightBlock,
  syncTo,
  type TrustedState,
  type TrustOptions,
  trustedStateOf,
  txProofOf,
  validatorSetOf,
  verifyHeader,
  verifyStateProof,
  verifyTxProof,
  ZERO_TIMESTAMP,
} from '@haca/light-client';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { MalformedError, UsageError } from '@haca/primitives';
import type { Verdict } from '@haca/protocol';
import fc from 'fast-check';
import {
  CHAIN_ID,
  commitOf,
  headerOf,
  lightBlockAt,
  SECOND_NS,
  setOf,
  timeOf,
  type Voter,
} from './test-chain.ts';

const OPTIONS: TrustOptions = {
  chainId: CHAIN_ID,
  trustingPeriodNs: 1000n * SECOND_NS,
  clockDriftNs: 2n * SECOND_NS,
  trustLevel: DEFAULT_TRUST_LEVEL,
};
const FOUR = setOf({ 0: 10n, 1: 10n, 2: 10n, 3: 10n });
const always = () => FOUR;
const NOW = timeOf(20);

function failures({ checks }: Verdict): string[] {
  return checks.filter(({ status }) => status === 'failed').map(({ code }) => code ?? '');
}

function step(
  untrusted: LightBlock,
  options: TrustOptions = OPTIONS,
  trusted = trustedStateOf(lightBlockAt(1, always)),
) {
  return verifyHeader(nodeCrypto, trusted, untrusted, options, NOW);
}

test('the next header and one further away are trusted', () => {
  for (const height of [2, 3, 10]) {
    const result = step(lightBlockAt(height, always));
    assert.equal(result.outcome, 'trusted', failures(result.verdict).join());
    assert.ok(result.verdict.ok);
    assert.deepEqual([result.signedPower, result.totalPower, result.signerCount], [40n, 40n, 4]);
    assert.equal(result.overlapPower, height === 2 ? undefined : 40n);
  }
});

test('more than two thirds of the power must sign the block, nil and absence do not count', () => {
  const votes =
    (...flags: ReturnType<Voter>[]): Voter =>
    (_, i) =>
      flags[i] ?? 'absent';
  const threeOfFour = step(lightBlockAt(2, always, votes('commit', 'absent', 'commit', 'commit')));
  assert.equal(threeOfFour.outcome, 'trusted');
  assert.equal(threeOfFour.signedPower, 30n);
  const withNil = step(lightBlockAt(2, always, votes('commit', 'nil', 'commit', 'nil')));
  assert.deepEqual(failures(withNil.verdict), ['commit.power-insufficient']);
  assert.equal(withNil.signerCount, 2);
  // Exactly two thirds is not more than two thirds.
  const three = setOf({ 0: 1n, 1: 1n, 2: 1n });
  const exact = lightBlockAt(2, () => three, votes('commit', 'commit', 'absent'));
  const result = step(exact, OPTIONS, trustedStateOf(lightBlockAt(1, () => three)));
  assert.deepEqual(failures(result.verdict), ['commit.power-insufficient']);
  assert.equal(result.outcome, 'invalid');
});

test('every field of the header is bound by the commit', () => {
  const block = lightBlockAt(5, always);
  const { header } = block.signedHeader;
  const other = new Uint8Array(32).fill(99);
  const altered: [Partial<Header>, string][] = [
    [{ version: { block: 12, app: 1 } }, 'header.version-unknown'],
    [{ version: { block: 11, app: 2 } }, 'commit.block-id-mismatch'],
    [{ chainId: 'another' }, 'header.chain-id-mismatch'],
    [{ height: 6 }, 'commit.height-mismatch'],
    [{ height: 1 }, 'header.height-not-above'],
    [{ time: timeOf(6) }, 'commit.block-id-mismatch'],
    [{ time: timeOf(1) }, 'header.time-not-after'],
    [{ time: timeOf(22) }, 'header.from-future'],
    [{ lastBlockId: { hash: other, parts: { total: 1, hash: other } } }, 'commit.block-id-mismatch'],
    [{ lastCommitHash: other }, 'commit.block-id-mismatch'],
    [{ dataHash: other }, 'commit.block-id-mismatch'],
    [{ validatorsHash: other }, 'header.validators-mismatch'],
    [{ nextValidatorsHash: other }, 'header.next-validators-mismatch'],
    [{ consensusHash: other }, 'commit.block-id-mismatch'],
    [{ appHash: other }, 'commit.block-id-mismatch'],
    [{ lastResultsHash: other }, 'commit.block-id-mismatch'],
    [{ evidenceHash: other }, 'commit.block-id-mismatch'],
    [{ proposerAddress: other.slice(0, 20) }, 'commit.block-id-mismatch'],
  ];
  const names = new Set(altered.flatMap(([change]) => Object.keys(change)));
  assert.deepEqual([...names].sort(), Object.keys(header).sort());
  for (const [change, code] of altered) {
    const result = step({
      ...block,
      signedHeader: { ...block.signedHeader, header: { ...header, ...change } },
    });
    assert.equal(result.outcome, 'invalid');
    assert.ok(
      failures(result.verdict).includes(code),
      `${JSON.stringify(Object.keys(change))}: ${failures(result.verdict)}`,
    );
  }
});

test('every field of the commit is checked', () => {
  const votes: Voter = (_, i) => (i === 3 ? 'absent' : 'commit');
  const block = lightBlockAt(5, always, votes);
  const { commit } = block.signedHeader;
  const other = new Uint8Array(32).fill(99);
  const [first, second] = commit.signatures as [CommitSig, CommitSig];
  const entry = (change: Partial<CommitSig>, index = 0): Partial<Commit> => ({
    signatures: commit.signatures.map((sig, i) => (i === index ? { ...sig, ...change } : sig)),
  });
  const flipped = first.signature.slice();
  flipped[40] = (flipped[40] as number) ^ 1;
  const parts = (change: object) => ({
    blockId: { ...commit.blockId, parts: { ...commit.blockId.parts, ...change } },
  });
  const altered: [string, Partial<Commit>, string][] = [
    ['height', { height: 6 }, 'commit.height-mismatch'],
    ['round', { round: 3 }, 'commit.signature-invalid'],
    ['block hash', { blockId: { ...commit.blockId, hash: other } }, 'commit.block-id-mismatch'],
    [
      'no block hash',
      { blockId: { ...commit.blockId, hash: new Uint8Array(0) } },
      'commit.block-id-mismatch',
    ],
    ['parts total', parts({ total: 2 }), 'commit.signature-invalid'],
    ['parts hash', parts({ hash: other }), 'commit.signature-invalid'],
    ['an entry fewer', { signatures: commit.signatures.slice(0, 3) }, 'commit.count-mismatch'],
    ['an entry more', { signatures: [...commit.signatures, first] }, 'commit.count-mismatch'],
    ['none', { signatures: [] }, 'commit.count-mismatch'],
    ['flag nil', entry({ flag: 'nil' }), 'commit.signature-invalid'],
    ['flag absent', entry({ flag: 'absent' }), 'commit.entry-mismatch'],
    ['address of another', entry({ validatorAddress: second.validatorAddress }), 'commit.entry-mismatch'],
    ['one validator twice', entry(first, 1), 'commit.entry-mismatch'],
    ['vote time', entry({ timestamp: timeOf(6) }), 'commit.signature-invalid'],
    [
      'vote time out of range',
      entry({ timestamp: { seconds: 1n << 70n, nanos: 0 } }),
      'commit.entry-mismatch',
    ],
    ['signature', entry({ signature: flipped }), 'commit.signature-invalid'],
    ['signature of another', entry({ signature: second.signature }), 'commit.signature-invalid'],
    ['signature cut', entry({ signature: first.signature.slice(0, 63) }), 'commit.entry-mismatch'],
    ['absent with a signature', entry({ signature: first.signature }, 3), 'commit.entry-mismatch'],
    [
      'absent with an address',
      entry({ validatorAddress: first.validatorAddress }, 3),
      'commit.entry-mismatch',
    ],
    ['absent with a time', entry({ timestamp: addNanos(ZERO_TIMESTAMP, 1n) }, 3), 'commit.entry-mismatch'],
  ];
  for (const [what, change, code] of altered) {
    const result = step({
      ...block,
      signedHeader: { ...block.signedHeader, commit: { ...commit, ...change } },
    });
    assert.equal(result.outcome, 'invalid', what);
    assert.ok(failures(result.verdict).includes(code), `${what}: ${failures(result.verdict)}`);
  }
});

test('a skipped check never passes', () => {
  const block = lightBlockAt(5, always);
  const commit = { ...block.signedHeader.commit, signatures: [] };
  const { verdict } = step({ ...block, signedHeader: { ...block.signedHeader, commit } });
  assert.ok(!verdict.ok);
  const statuses = verdict.checks.filter(({ id }) => id === 'commit.power' || id === 'commit.signatures');
  assert.deepEqual(
    statuses.map(({ status }) => status),
    ['skipped', 'skipped'],
  );
});

test('trust: expiry, chain, named validators, overlap', () => {
  const trusted = trustedStateOf(lightBlockAt(1, always));
  const block = lightBlockAt(2, always);
  const expired = step(block, { ...OPTIONS, trustingPeriodNs: 19n * SECOND_NS });
  assert.deepEqual(failures(expired.verdict), ['trusted.expired']);
  assert.equal(step(block, { ...OPTIONS, trustingPeriodNs: 19n * SECOND_NS + 1n }).outcome, 'trusted');
  const foreign = step(block, { ...OPTIONS, chainId: 'another' });
  assert.ok(failures(foreign.verdict).includes('trusted.chain-id-mismatch'));
  const changed = step(lightBlockAt(2, () => setOf({ 5: 10n })));
  assert.deepEqual(failures(changed.verdict), ['trust.validators-not-named']);
  assert.equal(changed.outcome, 'invalid');
  const disguised: TrustedState = { ...trusted, nextValidators: setOf({ 5: 10n }) };
  assert.ok(failures(step(block, OPTIONS, disguised).verdict).includes('trusted.next-validators-mismatch'));
  // One of four trusted validators among the signers is not more than a third; two are.
  const oneOfFour = step(lightBlockAt(9, () => setOf({ 0: 10n, 5: 1n })));
  assert.equal(oneOfFour.outcome, 'not-enough-trust');
  assert.deepEqual([oneOfFour.overlapPower, oneOfFour.trustedPower], [10n, 40n]);
  assert.equal(step(lightBlockAt(9, () => setOf({ 0: 10n, 1: 10n, 5: 1n }))).outcome, 'trusted');
  // Trusted validators that are in the new set and did not sign give no trust.
  const silent = lightBlockAt(
    9,
    () => setOf({ 0: 1n, 1: 1n, 5: 50n }),
    ({ power }) => (power === 50n ? 'commit' : 'absent'),
  );
  assert.equal(step(silent).outcome, 'not-enough-trust');
});

test('options that can not be meant are refused', () => {
  const block = lightBlockAt(2, always);
  const level = (numerator: bigint, denominator: bigint) => ({
    ...OPTIONS,
    trustLevel: { numerator, denominator },
  });
  for (const options of [level(1n, 4n), level(2n, 1n), level(0n, 0n), { ...OPTIONS, trustingPeriodNs: 0n }]) {
    assert.throws(() => step(block, options), UsageError);
  }
});

test('a validator set has each validator once, in CometBFT’s order, with sane powers', () => {
  const [a, b] = FOUR.validators;
  assert.ok(a !== undefined && b !== undefined);
  assert.throws(() => validatorSetOf([a, b, a]), { code: 'validators.duplicate' });
  assert.throws(() => validatorSetOf([{ ...a, power: 0n }]), { code: 'validators.power' });
  assert.throws(() => validatorSetOf([{ ...a, power: 2n ** 62n }]), { code: 'validators.total-power' });
  assert.throws(() => validatorSetOf([{ ...a, publicKey: a.publicKey.slice(1) }]), MalformedError);
  const sorted = setOf({ 0: 1n, 1: 5n, 2: 5n, 3: 9n }).validators;
  assert.deepEqual(
    sorted.map(({ power }) => power),
    [9n, 5n, 5n, 1n],
  );
});

test('native and portable crypto agree', () => {
  const trusted = trustedStateOf(lightBlockAt(1, always));
  const good = lightBlockAt(2, always);
  const { header, commit } = good.signedHeader;
  const bad = { ...commit, round: 7 };
  for (const block of [good, { ...good, signedHeader: { header, commit: bad } }]) {
    const verify = (crypto: typeof nodeCrypto) => verifyHeader(crypto, trusted, block, OPTIONS, NOW);
    assert.deepEqual(verify(nodeCrypto), verify(portableCrypto));
  }
});

test('bisection follows a set that changes by one validator a height, and only as far as it can be proved', async () => {
  const sliding = (height: number) =>
    setOf(Object.fromEntries([0, 1, 2, 3].map((i) => [Math.floor(height / 2) + i, 10n])));
  const trusted = trustedStateOf(lightBlockAt(1, sliding));
  const asked: number[] = [];
  const honest = {
    lightBlock: async (height: number) => {
      asked.push(height);
      return lightBlockAt(height, sliding);
    },
  };
  const options = { ...OPTIONS, maxFetches: 50 };
  const now = () => timeOf(60);
  const result = await syncTo(nodeCrypto, honest, trusted, 50, options, now);
  assert.equal(result.outcome, 'trusted');
  assert.equal(result.trusted.header.height, 50);
  const heights = result.trace.map(({ signedHeader }) => signedHeader.header.height);
  assert.deepEqual(
    heights,
    [...heights].sort((a, b) => a - b),
  );
  assert.equal(heights.at(-1), 50);
  assert.ok(asked.length < 50 && new Set(asked).size === asked.length, `${asked}`);

  const impatient = await syncTo(nodeCrypto, honest, trusted, 50, { ...options, maxFetches: 3 }, now);
  assert.equal(impatient.outcome, 'gave-up');
  const wrongHeight = { lightBlock: async (height: number) => lightBlockAt(height - 1, sliding) };
  const lied = await syncTo(nodeCrypto, wrongHeight, trusted, 50, options, now);
  assert.equal(lied.outcome, 'invalid');
  assert.deepEqual(failures(lied.verifications.at(-1)?.verdict as Verdict), ['source.height-mismatch']);
  const forging = {
    lightBlock: async (height: number) =>
      height > 20 ? lightBlockAt(height, () => setOf({ 30: 10n })) : lightBlockAt(height, sliding),
  };
  const forged = await syncTo(nodeCrypto, forging, trusted, 50, options, now);
  assert.equal(forged.outcome, 'invalid');
  assert.ok(forged.trusted.header.height <= 20);
  assert.equal((await syncTo(nodeCrypto, honest, trusted, 1, options, now)).outcome, 'trusted');
  assert.equal((await syncTo(nodeCrypto, honest, result.trusted, 49, options, now)).outcome, 'invalid');
});

test('TREE-12 a state proof belongs to the header after its height', () => {
  const header = { ...headerOf(8, FOUR, FOUR), appHash: new Uint8Array(32) };
  const proof = encodeStoreProof({ end: { kind: 'absent-empty' }, siblings: [] });
  const statement = { header, key: Uint8Array.of(1), value: null, proof };
  assert.ok(verifyStateProof({ ...statement, stateHeight: 7 }).ok);
  for (const stateHeight of [8, 6, Number.NaN]) {
    assert.deepEqual(failures(verifyStateProof({ ...statement, stateHeight })), ['store.height-mismatch']);
  }
});

test('a transaction proof shows one transaction in one block', () => {
  fc.assert(
    fc.property(
      // Each transaction once: of two equal ones either proof shows the other too.
      fc.uniqueArray(fc.uint8Array({ maxLength: 40 }), {
        selector: (tx) => tx.join(),
        minLength: 1,
        maxLength: 20,
      }),
      fc.nat(),
      (txs, pick) => {
        const index = pick % txs.length;
        const tx = txs[index] as Uint8Array;
        const proof = txProofOf(txs, index);
        const root = dataHash(txs);
        const verify = (change: object) =>
          verifyTxProof({ dataHash: root, tx, proof: { ...proof, ...change } }).ok;
        assert.ok(verify({}));
        assert.ok(!verify({ tx: Uint8Array.of(...tx, 1) }));
        assert.ok(!verify({ rootHash: proof.leafHash.map((byte) => byte ^ 1) }));
        assert.ok(!verify({ leafHash: root.map((byte) => byte ^ 1) }));
        assert.ok(!verify({ aunts: [...proof.aunts, root] }));
        assert.ok(!verify({ index: -1 }));
        assert.ok(!verify({ total: 0 }));
        if (txs.length > 1) {
          assert.ok(!verify({ aunts: proof.aunts.slice(1) }));
          assert.ok(!verify({ index: index === 0 ? 1 : index - 1 }));
        }
        assert.ok(!verifyTxProof({ dataHash: root.map((byte) => byte ^ 1), tx, proof }).ok);
        assert.ok(!verifyTxProof({ dataHash: root, tx: Uint8Array.of(...tx, 1), proof }).ok);
      },
    ),
  );
});

test('a header hash changes with every field', () => {
  const header = headerOf(5, FOUR, FOUR);
  const hashes = [
    header,
    { ...header, height: 6 },
    { ...header, chainId: 'x' },
    { ...header, time: addNanos(header.time, 1n) },
  ].map((each) => headerHash(each).join());
  assert.equal(new Set(hashes).size, hashes.length);
  assert.ok(commitOf(header, FOUR).signatures.length === 4);
});
