/** Independent readers of the chain, through the gateway: our light client from genesis, and cosmjs. */
import { Comet38Client } from '@cosmjs/tendermint-rpc';
import {
  addNanos,
  DEFAULT_TRUST_LEVEL,
  decodeSignedHeader,
  decodeValidatorsPage,
  type LightBlock,
  syncTo,
  type TrustOptions,
  timestampFromMs,
  trustedStateOf,
  type ValidatorSet,
  validatorSetHash,
  validatorSetOf,
  verifyHeader,
} from '@haca/light-client';
import { nodeCrypto } from '@haca/platform';
import { toHex } from '@haca/primitives';
import { recordKey } from '@haca/protocol';
import { openChainView, verifyAnchor } from '@haca/sdk/node';
import type { NetworkNode } from './network.ts';
import { type Scenario, type ScenarioContext, untilBlocks } from './scenario.ts';

const HOUR_NS = 3_600_000_000_000n;

export const readers: Scenario = {
  name: 'readers',
  does: 'A light client follows the chain from genesis, header by header and by bisection; another one reads it with @cosmjs/tendermint-rpc.',
  checks: [
    'every header follows from the one before, over all changes of the validator set',
    'bisection from genesis ends at the same header',
    'a proven record of every settling key, against a verified header',
    'status, blocks, results, validators, transactions and queries by @cosmjs/tendermint-rpc, under load',
  ],
  run: async (context) => {
    await untilBlocks(context, 2);
    const [node] = context.network.running();
    if (node === undefined) throw new Error('no node is running');
    const followed = await followHeaders(context, node);
    const proven = await proveKeys(context, node);
    const read = await readWithCosmJs(context, node);
    return { ...followed, provenRecords: proven, ...read };
  },
};

async function followHeaders(context: ScenarioContext, node: NetworkNode) {
  const { genesis, chainId } = context.network;
  const options: TrustOptions = {
    chainId,
    trustingPeriodNs: HOUR_NS,
    clockDriftNs: HOUR_NS,
    trustLevel: DEFAULT_TRUST_LEVEL,
  };
  const now = () => addNanos(timestampFromMs(Date.now()), 0n);
  const source = lightBlocks(node);
  const first = await source.lightBlock(genesis.initialHeight);
  if (!verifyAnchor(nodeCrypto, { genesis }, first).ok)
    context.violation('the first header is not of this genesis');
  const top = context.observer.height() - 1;
  let trusted = trustedStateOf(first);
  let setChanges = 0;
  for (let height = genesis.initialHeight + 1; height <= top; height++) {
    const block = await source.lightBlock(height);
    const verified = verifyHeader(nodeCrypto, trusted, block, options, now());
    if (verified.outcome !== 'trusted') {
      const failed = verified.verdict.checks.filter(({ status }) => status === 'failed');
      context.violation(`header ${height}: ${verified.outcome}: ${JSON.stringify(failed)}`);
      break;
    }
    const { validatorsHash } = block.signedHeader.header;
    if (toHex(validatorsHash) !== toHex(trusted.header.validatorsHash)) setChanges++;
    trusted = trustedStateOf(block);
  }
  const skipped = await syncTo(
    nodeCrypto,
    source,
    trustedStateOf(first),
    top,
    { ...options, maxFetches: 200 },
    now,
  );
  const isSame = toHex(skipped.trusted.header.appHash) === toHex(trusted.header.appHash);
  if (skipped.outcome !== 'trusted' || !isSame || skipped.trusted.header.height !== top)
    context.violation(`bisection to ${top}: ${skipped.outcome} at ${skipped.trusted.header.height}`);
  return { headersFollowed: top, validatorSetChanges: setChanges, headersByBisection: skipped.trace.length };
}

function lightBlocks({ rpc }: NetworkNode) {
  const sets = new Map<string, ValidatorSet>();
  const validatorsAt = async (height: number, hash: Uint8Array): Promise<ValidatorSet> => {
    const known = sets.get(toHex(hash));
    if (known !== undefined) return known;
    const page = decodeValidatorsPage(await rpc.call('validators', { height: `${height}`, per_page: '100' }));
    const set = validatorSetOf(page.validators);
    sets.set(toHex(validatorSetHash(set)), set);
    return set;
  };
  return {
    lightBlock: async (height: number): Promise<LightBlock> => {
      const answer = (await rpc.call('commit', { height: `${height}` })) as {
        readonly signed_header: unknown;
      };
      const signedHeader = decodeSignedHeader(answer.signed_header);
      const { validatorsHash, nextValidatorsHash } = signedHeader.header;
      return {
        signedHeader,
        validators: await validatorsAt(height, validatorsHash),
        nextValidators: await validatorsAt(height + 1, nextValidatorsHash),
      };
    },
  };
}

async function proveKeys({ network, load, violation }: ScenarioContext, node: NetworkNode): Promise<number> {
  const view = openChainView({
    crypto: nodeCrypto,
    rpc: node.rpc,
    trust: { genesis: network.genesis },
    clock: Date.now,
  });
  await view.sync();
  for (const { keyId, operator } of load.keys) {
    const { value } = await view.record(recordKey.nodeKey(keyId));
    if (value === null) violation(`the key of ${operator.actor.name} is proven absent`);
  }
  return load.keys.length;
}

/** The client checks the shape of every answer by itself; what it read is held against what we know. */
async function readWithCosmJs({ network, observer, violation }: ScenarioContext, node: NetworkNode) {
  const client = await Comet38Client.connect(node.rpcUrl);
  try {
    const status = await client.status();
    if (status.nodeInfo.network !== network.chainId)
      violation(`cosmjs reads chain ${status.nodeInfo.network}`);
    const height = observer.heightWithTxs();
    const [block, results, commit, validators, info] = await Promise.all([
      client.block(height),
      client.blockResults(height),
      client.commit(height),
      client.validatorsAll(height),
      client.abciInfo(),
    ]);
    if (block.block.txs.length !== results.results.length)
      violation(`cosmjs reads ${block.block.txs.length} transactions and ${results.results.length} results`);
    if (commit.header.height !== height || validators.total < 1) violation('cosmjs reads another block');
    for (const tx of block.block.txs) {
      const hash = nodeCrypto.sha256(tx);
      const found = await client.tx({ hash });
      if (found.height !== height) violation(`cosmjs finds transaction ${toHex(hash)} at ${found.height}`);
    }
    const invariants = await client.abciQuery({ path: '/invariants', data: new Uint8Array(0) });
    if (invariants.code !== 0) violation(`cosmjs asks for invariants: ${invariants.log}`);
    return {
      cosmjsHeight: height,
      cosmjsTransactions: block.block.txs.length,
      applicationOf: info.data ?? '',
    };
  } finally {
    client.disconnect();
  }
}
