/** Which collateral takes the place of which: what a client says before it pays for a transaction is what the chain does with it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createTdxTestRoot,
  type IntelTestCollateralOptions,
  mintAmdCollateral,
  mintTdxCollateral,
  renewTcbSigning,
} from '@haca/attester';
import {
  applyGenesis,
  EVIDENCE_VERIFIER,
  type ExecutionContext,
  executeBlock,
  readChainConfig,
  refuseAllProofs,
} from '@haca/chain';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { bytesEqual, decode, sha256, toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import {
  accountIdOf,
  type Collateral,
  collateralRecordCodec,
  DEFAULT_PARAMS,
  decreeMessage,
  governanceRecordCodec,
  nopg,
  OPG_SUPPLY_NOPG,
  type Op,
  recordKey,
  revokedCertificatesRecordCodec,
  signTransaction,
  tablePrefix,
} from '@haca/protocol';
import { appraisePieces, type CollateralEntry, type CollateralPiece, isPostable } from '@haca/sdk';
import {
  type CollateralFile,
  type CollateralLibrary,
  parseCertificate,
  readCollateral,
} from '@haca/verifier';
import fc from 'fast-check';
import { ROOTS } from './tee-test-world.ts';

const CHAIN = 'haca-interop-1';
const NOW_MS = Date.UTC(2026, 10, 21, 9, 30);
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const FIRST = createTdxTestRoot(new Uint8Array(32).fill(1));
/** The same root with another signer. */
const SECOND = renewTcbSigning(FIRST, new Uint8Array(32).fill(2));
const OTHER = createTdxTestRoot(new Uint8Array(32).fill(3));
const SIGNERS = [FIRST, SECOND] as const;

/** CometBFT's address of an Ed25519 key. */
const consensusAddress = (publicKey: Uint8Array): Uint8Array => sha256(publicKey).slice(0, 20);
const keeper = ed25519SignerFromSeed(new Uint8Array(32).fill(1));
const poster = ed25519SignerFromSeed(new Uint8Array(32).fill(2));
const sender = { algorithm: 'ed25519' as const, publicKey: poster.publicKey };

interface TestChain {
  /** Each in a transaction of its own, all in the block at this time: whether each was applied. */
  readonly post: (items: readonly Collateral[], timeMs: number) => readonly boolean[];
  /** By decree. */
  readonly revoke: (certificate: Uint8Array) => void;
  /** What a client sees of it. */
  readonly appraise: (library: CollateralLibrary, nowMs: number) => readonly CollateralPiece[];
}

/** The state machine with the verifier of full nodes, without a network. */
function startChain(): TestChain {
  const state = new Map<string, Uint8Array>();
  const view = { get: (key: Uint8Array) => state.get(toHex(key)) };
  const reserveNopg = 10n ** 15n;
  const selfBond = DEFAULT_PARAMS.validatorBondMin;
  const genesis = {
    simulated: true,
    params: { ...DEFAULT_PARAMS, tcbGraceMs: 30 * DAY_MS },
    reserveNopg,
    accounts: [{ accountId: accountIdOf(sender), nopg: OPG_SUPPLY_NOPG - reserveNopg - selfBond }],
    validators: [{ consensusKey: keeper.publicKey, operator: accountIdOf(sender), selfBond }],
    assets: [],
    measurements: [],
    testRoots: [FIRST.sha256, OTHER.sha256, ROOTS.genoa.sha256],
  };
  const apply = (changes: readonly (readonly [Uint8Array, Uint8Array | null])[]): void => {
    for (const [key, value] of changes) {
      if (value === null) state.delete(toHex(key));
      else state.set(toHex(key), value);
    }
  };
  apply(applyGenesis(genesis, CHAIN, NOW_MS - DAY_MS).changes);
  const config = readChainConfig(view);
  const ctx: ExecutionContext = {
    crypto: nodeCrypto,
    config,
    evidence: EVIDENCE_VERIFIER,
    zk: refuseAllProofs,
    collectPostings: false,
  };
  let height = 0;
  let nonce = 0;
  const hashOf = (of: number): Uint8Array => sha256(utf8Encode(`block ${of}`));
  const execute = (transactions: readonly (readonly Op[])[], timeMs: number): readonly boolean[] => {
    height++;
    const txs = transactions.map(
      (ops) =>
        signTransaction(
          {
            version: 1,
            chainId: CHAIN,
            sender,
            nonce: nonce++,
            validUntil: height,
            maxFee: nopg(10n ** 6n),
            tipCap: nopg(0n),
            feePayer: null,
            ops,
          },
          (message) => poster.sign(message),
        ).bytes,
    );
    const proposer = consensusAddress(keeper.publicKey);
    const lastCommit = [{ address: proposer, signed: true }];
    const recentBlockHash = (of: number) => (of >= 1 && of < height ? hashOf(of) : undefined);
    const input = { height, timeMs, hash: hashOf(height), txs, proposer, lastCommit, recentBlockHash };
    const { changes, results } = executeBlock(view, input, ctx);
    apply(changes);
    for (const { codeName } of results) assert.ok(['OK', 'E_COLLATERAL'].includes(codeName), codeName);
    return results.map(({ codeName }) => codeName === 'OK');
  };
  const decodeRow = <T>(codec: Parameters<typeof decode<T>>[0], key: Uint8Array): T | undefined => {
    const value = view.get(key);
    return value === undefined ? undefined : decode(codec, value, 'row');
  };
  return {
    post: (items, timeMs) =>
      execute(
        items.map((item) => [{ kind: 'post-collateral', items: [item] }]),
        timeMs,
      ),
    revoke: (der) => {
      const { issuer, serial } = parseCertificate(der, 'certificate');
      const known = decodeRow(governanceRecordCodec, recordKey.governance());
      const decree = {
        serial: (known?.serial ?? 0) + 1,
        action: { kind: 'revoke-certificate', certificate: { issuer, serial } } as const,
      };
      const signature = keeper.sign(decreeMessage({ chainId: CHAIN, ...decree }));
      const signatures = [{ validator: consensusAddress(keeper.publicKey), signature }];
      assert.deepEqual(execute([[{ kind: 'decree', ...decree, signatures }]], NOW_MS), [true]);
    },
    appraise: (library, nowMs) => {
      const prefix = toHex(tablePrefix('collateral'));
      const onChain: readonly CollateralEntry[] = [...state]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, value]) => ({
          id: Uint8Array.from(Buffer.from(key.slice(prefix.length), 'hex')),
          record: decode(collateralRecordCodec, value, 'collateral'),
        }));
      const revoked = decodeRow(revokedCertificatesRecordCodec, recordKey.revokedCertificates()) ?? [];
      return appraisePieces(library, { crypto: nodeCrypto, config, onChain, revoked, nowMs });
    },
  };
}

const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;

/** A folder as a person makes one. */
function filesOf(items: readonly Collateral[]): readonly CollateralFile[] {
  return items.flatMap((item, i) => {
    const chain = { name: `${i}.pem`, bytes: utf8Encode(item.issuerChain.map(pem).join('')) };
    if ('crl' in item) return [{ name: `${i}.der`, bytes: item.crl }, chain];
    const member = item.kind === 'intel-tcb-info' ? 'tcbInfo' : 'enclaveIdentity';
    const text = `{"${member}":${utf8Decode(item.body, 'body')},"signature":"${toHex(item.signature)}"}`;
    return [{ name: `${i}.json`, bytes: utf8Encode(text) }, chain];
  });
}

interface Minted extends Partial<IntelTestCollateralOptions> {
  readonly signer?: 0 | 1;
}

/** Lists of the root and the CA, TCB information, identity. */
function mint({ signer = 0, ...options }: Minted): readonly [Collateral, Collateral, Collateral, Collateral] {
  const items = mintTdxCollateral(SIGNERS[signer], { nowMs: NOW_MS - DAY_MS, ...options });
  return items as readonly [Collateral, Collateral, Collateral, Collateral];
}

/** What the client says of these files; the chain must do with each piece as it says. */
function postAsSaid(
  chain: TestChain,
  items: readonly Collateral[],
  timeMs = NOW_MS,
): readonly CollateralPiece[] {
  const pieces = chain.appraise(readCollateral(filesOf(items)), timeMs);
  const taken = chain.post(
    pieces.map(({ item }) => item),
    timeMs,
  );
  assert.deepEqual(
    taken,
    pieces.map(isPostable),
    pieces.map(({ ref, state }) => `${ref.kind} ${state}`).join(),
  );
  return pieces;
}

const statesOf = (pieces: readonly CollateralPiece[]): readonly string[] => pieces.map(({ state }) => state);
const [firstSerial, secondSerial] = SIGNERS.map(({ serials }) => serials.tcbSigning) as [
  Uint8Array,
  Uint8Array,
];

function infoOf(number: number, signer: 0 | 1 = 0, over: Minted = {}): Collateral {
  return mint({ signer, tcbEvaluationDataNumber: number, ...over })[2];
}

test('new, same, older, newer and refused are what the chain makes of a piece', () => {
  const chain = startChain();
  const [rootList] = mint({});
  assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(17)])), ['refused'], 'nobody can judge its signer');
  assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(17), rootList])), ['new', 'new']);
  assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(17)])), ['same']);
  assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(16, 0, { nowMs: NOW_MS })])), ['older']);
  assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(17, 0, { nowMs: NOW_MS - 2 * DAY_MS })])), ['older']);
  assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(17, 0, { nowMs: NOW_MS })])), ['newer']);
  assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(18, 1)])), ['newer']);
  assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(19, 0, { nowMs: NOW_MS + 1_000 })])), ['refused']);
  assert.deepEqual(
    statesOf(postAsSaid(chain, [infoOf(19, 0, { nextUpdateMs: NOW_MS })])),
    ['refused'],
    'over now',
  );
  const list = mintAmdCollateral(ROOTS.genoa, { nowMs: NOW_MS - DAY_MS });
  assert.deepEqual(statesOf(postAsSaid(chain, list)), ['new']);
  assert.deepEqual(statesOf(postAsSaid(chain, list)), ['same']);
});

for (const by of ['list', 'decree'] as const) {
  test(`a piece whose signer was taken back by ${by} keeps nothing out but what stands of what it superseded`, () => {
    const chain = startChain();
    const [rootList] = mint({});
    postAsSaid(chain, [rootList, infoOf(17, 1)]);
    assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(18, 1)])), ['newer']);
    assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(2 ** 32 - 1)])), ['newer'], 'somebody has the key');
    assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(19, 1)])), ['older'], 'and nobody knows yet');
    const newList = mint({ crlNumber: 2, revokedRootSerials: [firstSerial] })[0];
    if (by === 'decree') chain.revoke(FIRST.tcbSigning.der);
    // The list itself, where that is what says it, is in the files, and judges the others.
    const list = by === 'list' ? [newList] : [];
    const rest = (pieces: readonly CollateralPiece[]) => statesOf(pieces.slice(list.length));
    assert.deepEqual(rest(postAsSaid(chain, [infoOf(17, 1), ...list])), ['older'], 'rolled back');
    assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(2 ** 32 - 1, 0, { nowMs: NOW_MS })])), ['refused']);
    assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(18, 1)])), ['newer'], 'what was in force before');
    assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(18, 1)])), ['same']);
    assert.deepEqual(statesOf(postAsSaid(chain, [infoOf(19, 1)])), ['newer']);
  });
}

test('of several versions in the files that is posted which the chain takes, not the higher one with a signer taken back', () => {
  const chain = startChain();
  const [rootList] = mint({ revokedRootSerials: [firstSerial] });
  const stolen = infoOf(2 ** 32 - 1);
  const pieces = postAsSaid(chain, [rootList, stolen, infoOf(17, 1), infoOf(18, 1)]);
  assert.deepEqual(
    pieces.map(({ state, facts }) => [state, facts?.version[0]]),
    [
      ['new', 1],
      ['new', 18],
    ],
  );
  assert.deepEqual(statesOf(postAsSaid(chain, [stolen])), ['refused']);
});

test('what brings its own chain is one piece, however many roots are at hand, and the newest of its name', () => {
  const [rootList] = mint({});
  const [, , , otherIdentity] = mintTdxCollateral(OTHER, { nowMs: NOW_MS }) as ReturnType<typeof mint>;
  const old = infoOf(18);
  const library = readCollateral(filesOf([rootList, old, infoOf(19), otherIdentity]));
  const withChain = library.signedJson.map((entry) =>
    'body' in old && bytesEqual(entry.body, old.body) ? { ...entry, issuerChain: old.issuerChain } : entry,
  );
  for (const certificates of [library.certificates, [...library.certificates].reverse()]) {
    const pieces = startChain().appraise({ ...library, certificates, signedJson: withChain }, NOW_MS);
    const infos = pieces.filter(({ ref }) => ref.kind === 'intel-tcb-info');
    assert.deepEqual(
      infos.map(({ state, facts }) => [state, facts?.version[0]]),
      [['new', 19]],
    );
  }
});

const step = fc.record({
  signer: fc.constantFrom(0, 1) as fc.Arbitrary<0 | 1>,
  number: fc.integer({ min: 16, max: 19 }),
  hoursAgo: fc.integer({ min: -1, max: 3 }),
  hoursLeft: fc.constantFrom(0, 1, 24),
  crlNumber: fc.integer({ min: 1, max: 3 }),
  revoked: fc.subarray([firstSerial, secondSerial]),
  pieces: fc.subarray([0, 1, 2, 3], { minLength: 1 }),
  decree: fc.oneof(
    { weight: 8, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.constantFrom(0, 1) },
  ),
});

test('over any history the client says newer of just what the chain takes', () => {
  const seen = new Map<string, number>();
  const property = fc.property(fc.array(step, { minLength: 2, maxLength: 8 }), (steps) => {
    const chain = startChain();
    const revoked = new Set<number>();
    for (const { signer, number, hoursAgo, hoursLeft, crlNumber, revoked: listed, pieces, decree } of steps) {
      if (decree !== null && !revoked.has(decree)) {
        revoked.add(decree);
        chain.revoke((SIGNERS[decree] as (typeof SIGNERS)[number]).tcbSigning.der);
      }
      const items = mint({
        signer,
        tcbEvaluationDataNumber: number,
        crlNumber,
        nowMs: NOW_MS - hoursAgo * HOUR_MS,
        nextUpdateMs: NOW_MS + hoursLeft * HOUR_MS,
        revokedRootSerials: listed,
      });
      const said = postAsSaid(
        chain,
        pieces.map((i) => items[i] as Collateral),
      );
      for (const { state } of said) seen.set(state, (seen.get(state) ?? 0) + 1);
    }
  });
  fc.assert(property, { numRuns: 60, seed: 1 });
  // What histories by chance come to is left to chance; those of a seed are always the same.
  for (const state of ['new', 'newer', 'same', 'older', 'refused'])
    assert.ok((seen.get(state) ?? 0) > 0, state);
  fc.assert(property, { numRuns: 60 });
});
