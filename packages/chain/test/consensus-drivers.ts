/**
 * Ways in which consensus may drive one application through the same blocks. Whatever the way, what a block leads to must be
 * the same: these give it per height, for a test to compare.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { resultsHash, timestampFromMs } from '@haca/light-client';
import { nodeCrypto } from '@haca/platform';
import { sha256, toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import type { AppGenesis } from '@haca/protocol';
import type { Application, BlockRequest, ExecTxResult, FinalizeBlockResponse } from '../src/abci.ts';
import { hashedResults } from '../src/application/block-results.ts';
import { type ApplicationOptions, openApplication } from '../src/application.ts';
import { makeGenesisDocument } from '../src/genesis-document.ts';
import type { BlockInput } from '../src/state-machine/index.ts';
import { openStore } from '../src/storage/index.ts';
import { connectAbci, testServer } from './abci-client.ts';
import type { Fields } from './abci-proto.ts';
import { temporaryFolder } from './engine-fixture.ts';
import { CHAIN } from './state-machine-world.ts';
import { TEST_BACKEND } from './test-proof-system.ts';

/** What must not depend on who made a block, what was cached, or what happened in between. */
export interface Outcome {
  readonly height: number;
  readonly appHash: string;
  /** As the next header's LastResultsHash. */
  readonly resultsHash: string;
  readonly validatorUpdates: readonly string[];
  readonly events: string;
  /** Root of each table. */
  readonly modules: Readonly<Record<string, string>>;
}

export interface Scenario {
  readonly genesis: AppGenesis;
  readonly genesisTimeMs: number;
  readonly blocks: readonly BlockRequest[];
  readonly evidence: ApplicationOptions['evidence'];
}

export function requestOf(input: BlockInput): BlockRequest {
  return {
    hash: input.hash,
    height: input.height,
    time: timestampFromMs(input.timeMs),
    txs: input.txs,
    proposerAddress: input.proposer,
    lastCommit: input.lastCommit.map((vote) => ({ ...vote, power: 1n })),
    misbehavior: (input.misbehavior ?? []).map((each) => ({ ...each, kind: 'duplicate-vote' })),
  };
}

/** What a driver does with a block before it is decided, and whether the process ends after it. */
export interface Way {
  readonly before?: (application: Application, block: BlockRequest) => Promise<void>;
  readonly restartsAfterEach?: boolean;
}

export function initChainRequest({ genesis, genesisTimeMs }: Pick<Scenario, 'genesis' | 'genesisTimeMs'>) {
  const document = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs, app: genesis });
  const { app_state } = JSON.parse(JSON.stringify(document)) as { app_state: object };
  return {
    time: timestampFromMs(genesisTimeMs),
    chainId: CHAIN,
    initialHeight: 1,
    validators: [],
    appState: utf8Encode(JSON.stringify(app_state)),
  };
}

function open(folder: string, scenario: Scenario) {
  const store = openStore(folder);
  const { evidence } = scenario;
  const application = openApplication({
    store,
    crypto: nodeCrypto,
    evidence,
    zk: TEST_BACKEND,
    checkInvariants: true,
  });
  const close = async (): Promise<void> => {
    await application.close();
    await store.close();
  };
  return { application, close };
}

function modulesOf(value: Uint8Array): Readonly<Record<string, string>> {
  return JSON.parse(utf8Decode(value)) as Readonly<Record<string, string>>;
}

const MODULES_QUERY = { path: '/module-roots', data: new Uint8Array(0), height: 0, prove: false };

/** In-process, as the embedded engine calls it. */
export async function driveDirectly(t: TestContext, scenario: Scenario, way: Way = {}): Promise<Outcome[]> {
  const folder = temporaryFolder(t);
  let { application, close } = open(folder, scenario);
  application.initChain(initChainRequest(scenario));
  const outcomes: Outcome[] = [];
  for (const block of scenario.blocks) {
    await way.before?.(application, block);
    const response = await application.finalizeBlock(block);
    await application.commit();
    if (way.restartsAfterEach === true) {
      await close();
      ({ application, close } = open(folder, scenario));
      assert.equal(application.info().lastBlockHeight, block.height);
    }
    assert.equal(toHex(application.info().lastBlockAppHash), toHex(response.appHash));
    outcomes.push(directOutcome(application, block.height, response));
  }
  await close();
  return outcomes;
}

function directOutcome(application: Application, height: number, response: FinalizeBlockResponse): Outcome {
  return {
    height,
    appHash: toHex(response.appHash),
    resultsHash: toHex(resultsHash(hashedResults(response.txResults))),
    validatorUpdates: response.validatorUpdates.map(({ publicKey, power }) => `${toHex(publicKey)} ${power}`),
    events: digestOf([response.events, ...response.txResults.map(({ events }) => events)]),
    modules: modulesOf(application.query(MODULES_QUERY).value),
  };
}

/** The application with every block that consensus decides, and what came of it, written down. */
export function recordBlocks(application: Application) {
  const blocks: BlockRequest[] = [];
  const outcomes: Outcome[] = [];
  let latest: FinalizeBlockResponse | null = null;
  const recorded: Application = {
    ...application,
    finalizeBlock: async (request) => {
      blocks.push(request);
      latest = await application.finalizeBlock(request);
      return latest;
    },
    commit: async (attachment) => {
      const answer = await application.commit(attachment);
      assert.ok(latest !== null);
      outcomes.push(directOutcome(application, blocks.at(-1)?.height ?? 0, latest));
      return answer;
    },
  };
  return { recorded, blocks, outcomes };
}

/** Over the socket, message by message as CometBFT sends them. */
export async function driveOverSocket(t: TestContext, scenario: Scenario): Promise<Outcome[]> {
  const { application, close } = open(temporaryFolder(t), scenario);
  const server = await testServer(t, { application });
  const [queries, mempool, consensus] = await Promise.all(
    [1, 2, 3].map(() => connectAbci(t, server.address)),
  );
  assert.ok(queries !== undefined && mempool !== undefined && consensus !== undefined);
  const { time, chainId, initialHeight, appState } = initChainRequest(scenario);
  await queries.call('info', { abciVersion: '2.0.0' });
  await consensus.call('init-chain', { time: timeFields(time), chainId, initialHeight, appState });
  const outcomes: Outcome[] = [];
  for (const block of scenario.blocks) {
    for (const tx of block.txs) await mempool.call('check-tx', { tx, type: 0 });
    const fields = blockFields(block);
    await consensus.call('process-proposal', fields);
    const [, response] = await consensus.call('finalize-block', fields);
    await consensus.call('commit');
    const [, modules] = await queries.call('query', { path: MODULES_QUERY.path });
    outcomes.push(outcomeOf(block.height, response, modules['value'] as Uint8Array));
  }
  assert.deepEqual(server.fatal, []);
  await server.close();
  await close();
  return outcomes;
}

function timeFields({ seconds, nanos }: BlockRequest['time']): Fields {
  return { seconds: BigInt(seconds), nanos };
}

function blockFields(block: BlockRequest): Fields {
  const { txs, hash, height, proposerAddress, lastCommit, misbehavior } = block;
  const votes = lastCommit.map(({ address, power, signed }) => ({
    validator: { address, power },
    flag: signed ? 2 : 1,
  }));
  return {
    txs,
    lastCommit: { round: 0, votes },
    misbehavior: misbehavior.map(({ address, height: at }) => ({
      type: 1,
      validator: { address, power: 1n },
      height: at,
      time: timeFields(block.time),
      totalPower: 1n,
    })),
    hash,
    height,
    time: timeFields(block.time),
    proposerAddress,
  };
}

function outcomeOf(height: number, response: Fields, modules: Uint8Array): Outcome {
  const results = list(response, 'txResults').map((result) => ({
    code: Number(result['code'] ?? 0n),
    data: (result['data'] as Uint8Array | undefined) ?? new Uint8Array(0),
    gasWanted: (result['gasWanted'] as bigint | undefined) ?? 0n,
    gasUsed: (result['gasUsed'] as bigint | undefined) ?? 0n,
    events: eventsOf(result),
  }));
  return {
    height,
    appHash: toHex(response['appHash'] as Uint8Array),
    resultsHash: toHex(resultsHash(results)),
    validatorUpdates: list(response, 'validatorUpdates').map((update) => {
      const { ed25519 } = update['key'] as { ed25519: Uint8Array };
      return `${toHex(ed25519)} ${update['power'] ?? 0n}`;
    }),
    events: digestOf([eventsOf(response), ...results.map(({ events }) => events)]),
    modules: modulesOf(modules),
  };
}

function list(fields: Fields, name: string): readonly Fields[] {
  return (fields[name] as readonly Fields[] | undefined) ?? [];
}

function eventsOf(fields: Fields): ExecTxResult['events'] {
  return list(fields, 'events').map((event) => ({
    type: event['type'] as string,
    attributes: list(event, 'attributes').map((attribute) => ({
      key: (attribute['key'] as string | undefined) ?? '',
      value: (attribute['value'] as string | undefined) ?? '',
      index: attribute['index'] === true,
    })),
  }));
}

function digestOf(events: readonly ExecTxResult['events'][]): string {
  return toHex(sha256(utf8Encode(JSON.stringify(events))));
}
