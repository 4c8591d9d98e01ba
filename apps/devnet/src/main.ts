/** `npm start`: the local network in one process tree, with a demonstration that touches every part of it. */
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { untilAskedToStop } from '@haca/platform';
import { startLocalProxy } from '@haca/sdk/local-proxy';
import { type Haca, hacaHome, networkFilePath, writeNetworkFile } from '@haca/sdk/node';
import { type DemoSummary, openDemoClient, runDemo } from './demo.ts';
import { layOutNetwork } from './network-layout.ts';
import { type Consensus, type DevnetOptions, parseOptions } from './options.ts';
import { drawDemo, drawInvitation } from './picture.ts';
import { type RunningNetwork, startNetwork } from './start-network.ts';
import { openTerminal, type Terminal } from './terminal.ts';

const PROXY_PORT = 8080;

const options = parseOptions(process.argv.slice(2));
if ('exitCode' in options) {
  process.stderr.write(options.text);
  process.exit(options.exitCode);
}
process.exitCode = await run(options);

async function run({ once, json, prompt, home, consensus }: DevnetOptions): Promise<number> {
  const terminal = openTerminal(json ? process.stderr : process.stdout);
  const folder = home === null ? join(hacaHome(), 'devnet') : resolve(home);
  mkdirSync(folder, { recursive: true });
  const askedToStop = untilAskedToStop();
  terminal.heading('HACA local network');
  terminal.line(
    terminal.warn('  simulated trust root: real code, real proofs, no real hardware behind them'),
  );
  let network: RunningNetwork | undefined;
  try {
    const layout = await layOutNetwork(folder, home !== null, consensus, Date.now());
    network = await startNetwork(layout, terminal);
    writeNetworkFile(network.file);
    const haca = await openDemoClient(layout, network.file.rpcUrl);
    const exitCode = await demonstrate(haca, network, prompt, terminal, json ? consensus : null);
    if (!once) await stayUp(haca, network, join(folder, 'logs'), askedToStop, terminal);
    haca.close();
    return exitCode;
  } catch (error) {
    terminal.line(`\n  ${error instanceof Error ? error.message : String(error)}`);
    terminal.line(`  logs: ${join(folder, 'logs')}`);
    return 1;
  } finally {
    rmSync(networkFilePath(), { force: true });
    await network?.stop();
  }
}

/** Runs the demonstration and shows it; 0 if everything it must show is true. */
async function demonstrate(
  haca: Haca,
  network: RunningNetwork,
  prompt: string,
  terminal: Terminal,
  reported: Consensus | null,
): Promise<number> {
  terminal.heading(`Asking: ${prompt}`);
  terminal.text('    ');
  const summary: DemoSummary = await runDemo(haca, prompt, terminal.text);
  const invariants = await network.invariants();
  drawDemo(terminal, summary, invariants);
  if (reported !== null) {
    const report = { ...reported, ...summary, invariants, rssMb: network.rssMb() };
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  }
  const { money, lightClient, classification } = summary;
  const adds = BigInt(money.supplyAfter) === BigInt(money.supplyBefore) - BigInt(money.burnedNopg);
  const isPaid =
    money.paidByUser === money.receivedByNode && classification.paidByUser === classification.receivedByNode;
  const isProved = classification.assurance === 'zk';
  const isTrue = lightClient.verified && invariants === 'ok' && isPaid && isProved && adds;
  return isTrue ? 0 : 1;
}

/** Until somebody stops it, or a process of the network dies, which is an error. */
async function stayUp(
  haca: Haca,
  network: RunningNetwork,
  logs: string,
  askedToStop: Promise<string>,
  terminal: Terminal,
): Promise<void> {
  const proxy = await startLocalProxy(haca, { port: PROXY_PORT, anyPortIfTaken: true });
  const chat = (await haca.models()).find(({ manifest }) => manifest.task === 'chat');
  const model = chat?.manifest.name ?? '';
  drawInvitation(terminal, network.file, proxy.url, model, logs);
  const died = network.failed.then((reason) => {
    throw new Error(reason);
  });
  try {
    const reason = await Promise.race([askedToStop, died]);
    terminal.line(`\n  ${reason}: stopping ...`);
  } finally {
    await proxy.close();
  }
}
