/** Who the validators are: by stake they come and go, and who signs twice pays for it. */
import {
  decodeBlock,
  decodeSignedHeader,
  decodeValidatorsPage,
  encodeEvidenceJson,
  evidenceHash,
  type PartSetHeader,
  type Vote,
  voteSignBytes,
} from '@haca/light-client';
import { nodeCrypto } from '@haca/platform';
import { bytesEqual, compareBytes, decode, utf8Decode, utf8Encode } from '@haca/primitives';
import {
  nopg,
  recordKey,
  type ValidatorRecord,
  validatorPossessionMessage,
  validatorRecordCodec,
} from '@haca/protocol';
import { VALIDATOR_BOND_NOPG } from './actors.ts';
import type { NetworkNode } from './network.ts';
import {
  genesisValidators,
  type Scenario,
  type ScenarioContext,
  until,
  untilBlocks,
  untilCaughtUp,
} from './scenario.ts';

/** Consensus votes in block H + 2 with the power that the application told it in block H. */
const UPDATE_DELAY_BLOCKS = 2;
const NOPG_PER_POWER = 1_000_000_000_000n;
const RETURN_BOND_NOPG = VALIDATOR_BOND_NOPG / 10n;
const DOUBLE_SIGN_BPS = 500n;

export const changeValidators: Scenario = {
  name: 'validators',
  does: 'A fifth node becomes a validator by bonding stake, one of the four leaves by unbonding all of its own, and comes back with less.',
  checks: [
    'the validator set of CometBFT follows two blocks later, with the power of the stake, on every node',
    'the new validator signs blocks, and the one that left does not',
    'blocks go on',
  ],
  run: async (context) => {
    const { network, load } = context;
    const joining = await fifthNode(context);
    const { operator, consensus } = joining.validator;
    const possession = consensus.sign(
      validatorPossessionMessage({
        chainId: network.chainId,
        operator: operator.id,
        consensusKey: consensus.publicKey,
      }),
    );
    const joined = await load.submit(load.accountOf(operator), [
      {
        kind: 'register-validator',
        consensusKey: consensus.publicKey,
        bond: nopg(VALIDATOR_BOND_NOPG),
        possession,
      },
    ]);
    const power = VALIDATOR_BOND_NOPG / NOPG_PER_POWER;
    await expectPower(context, joining, joined.height, [0n, power]);
    await untilSigns(context, joining);
    context.log(`${joining.name} registered in block ${joined.height} and signs`);

    const [leaving] = genesisValidators(context);
    if (leaving === undefined) throw new Error('a network with validators');
    const account = load.accountOf(leaving.validator.operator);
    const left = await load.submit(account, [
      { kind: 'unbond-validator', validator: leaving.address, amount: nopg(VALIDATOR_BOND_NOPG) },
    ]);
    await expectPower(context, leaving, left.height, [power, 0n]);
    await untilBlocks(context, 3);
    context.log(`${leaving.name} unbonded in block ${left.height} and is no validator`);

    const returned = await load.submit(account, [
      { kind: 'bond-validator', validator: leaving.address, amount: nopg(RETURN_BOND_NOPG) },
    ]);
    await expectPower(context, leaving, returned.height, [0n, RETURN_BOND_NOPG / NOPG_PER_POWER]);
    await untilSigns(context, leaving);
    return {
      added: joining.name,
      addedAt: joined.height,
      removed: leaving.name,
      removedAt: left.height,
      returnedAt: returned.height,
    };
  },
};

export const doubleSign: Scenario = {
  name: 'double-sign',
  does: 'A validator signs a second precommit beside one of its own in the chain; the evidence is broadcast by RPC, and once more for another height.',
  checks: [
    'consensus takes the evidence into a block',
    '5 % of its bond is burned, once; it is tombstoned and has no power',
    'the validator set of CometBFT follows, and the others go on',
  ],
  run: async (context) => {
    const { network } = context;
    const [, offender] = genesisValidators(context);
    if (offender === undefined) throw new Error('a network with validators');
    const before = await readValidator(context, offender);
    const burnedBefore = await burnedBySlashing(network.running()[0] as NetworkNode);
    await untilBlocks(context, 2);
    const faultHeight = await broadcastDoubleSign(context, offender);
    const includedAt = await untilEvidenceIncluded(context, faultHeight, faultHeight);
    await until('the validator is tombstoned', async () =>
      Boolean((await readValidator(context, offender)).tombstoned),
    );
    const slashed = await checkSlashed(context, offender, before, burnedBefore);
    await until(
      'the validator set without it',
      async () => (await powerAt(offender, offender.address)) === 0n,
    );
    await untilBlocks(context, 4);
    context.log(`${offender.name} signed twice at height ${faultHeight} and is out`);

    // A second proof of the same offender, for a height at which it was still a validator.
    const again = await broadcastDoubleSign(context, offender, faultHeight + 1);
    const againAt = await untilEvidenceIncluded(context, again, includedAt);
    await untilBlocks(context, 2);
    await checkSlashed(context, offender, before, burnedBefore);
    return {
      offender: offender.name,
      faultHeight,
      slashedAt: includedAt,
      bondBeforeNopg: `${before.selfBond}`,
      slashedNopg: `${slashed}`,
      secondFaultHeight: again,
      secondEvidenceAt: againAt,
    };
  },
};

/** The first node that is no validator of genesis; it is added if there is none. */
async function fifthNode(context: ScenarioContext): Promise<NetworkNode> {
  const { network } = context;
  const there = network.running().find(({ index }) => index >= genesisValidators(context).length);
  if (there !== undefined) return there;
  const node = await network.addNode();
  await node.start();
  await untilCaughtUp(context, [node]);
  return node;
}

/** Power before and after a change that was decided at `height`, by every node's own account. */
async function expectPower(
  context: ScenarioContext,
  of: NetworkNode,
  height: number,
  [before, after]: readonly [bigint, bigint],
): Promise<void> {
  const { network, observer, violation } = context;
  const from = height + UPDATE_DELAY_BLOCKS;
  await until(`block ${from}`, () => observer.height() >= from);
  await untilCaughtUp(context, network.running());
  for (const node of network.running()) {
    const powers = [await powerAt(node, of.address, from - 1), await powerAt(node, of.address, from)];
    if (powers[0] !== before || powers[1] !== after)
      violation(
        `${node.name}: ${of.name} has power ${powers.join(' then ')} at ${from - 1} and ${from}, not ${before} then ${after}`,
      );
  }
}

/** 0 where it is not in the set. */
async function powerAt({ rpc }: NetworkNode, address: Uint8Array, height?: number): Promise<bigint> {
  const params = { per_page: '100', ...(height === undefined ? {} : { height: `${height}` }) };
  const { validators } = decodeValidatorsPage(await rpc.call('validators', params));
  return validators.find((validator) => bytesEqual(addressOf(validator.publicKey), address))?.power ?? 0n;
}

function addressOf(publicKey: Uint8Array): Uint8Array {
  return nodeCrypto.sha256(publicKey).slice(0, 20);
}

async function untilSigns(context: ScenarioContext, { name, address }: NetworkNode): Promise<void> {
  const [node] = genesisValidators(context).filter((each) => each.state() === 'running');
  await until(`${name} signs blocks`, async () => {
    const { commit } = await signedHeaderAt(node as NetworkNode, context.observer.height() - 1);
    return commit.signatures.some(
      ({ flag, validatorAddress }) => flag === 'commit' && bytesEqual(validatorAddress, address),
    );
  });
}

async function signedHeaderAt({ rpc }: NetworkNode, height: number) {
  const answer = (await rpc.call('commit', { height: `${height}` })) as { readonly signed_header: unknown };
  return decodeSignedHeader(answer.signed_header);
}

async function readValidator({ network }: ScenarioContext, of: NetworkNode): Promise<ValidatorRecord> {
  const [node] = network.running();
  const { value } = await (node as NetworkNode).rpc.query('/record', recordKey.validator(of.address));
  return decode(validatorRecordCodec, value, 'validator');
}

async function burnedBySlashing({ rpc }: NetworkNode): Promise<bigint> {
  const { value } = await rpc.query('/supply', new Uint8Array(0));
  const { totals } = JSON.parse(utf8Decode(value)) as { readonly totals: Readonly<Record<string, string>> };
  return BigInt(totals['burnedSlash'] ?? '0');
}

/** Gives what was burned. */
async function checkSlashed(
  context: ScenarioContext,
  offender: NetworkNode,
  before: ValidatorRecord,
  burnedBefore: bigint,
): Promise<bigint> {
  const { network, violation } = context;
  const expected = (before.selfBond * DOUBLE_SIGN_BPS) / 10_000n;
  const after = await readValidator(context, offender);
  const burned = (await burnedBySlashing(network.running()[0] as NetworkNode)) - burnedBefore;
  if (after.selfBond !== before.selfBond - expected)
    violation(`${offender.name} has a bond of ${after.selfBond}, not ${before.selfBond} less ${expected}`);
  if (burned !== expected) violation(`${burned} nopg were burned, not ${expected}`);
  if (after.tombstoned !== true || after.power !== 0)
    violation(`${offender.name} is tombstoned ${after.tombstoned} with power ${after.power}`);
  return burned;
}

/**
 * Takes a precommit of the validator out of a commit, signs another one for the same height and round with its key, and
 * broadcasts both. Gives their height: the newest one, or the first from `from` on that it signed.
 */
async function broadcastDoubleSign(
  context: ScenarioContext,
  offender: NetworkNode,
  from?: number,
): Promise<number> {
  const { network, observer } = context;
  const witness = network.running().find((node) => node !== offender) as NetworkNode;
  for (let height = from ?? observer.height() - 1; ; height += from === undefined ? -1 : 1) {
    const { header, commit } = await signedHeaderAt(witness, height);
    const index = commit.signatures.findIndex(
      ({ flag, validatorAddress }) => flag === 'commit' && bytesEqual(validatorAddress, offender.address),
    );
    const signature = commit.signatures[index];
    if (signature === undefined) continue;
    const cast: Vote = {
      type: 2,
      height,
      round: commit.round,
      blockId: commit.blockId,
      timestamp: signature.timestamp,
      validatorAddress: offender.address,
      validatorIndex: index,
      signature: signature.signature,
      extension: new Uint8Array(0),
      extensionSignature: new Uint8Array(0),
    };
    const votes = [cast, conflicting(network.chainId, cast, offender)].sort((a, b) =>
      compareBytes(a.blockId.hash, b.blockId.hash),
    );
    const page = decodeValidatorsPage(
      await witness.rpc.call('validators', { height: `${height}`, per_page: '100' }),
    );
    const evidence = encodeEvidenceJson({
      voteA: votes[0] as Vote,
      voteB: votes[1] as Vote,
      totalVotingPower: page.validators.reduce((sum, { power }) => sum + power, 0n),
      validatorPower: await powerAt(witness, offender.address, height),
      timestamp: header.time,
    });
    await witness.rpc.call('broadcast_evidence', { evidence });
    return height;
  }
}

function conflicting(chainId: string, vote: Vote, { validator }: NetworkNode): Vote {
  const hash = nodeCrypto.sha256(utf8Encode(`another block of height ${vote.height}`));
  const parts: PartSetHeader = { total: 1, hash: nodeCrypto.sha256(hash) };
  const unsigned = { ...vote, blockId: { hash, parts } };
  const bytes = voteSignBytes(vote.type, chainId, unsigned, vote.timestamp);
  return { ...unsigned, signature: validator.consensus.sign(bytes) };
}

/** The height of the block above `after` that carries evidence of a fault at `faultHeight`; it hashes to its header. */
async function untilEvidenceIncluded(
  { network, observer, violation }: ScenarioContext,
  faultHeight: number,
  after: number,
): Promise<number> {
  const { rpc } = network.running()[0] as NetworkNode;
  let next = after + 1;
  let included = 0;
  await until(`evidence of height ${faultHeight} in a block`, async () => {
    for (; next <= observer.height() && included === 0; next++) {
      const answer = (await rpc.call('block', { height: `${next}` })) as { readonly block: unknown };
      const { header, evidence } = decodeBlock(answer.block);
      if (!bytesEqual(evidenceHash(evidence), header.evidenceHash))
        violation(`block ${next} has other evidence than its header says`);
      if (evidence.some(({ voteA }) => voteA.height === faultHeight)) included = next;
    }
    return included > 0;
  });
  return included;
}
