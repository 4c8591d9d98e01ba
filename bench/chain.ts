/**
 * What consensus leaves of the application's speed: four validators on this machine, once on CometBFT's built-in key-value
 * store and once on the full node of this project, with the same load in turns; and how long until a settlement is final.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { buildCometBft, COMETBFT_VERSION } from '@haca/chain';
import { fromBase64 } from '@haca/light-client';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { DEFAULT_PARAMS, decodeTransaction, transactionGas } from '@haca/protocol';
import { type Finality, measureFinality } from './chain/finality.ts';
import { type Lane, type LoadResult, runLoad, steadyRate } from './chain/load.ts';
import { type Network, type NetworkKind, startNetwork, VALIDATORS, type Validator } from './chain/network.ts';
import { type Memory, memoryOf, type NetworkUsage, usageBetween, usageOf } from './chain/usage.ts';
import {
  fundedAccounts,
  keyValueLanes,
  makeSenders,
  registerNodes,
  requireApplied,
  type Senders,
  settlementLanes,
  settlements,
  transfers,
} from './chain/workload.ts';
import { type Figure, percentile, type Report, round } from './measure.ts';
import { RECEIPTS_PER_BATCH } from './settling-nodes.ts';

const BUILD = resolve(import.meta.dirname, '../build');
/** Transactions on their way at any time. */
const LANES = size('HACA_BENCH_LANES', 500);
/** A lane's in one round. */
const TXS_PER_LANE = 5;
/** Counted; one before them warms the compilers. */
const ROUNDS = size('HACA_BENCH_ROUNDS', 3);
const FINALITY_TXS = 40;
const SIGNATURES_PER_SETTLEMENT = 2;

type Loaded = 'kvstore' | 'haca';

interface Round {
  readonly perSecond: number;
  readonly blockMs: readonly number[];
  readonly txsPerBlock: number;
  readonly txs: number;
  readonly sentAgain: number;
  readonly usage: NetworkUsage;
  readonly signatureUs: number;
}

interface Measured {
  readonly loadBefore: number;
  readonly rounds: Readonly<Record<Loaded, readonly Round[]>>;
  readonly finality: ReadonlyMap<string, Finality>;
  readonly memory: readonly Memory[];
  readonly txBytes: number;
  readonly transferGas: number;
}

export async function benchChain(): Promise<Report> {
  const [loadBefore = Number.NaN] = loadavg();
  const tell = (line: string): void => void process.stderr.write(`  ${line}\n`);
  const cometBft = await buildCometBft({ log: tell });
  mkdirSync(BUILD, { recursive: true });
  const home = mkdtempSync(join(BUILD, 'bench-chain-'));
  const networks: Network[] = [];
  const cleanUp = async (): Promise<void> => {
    await Promise.all(networks.map((network) => network.stop()));
    rmSync(home, { recursive: true, force: true });
  };
  const letGo = letGoAtExit(networks, cleanUp);
  const start = async (kind: NetworkKind, senders: Senders): Promise<Network> => {
    tell(`starting ${kind === 'embedded' ? 'the embedded engine' : `${VALIDATORS} validators on ${kind}`}`);
    const accounts = fundedAccounts(senders);
    const network = await startNetwork({ kind, home: join(home, kind), cometBft, accounts });
    networks.push(network);
    if (kind === 'kvstore') return network;
    tell(`registering ${senders.nodes.length} nodes`);
    await registerNodes(network, senders);
    return network;
  };
  try {
    const senders = makeSenders(LANES);
    const kvstore = await start('kvstore', senders);
    kvstore.pause();
    const haca = await start('haca', senders);
    const rounds = await measureRounds({ kvstore, haca }, senders, tell);
    const memory = haca.validators.map(({ pids }) => memoryOf(pids.application as number));
    const few = makeSenders(FINALITY_TXS);
    tell('settle to final');
    const txBytes = settlementBytes(few);
    const finality = new Map<string, Finality>();
    finality.set('4 validators, settlement', await measureFinality(haca, settlements(senders, FINALITY_TXS)));
    finality.set('4 validators, transfer', await measureFinality(haca, transfers(senders, FINALITY_TXS)));
    haca.pause();
    kvstore.resume();
    await kvstore.connected();
    const pairs = keyValueLanes(FINALITY_TXS, 1, txBytes).flat();
    finality.set('4 validators, kvstore', await measureFinality(kvstore, pairs));
    kvstore.pause();
    const alone = makeSenders(FINALITY_TXS);
    const embedded = await start('embedded', alone);
    finality.set('embedded, settlement', await measureFinality(embedded, settlements(alone, FINALITY_TXS)));
    finality.set('embedded, transfer', await measureFinality(embedded, transfers(alone, FINALITY_TXS)));
    const [transfer = ''] = transfers(few, 1);
    const transferGas = transactionGas(decodeTransaction(fromBase64(transfer, 'transfer')));
    return reportOf({ loadBefore, rounds, finality, memory, txBytes, transferGas });
  } finally {
    await cleanUp();
    letGo();
  }
}

/** A smaller measurement while something is worked on; the figures that count are those of the defaults. */
function size(name: string, otherwise: number): number {
  const text = process.env[name];
  return text === undefined ? otherwise : Number(text);
}

/**
 * Processes stop when this one is gone, but not while they are paused: however it goes, they are let go first. Returns what
 * takes this precaution back.
 */
function letGoAtExit(networks: readonly Network[], cleanUp: () => Promise<void>): () => void {
  const resumeAll = (): void => {
    for (const network of networks) network.resume();
  };
  const leave = (): void => void cleanUp().finally(() => process.exit(130));
  process.once('exit', resumeAll).once('SIGINT', leave).once('SIGTERM', leave);
  return () => {
    process.off('exit', resumeAll).off('SIGINT', leave).off('SIGTERM', leave);
  };
}

function settlementBytes(senders: Senders): number {
  const [tx = ''] = settlements(senders, 1);
  return fromBase64(tx, 'settlement').length;
}

/** Both networks in turns, the other one paused: what else the machine does meets both. */
async function measureRounds(
  networks: Readonly<Record<Loaded, Network>>,
  senders: Senders,
  tell: (line: string) => void,
): Promise<Measured['rounds']> {
  const rounds: Record<Loaded, Round[]> = { kvstore: [], haca: [] };
  const txBytes = settlementBytes(makeSenders(1));
  for (let i = 0; i <= ROUNDS; i++) {
    for (const kind of ['kvstore', 'haca'] as const) {
      const lanes =
        kind === 'haca'
          ? settlementLanes(senders, TXS_PER_LANE)
          : keyValueLanes(LANES, TXS_PER_LANE, txBytes);
      networks[kind === 'haca' ? 'kvstore' : 'haca'].pause();
      networks[kind].resume();
      await networks[kind].connected();
      const measured = await measureRound(networks[kind], lanes);
      const name = i === 0 ? 'warm-up' : `round ${i}`;
      tell(`${name}, ${kind}: ${round(measured.perSecond)} tx/s, ${round(cpuUs(measured))} µs CPU a tx`);
      if (i > 0) rounds[kind].push(measured);
    }
  }
  return rounds;
}

async function measureRound(network: Network, lanes: readonly Lane[]): Promise<Round> {
  const signatureUs = bareSignatureUs();
  const before = await usageOf(network.validators);
  const result = await runLoad(network, lanes);
  const usage = usageBetween(before, await usageOf(network.validators));
  await requireBlocksApplied(network, result);
  const txs = lanes.reduce((sum, lane) => sum + lane.length, 0);
  return { ...steadyRate(result), txs, sentAgain: result.sentAgain, usage, signatureUs };
}

async function requireBlocksApplied({ validators }: Network, { blocks }: LoadResult): Promise<void> {
  const { rpc } = validators[0] as Validator;
  await requireApplied(rpc, blocks[0]?.height ?? 1, blocks.at(-1)?.height ?? 0);
}

/** CPU time of one Ed25519 verification, in the same minute as the round it is held against. */
function bareSignatureUs(): number {
  const signer = ed25519SignerFromSeed(new Uint8Array(32).fill(9));
  const message = new Uint8Array(300).fill(7);
  const signature = signer.sign(message);
  const samples: number[] = [];
  for (let i = 0; i < 20; i++) {
    const before = process.cpuUsage();
    for (let j = 0; j < 50; j++) {
      if (!nodeCrypto.verifyEd25519(signer.publicKey, message, signature))
        throw new Error('a good signature failed');
    }
    const { user, system } = process.cpuUsage(before);
    samples.push((user + system) / 50);
  }
  return percentile(samples, 0.5);
}

/** All processes of the network, per transaction. */
function cpuUs({ usage, txs }: Round): number {
  return ((usage.cometBftMs + usage.applicationMs) * 1000) / txs;
}

function median(rounds: readonly Round[], of: (round: Round) => number): number {
  return percentile(rounds.map(of), 0.5);
}

interface Summary {
  readonly ratio: number;
  readonly rate: Readonly<Record<Loaded, number>>;
  readonly cpu: Readonly<Record<Loaded, number>>;
  /** Of the CPU time a settlement takes, that of the application processes. */
  readonly applicationUs: number;
  readonly signatureUs: number;
  /** Share of the key-value store's rate that is left where every validator verifies a settlement's signatures and does nothing else. */
  readonly ceiling: number;
}

function summaryOf({ rounds: { kvstore, haca } }: Measured): Summary {
  const signatureUs = median([...kvstore, ...haca], (each) => each.signatureUs);
  const cpu = { kvstore: median(kvstore, cpuUs), haca: median(haca, cpuUs) };
  const ratios = haca.map(({ perSecond }, i) => perSecond / (kvstore[i]?.perSecond ?? Number.NaN));
  return {
    ratio: percentile(ratios, 0.5),
    rate: {
      kvstore: median(kvstore, ({ perSecond }) => perSecond),
      haca: median(haca, ({ perSecond }) => perSecond),
    },
    cpu,
    applicationUs: median(haca, ({ usage, txs }) => (usage.applicationMs * 1000) / txs),
    signatureUs,
    ceiling: cpu.kvstore / (cpu.kvstore + VALIDATORS * SIGNATURES_PER_SETTLEMENT * signatureUs),
  };
}

/** Mean time of a method at one validator, ms, and the calls behind it. */
function methodMs(rounds: readonly Round[], method: string): number {
  let seconds = 0;
  let calls = 0;
  for (const { usage } of rounds) {
    const timing = usage.methods.get(method);
    seconds += timing?.seconds ?? 0;
    calls += timing?.calls ?? 0;
  }
  return (seconds * 1000) / calls;
}

function finalizeShare(rounds: readonly Round[]): number {
  const blockMs = rounds.flatMap((each) => each.blockMs);
  const mean = blockMs.reduce((sum, ms) => sum + ms, 0) / blockMs.length;
  return (methodMs(rounds, 'finalize_block') + methodMs(rounds, 'commit')) / mean;
}

function reportOf(measured: Measured): Report {
  const summary = summaryOf(measured);
  const { haca } = measured.rounds;
  const p95 = (name: string): number => percentile(measured.finality.get(name)?.finalMs ?? [], 0.95);
  const onFour = p95('4 validators, settlement');
  const onOne = p95('embedded, settlement');
  const share = finalizeShare(haca);
  const percent = (value: number): string => `${round(100 * value)} %`;
  return {
    area: `chain: ${VALIDATORS} validators on one machine, CometBFT ${COMETBFT_VERSION}`,
    figures: [...rateFigures(summary), ...blockFigures(measured), ...finalityFigures(measured)],
    targets: [
      {
        what: 'settlements beside kvstore transactions',
        target: '≥ 90 %',
        got: `${percent(summary.ratio)}, where signatures alone leave ${percent(summary.ceiling)}`,
        met: summary.ratio >= 0.9,
      },
      {
        what: 'FinalizeBlock + Commit, share of the block',
        target: '< 25 %',
        got: percent(share),
        met: share < 0.25,
      },
      {
        what: 'settle → final, p95, 4 validators',
        target: '≤ 500 ms',
        got: `${round(onFour)} ms`,
        met: onFour <= 500,
      },
      {
        what: 'settle → final, p95, embedded',
        target: '≤ 150 ms',
        got: `${round(onOne)} ms`,
        met: onOne <= 150,
      },
    ],
    covers: coverage(measured),
  };
}

function rateFigures({ ratio, rate, cpu, applicationUs, signatureUs, ceiling }: Summary): readonly Figure[] {
  const signatures = VALIDATORS * SIGNATURES_PER_SETTLEMENT;
  return [
    { name: 'ours ÷ kvstore, transactions/s', value: ratio, unit: '×', note: `median of ${ROUNDS} rounds` },
    { name: 'kvstore', value: rate.kvstore, unit: 'tx/s', note: 'the anchor: verifies and hashes nothing' },
    { name: 'settlements', value: rate.haca, unit: 'tx/s', note: `${RECEIPTS_PER_BATCH} receipts each` },
    { name: 'receipts so settled', value: rate.haca * RECEIPTS_PER_BATCH, unit: '/s' },
    { name: 'kvstore ÷ ours, CPU a transaction', value: cpu.kvstore / cpu.haca, unit: '×' },
    { name: 'CPU of all validators, kvstore', value: cpu.kvstore, unit: 'µs/tx' },
    { name: 'CPU of all validators, settlements', value: cpu.haca, unit: 'µs/tx' },
    { name: 'of it, the application processes', value: applicationUs, unit: 'µs/tx' },
    {
      name: `of that, ${signatures} Ed25519 verifications`,
      value: signatures * signatureUs,
      unit: 'µs/tx',
      note: `bare, ${round(signatureUs)} µs each`,
    },
    {
      name: 'kvstore that verified them ÷ kvstore',
      value: ceiling,
      unit: '×',
      note: 'where all cores are busy: more is not to be had with these signatures',
    },
    { name: 'ours ÷ kvstore that verified them, CPU', value: cpu.kvstore / cpu.haca / ceiling, unit: '×' },
  ];
}

function blockFigures({ rounds, memory }: Measured): readonly Figure[] {
  const of = (kind: Loaded, name: string): readonly Figure[] => {
    const blockMs = rounds[kind].flatMap((each) => each.blockMs);
    return [
      { name: `block time, ${name}, p50`, value: percentile(blockMs, 0.5), unit: 'ms', note: 'under load' },
      { name: `block time, ${name}, p95`, value: percentile(blockMs, 0.95), unit: 'ms' },
      {
        name: `transactions a block, ${name}`,
        value: median(rounds[kind], (each) => each.txsPerBlock),
        unit: '',
      },
    ];
  };
  const methods = [
    ['PrepareProposal', 'prepare_proposal'],
    ['ProcessProposal', 'process_proposal'],
    ['FinalizeBlock', 'finalize_block'],
    ['Commit', 'commit'],
  ] as const;
  const most = (part: keyof Memory): number => Math.max(...memory.map((each) => each[part]));
  return [
    ...of('kvstore', 'kvstore'),
    ...of('haca', 'ours'),
    ...methods.map(([name, method]) => ({
      name: `${name}, mean`,
      value: methodMs(rounds.haca, method),
      unit: 'ms',
      note: `kvstore ${round(methodMs(rounds.kvstore, method))} ms`,
    })),
    {
      name: 'FinalizeBlock + Commit, share of the block',
      value: 100 * finalizeShare(rounds.haca),
      unit: '%',
      note: `kvstore ${round(100 * finalizeShare(rounds.kvstore))} %`,
    },
    {
      name: 'memory of an application process, own',
      value: most('anonMb'),
      unit: 'MB',
      note: `and ${round(most('fileMb'))} MB of mapped files; after the load, ${LANES} nodes`,
    },
  ];
}

function finalityFigures({ finality }: Measured): readonly Figure[] {
  return [...finality].flatMap(([name, { admittedMs, includedMs, finalMs }]) => [
    {
      name: `final, ${name}, p50`,
      value: percentile(finalMs, 0.5),
      unit: 'ms',
      note: `admitted ${round(percentile(admittedMs, 0.5))} ms, in a block ${round(percentile(includedMs, 0.5))} ms`,
    },
    { name: `final, ${name}, p95`, value: percentile(finalMs, 0.95), unit: 'ms' },
  ]);
}

function coverage({ loadBefore, rounds, txBytes, transferGas }: Measured): string {
  const { gasTarget } = DEFAULT_PARAMS;
  const transfersPerBlock = Math.floor((3 * gasTarget) / 8 / transferGas);
  const again = rounds.haca.reduce((sum, { sentAgain }) => sum + sentAgain, 0);
  return (
    `Load average before the start ${round(loadBefore)}. ${LANES} transactions of ${txBytes} bytes on their way at any time, from ` +
    'one process, straight to the RPC of each CometBFT; the next of a lane once all validators have the last. Same ' +
    'configuration, same genesis, in turns, the other network paused. Settlements because they are what the chain is for: class S ' +
    `may use the whole block, while the protocol itself bounds class G to 3/8 of the gas target, ${transfersPerBlock} transfers a ` +
    `block whatever the machine. ${again === 0 ? 'None' : again} had to be sent again; every one was applied. Final: from sending, ` +
    'through the gateway, to a verified commit of the header after the block, one transaction at a time. Not in it: validators ' +
    'apart from each other, charge lines, disks slower than this one, other load on a node; memory at 1M accounts is in area ' +
    '`state`.'
  );
}
