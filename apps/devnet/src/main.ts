/** `npm start`: the local network in one process tree, with a demonstration that touches every part of it. */
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startLocalProxy } from '@haca/sdk/local-proxy';
import { hacaHome, networkFilePath, writeNetworkFile } from '@haca/sdk/node';
import { openDemoClient, runDemo } from './demo.ts';
import { layOutNetwork } from './network-layout.ts';
import { type DevnetOptions, parseOptions } from './options.ts';
import { drawLifecycle, drawMoney } from './picture.ts';
import { type RunningNetwork, startNetwork } from './start-network.ts';
import { openTerminal } from './terminal.ts';

const PROXY_PORT = 8080;

const options = parseOptions(process.argv.slice(2));
if ('exitCode' in options) {
  process.stderr.write(options.text);
  process.exit(options.exitCode);
}
process.exitCode = await run(options);

async function run({ once, json, prompt, home }: DevnetOptions): Promise<number> {
  const terminal = openTerminal(json ? process.stderr : process.stdout);
  const folder = home === null ? join(hacaHome(), 'devnet') : resolve(home);
  mkdirSync(folder, { recursive: true });
  const interrupted = untilInterrupted();

  terminal.heading('HACA local network');
  terminal.line(
    terminal.warn('  simulated trust root: real code, real proofs, no real hardware behind them'),
  );
  const layout = layOutNetwork(folder, home !== null, Date.now());
  let network: RunningNetwork | undefined;
  try {
    network = await startNetwork(layout, terminal);
    const networkFile = networkFilePath();
    writeNetworkFile(network.file, networkFile);
    const haca = await openDemoClient(layout, network.file.rpcUrl);

    terminal.heading(`Asking: ${prompt}`);
    terminal.text('    ');
    const summary = await runDemo(haca, prompt, terminal.text);
    const { chat, lightClient } = summary;
    terminal.line(
      `\n\n    ${chat.model}, ${chat.tokens} tokens in ${chat.answerMs} ms, assurance ${terminal.bold(chat.assurance)}, ${chat.receiptId}`,
    );
    terminal.line();
    drawLifecycle(terminal, chat);
    terminal.line();
    drawMoney(terminal, summary);
    const invariants = await network.invariants();
    terminal.line(
      `    light client  ${lightClient.verified ? terminal.good('verified') : terminal.warn('NOT verified')} up to header ${lightClient.height}; invariants ${invariants}`,
    );
    const passed =
      lightClient.verified &&
      invariants === 'ok' &&
      summary.money.paidByUser === summary.money.receivedByNode;

    if (json) {
      const { engine, rssMb } = { engine: 'embedded', rssMb: network.rssMb() };
      process.stdout.write(`${JSON.stringify({ engine, ...summary, invariants, rssMb }, null, 2)}\n`);
    }
    if (once) {
      haca.close();
      rmSync(networkFile, { force: true });
      return passed ? 0 : 1;
    }
    const proxy = await startLocalProxy(haca, PROXY_PORT).catch(() => startLocalProxy(haca, 0));
    terminal.heading('Try it');
    terminal.line(`  curl ${proxy.url}/chat/completions -H 'content-type: application/json' \\`);
    terminal.line(
      `    -d '{"model":"${chat.model}","messages":[{"role":"user","content":"Why is the sky blue?"}]}'`,
    );
    terminal.line(`  npx haca chat "Hello!"        pays, verifies, follows to final`);
    terminal.line(`  npx haca query supply        proven by the light client`);
    if (network.file.explorerUrl !== null) terminal.line(`  ${network.file.explorerUrl}   the explorer`);
    terminal.line(
      `\n  RPC ${network.file.rpcUrl}   logs in ${join(folder, 'logs')}   Ctrl-C stops everything`,
    );

    const reason = await Promise.race([interrupted, network.failed]);
    terminal.line(`\n  ${reason}; stopping ...`);
    await proxy.close();
    haca.close();
    rmSync(networkFile, { force: true });
    return reason === 'interrupted' ? 0 : 1;
  } catch (error) {
    terminal.line(`\n  ${error instanceof Error ? error.message : String(error)}`);
    terminal.line(`  logs: ${join(folder, 'logs')}`);
    return 1;
  } finally {
    await network?.stop();
  }
}

function untilInterrupted(): Promise<'interrupted'> {
  return new Promise((settle) => {
    let seen = 0;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (++seen > 1) process.exit(130);
        settle('interrupted');
      });
    }
  });
}
