import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { connectRpc } from '@haca/platform';
import { type Check, check, failed, passed, skipped, verdictExitCode, verdictOf } from '@haca/protocol';
import { type Haca, headerTimeMs, networkFilePath, readWalletFile } from '@haca/sdk/node';
import type { Call, Command } from '../command.ts';
import { findNetwork, NETWORK_FLAGS, type Network, openClient, POLICY_FLAGS } from '../connection.ts';
import { checkLine } from '../report.ts';

export const doctorCommand: Command = {
  name: 'doctor',
  summary:
    'Looks at everything between this machine and a verified answer, and says what to do where something is wrong.',
  operands: '',
  flags: { ...NETWORK_FLAGS, ...POLICY_FLAGS, wallet: { value: 'FILE', help: 'wallet to look at' } },
  examples: ['haca doctor', 'haca doctor --json'],
  run: runDoctor,
};

const NODE_MAJOR = 24;
const HEAD_AGE_MAX_MS = 30_000;
const CLOCK_AHEAD_MAX_MS = 5_000;

/** What to do about a check that did not pass. */
const ADVICE: Readonly<Record<string, string>> = {
  'node.version': `run through npx haca or npm start, which bring Node ${NODE_MAJOR}`,
  'ports.free': 'another program listens there; the devnet takes a free port by itself',
  'network.found': 'start one with npm start, or name one: --rpc URL --genesis FILE',
  'chain.reachable': 'is the full node running? Look at its log, or start the devnet again',
  'chain.light-client':
    'the server shows another chain than the one you trust, or an altered one: check --genesis and --rpc',
  'chain.head-age': 'the chain stands still: look at the full node, its validator and the disk',
  'clock.skew': "set this machine's clock (e.g. timedatectl set-ntp true)",
  'nodes.registered': 'no inference node is on this chain; start one: haca node inference --config FILE',
  'nodes.reachable': 'the node does not answer or its records do not verify: see its log',
  'wallet.readable': 'make one: haca wallet new; or fix its permissions: chmod 600 FILE',
  'wallet.funded': 'on a devnet: haca wallet fund',
};

async function runDoctor(call: Call): Promise<number> {
  const checks: Check[] = [nodeVersion(), await portsFree([26657, 8080, 8081, 8082])];
  const network = await findNetwork(call).catch((error: unknown) => error as Error);
  if (network instanceof Error)
    checks.push(
      failed('network.found', 'network.none', networkFilePath(), network.message.split('\n')[0] as string),
    );
  else checks.push(...(await networkChecks(call, network)));
  const verdict = verdictOf(checks);
  if (call.json) {
    const listed = checks.map((each) => ({
      ...each,
      ...(needsAdvice(each) ? { advice: ADVICE[each.id] } : {}),
    }));
    call.out(JSON.stringify({ ok: verdict.ok, checks: listed }, null, 2));
  } else {
    for (const each of checks) {
      call.out(checkLine(each));
      if (needsAdvice(each)) call.out(`    → ${ADVICE[each.id] ?? 'see above'}`);
    }
  }
  return verdictExitCode(verdict);
}

function needsAdvice({ status, id }: Check): boolean {
  return (status === 'failed' || status === 'skipped') && ADVICE[id] !== undefined;
}

function nodeVersion(): Check {
  const major = Number(process.versions.node.split('.')[0]);
  return check('node.version', 'node.old', major >= NODE_MAJOR, `${NODE_MAJOR} or newer`, process.version);
}

/** Taken ports are no fault where a devnet of ours holds them. */
async function portsFree(ports: readonly number[]): Promise<Check> {
  const taken: number[] = [];
  for (const port of ports) if (!(await isFree(port))) taken.push(port);
  if (taken.length === 0) return passed('ports.free', ports.join(', '));
  const isOurs = existsSync(networkFilePath());
  return isOurs
    ? passed('ports.free', `${taken.join(', ')} taken while a devnet runs`)
    : failed('ports.free', 'ports.taken', `${ports.join(', ')} free`, `${taken.join(', ')} taken`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const server = createServer();
    server.once('error', () => settle(false));
    server.listen(port, '127.0.0.1', () => server.close(() => settle(true)));
  });
}

async function networkChecks(call: Call, network: Network): Promise<Check[]> {
  const rpc = connectRpc(network.rpcUrl);
  try {
    const status = await rpc.status();
    const reachable = passed('chain.reachable', `${network.rpcUrl}, height ${status.height}`);
    return [passed('network.found', status.chainId), reachable, ...(await verifiedChecks(call, network))];
  } catch (error) {
    return [failed('chain.reachable', 'rpc.unreachable', network.rpcUrl, messageOf(error))];
  } finally {
    rpc.close();
  }
}

async function verifiedChecks(call: Call, network: Network): Promise<Check[]> {
  let haca: Haca;
  try {
    haca = await openClient(call, network, null);
  } catch (error) {
    return [failed('chain.light-client', 'chain.unverified', 'headers from your trust on', messageOf(error))];
  }
  try {
    const head = haca.chain.head();
    const ageMs = Date.now() - headerTimeMs(head);
    return [
      passed('chain.light-client', `header ${head.height}, > 2/3 of the voting power`),
      check(
        'chain.head-age',
        'chain.stale',
        ageMs <= HEAD_AGE_MAX_MS,
        `at most ${HEAD_AGE_MAX_MS} ms`,
        `${ageMs} ms`,
      ),
      check(
        'clock.skew',
        'clock.behind',
        ageMs >= -CLOCK_AHEAD_MAX_MS,
        'no block from the future',
        `${ageMs} ms`,
      ),
      ...(await nodeChecks(haca)),
      ...(await walletChecks(call, network, haca)),
    ];
  } finally {
    haca.close();
  }
}

async function nodeChecks(haca: Haca): Promise<Check[]> {
  const nodes = await haca.nodes();
  const models = await haca.models();
  if (nodes.length === 0 || models.length === 0) {
    return [
      failed('nodes.registered', 'nodes.none', 'nodes and models', `${nodes.length} and ${models.length}`),
    ];
  }
  const checks: Check[] = [passed('nodes.registered', `${nodes.length} nodes, ${models.length} models`)];
  const seen = new Set<string>();
  for (const { manifest } of models) {
    try {
      for await (const route of haca.directory.routes(manifest.name, new Set())) {
        const verdict = verdictOf(route.checks);
        const problem = route.checks.find(({ status }) => status === 'failed' || status === 'skipped');
        const kind =
          route.key.method === 'tee' && route.evidenceSimulated ? 'tee-simulated' : route.key.method;
        seen.add(route.node.name);
        checks.push(
          problem === undefined || verdict.ok
            ? passed('nodes.reachable', `${route.node.name} at ${route.api.url}: ${manifest.name}, ${kind}`)
            : failed(
                'nodes.reachable',
                problem.code ?? 'unverified',
                'evidence that passes',
                `${route.node.name}: ${problem.id}`,
              ),
        );
      }
    } catch (error) {
      checks.push(
        failed('nodes.reachable', 'node.unreachable', `a node for ${manifest.name}`, messageOf(error)),
      );
    }
  }
  const missing = nodes.filter(({ record }) => record.keys.length > 0 && !seen.has(record.name));
  for (const { record } of missing) {
    checks.push(
      failed(
        'nodes.reachable',
        'node.unreachable',
        `${record.name} at ${record.endpoint}`,
        'no usable answer',
      ),
    );
  }
  return checks;
}

async function walletChecks(call: Call, network: Network, haca: Haca): Promise<Check[]> {
  const path = call.text('wallet') ?? network.file?.walletFile ?? null;
  if (path === null) return [skipped('wallet.readable', 'wallet.none', 'no wallet was named')];
  try {
    JSON.parse(readFileSync(path, 'utf8'));
    const wallet = readWalletFile(path);
    const { rpcUrl, trust } = network;
    const { openHaca } = await import('@haca/sdk/node');
    const payer = await openHaca({ rpcUrl, trust, wallet });
    const balance = await payer.wallet?.balance();
    payer.close();
    const credits = balance?.credits.get(network.file?.asset ?? 1) ?? 0n;
    return [
      passed('wallet.readable', path),
      check(
        'wallet.funded',
        'wallet.empty',
        (balance?.nopg ?? 0n) > 0n,
        'some OPG for fees',
        `${balance?.nopg ?? 0n} nopg and ${credits} units of the fee asset on ${haca.chain.chainId}`,
      ),
    ];
  } catch (error) {
    return [failed('wallet.readable', 'wallet.unreadable', path, messageOf(error))];
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] as string) : String(error);
}
