/** Runs scenarios one after the other against one network of real processes, and checks the whole network after each. */
import { buildCometBft, COMETBFT_VERSION, type CometBftVersion } from '@haca/chain';
import { randomStream } from '../random.ts';
import type { CheckReport } from './checks.ts';
import { openChecks } from './checks.ts';
import { failAllNodes, failInReplay, failOneNode } from './fail-points.ts';
import { killAll, killEach, killProcesses, pauseEach, quorumLost } from './faults.ts';
import { joinByReplay, joinByStateSync } from './joins.ts';
import { type LoadReport, openLoad } from './load.ts';
import { type CometNetwork, startCometNetwork } from './network.ts';
import { observeChain } from './observer.ts';
import { partition } from './partitions.ts';
import { readers } from './readers.ts';
import { type Scenario, type ScenarioContext, type ScenarioReport, untilBlocks } from './scenario.ts';
import { changeValidators, doubleSign } from './staking.ts';

/** In this order on one network: the last ones change who the validators are. */
export const SCENARIOS: readonly Scenario[] = [
  killEach,
  killAll,
  pauseEach,
  killProcesses,
  failOneNode,
  failAllNodes,
  failInReplay,
  quorumLost,
  partition,
  joinByReplay,
  joinByStateSync,
  changeValidators,
  doubleSign,
  readers,
];

export interface CometRunOptions {
  readonly seed: number;
  /** Of CometBFT; by default the one that nodes run. */
  readonly version?: CometBftVersion;
  readonly scenarios: readonly Scenario[];
  readonly log: (line: string) => void;
}

export interface CometReport {
  readonly seed: number;
  /** Version. */
  readonly cometBft: CometBftVersion;
  readonly validators: number;
  readonly scenarios: readonly ScenarioReport[];
  readonly load: readonly LoadReport[];
  readonly seconds: number;
  readonly violations: readonly string[];
}

const VALIDATORS = 4;
const SIZES = { validators: VALIDATORS, candidates: 3, operators: 4, senders: 4 };
/** Checked after every scenario. */
export const ALWAYS_CHECKED: readonly string[] = [
  'all running nodes come to one height, and every header of every node is the same: one block and one app hash per height',
  'the applications give one app hash, all invariants hold on every node, and the whole supply is accounted for',
  'every transaction that a node accepted is in exactly one block and succeeded',
  'every settlement is applied once and in order, and every charge paid once, on every node',
  'the ABCI calls of all application processes are in the order that the grammar of the specification allows',
];

interface Session {
  readonly context: Omit<ScenarioContext, 'violation' | 'log'>;
  readonly check: (since: number) => Promise<CheckReport>;
  readonly close: (keepFiles: boolean) => Promise<void>;
}

export async function runCometBft(options: CometRunOptions): Promise<CometReport> {
  const startedAt = performance.now();
  const { seed, scenarios, log, version = COMETBFT_VERSION } = options;
  const cometBft = await buildCometBft({ version, log });
  const reports: ScenarioReport[] = [];
  const load: LoadReport[] = [];
  let session: Session | undefined;
  try {
    for (const [index, scenario] of scenarios.entries()) {
      log(`${scenario.name}: ${scenario.does}`);
      session ??= await openSession(cometBft, seed + index, log);
      const report = await runScenario(session, scenario, log);
      reports.push(report);
      log(`${scenario.name}: ${report.ok ? 'ok' : 'FAILED'} in ${report.seconds} s`);
      for (const violation of report.violations) log(`  ${violation}`);
      if (report.ok) continue;
      // What went wrong here must not speak for the next ones.
      load.push(session.context.load.report());
      log(`  files and logs of the network: ${session.context.network.home}`);
      await session.close(true);
      session = undefined;
    }
    if (session !== undefined) load.push(session.context.load.report());
  } finally {
    await session?.close(false);
  }
  return {
    seed,
    cometBft: version,
    validators: VALIDATORS,
    scenarios: reports,
    load,
    seconds: Math.round((performance.now() - startedAt) / 1000),
    violations: reports.flatMap(({ name, violations }) => violations.map((text) => `${name}: ${text}`)),
  };
}

async function openSession(cometBft: string, seed: number, log: (line: string) => void): Promise<Session> {
  const network: CometNetwork = await startCometNetwork({ cometBft, seed, sizes: SIZES });
  const observer = observeChain(() => network.running().map(({ rpc }) => rpc));
  const close = async (keepFiles: boolean): Promise<void> => {
    await observer.stop();
    await network.close({ keepFiles });
  };
  try {
    const load = await openLoad(network, observer, seed);
    log(`${VALIDATORS} validators, ${load.keys.length} settling keys, height ${observer.height()}`);
    const context = { network, observer, load, random: randomStream(seed) };
    return { context, check: openChecks(network, observer, load), close };
  } catch (error) {
    await close(true);
    throw error;
  }
}

async function runScenario(
  session: Session,
  scenario: Scenario,
  log: (line: string) => void,
): Promise<ScenarioReport> {
  const startedAt = performance.now();
  const violations: string[] = [];
  const context: ScenarioContext = {
    ...session.context,
    log: (line) => log(`  ${line}`),
    violation: (text) => violations.push(text),
  };
  const { load, observer } = context;
  const knownViolations = load.violations.length;
  let facts: ScenarioReport['facts'] = {};
  let after: CheckReport | null = null;
  try {
    load.start();
    facts = await scenario.run(context);
    // Every node executes blocks after the last fault, so that what it is asked about is about now.
    const since = observer.height();
    await untilBlocks(context, 2);
    await load.pause();
    after = await session.check(since);
    violations.push(...after.violations);
  } catch (error) {
    violations.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  violations.push(...load.violations.slice(knownViolations));
  return {
    name: scenario.name,
    does: scenario.does,
    checked: [...scenario.checks, ...ALWAYS_CHECKED],
    ok: violations.length === 0,
    seconds: Math.round((performance.now() - startedAt) / 1000),
    facts,
    after: after === null ? null : withoutViolations(after),
    violations,
  };
}

function withoutViolations({ violations: _, ...rest }: CheckReport): Omit<CheckReport, 'violations'> {
  return rest;
}
