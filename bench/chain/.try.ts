import { mkdtempSync, rmSync } from 'node:fs';
import { buildCometBft } from '@haca/chain';
import { runLoad, steadyRate } from '/work/main/bench/chain/load.ts';
import { startNetwork } from '/work/main/bench/chain/network.ts';
import { memoryOf, usageBetween, usageOf } from '/work/main/bench/chain/usage.ts';
import * as w from '/work/main/bench/chain/workload.ts';
import { percentile } from '/work/main/bench/measure.ts';

const [kind, L, R] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const home = mkdtempSync('/tmp/f/net-');
const cometBft = process.env.CB ?? (await buildCometBft());
const nodes = w.makeSettlingNodes(L);
const t0 = performance.now();
const net = await startNetwork({ kind, home, cometBft, accounts: w.fundedAccounts(nodes) });
try {
  console.log('up', performance.now() - t0);
  if (kind === 'haca') {
    await w.registerNodes(net, nodes);
    console.log('registered', performance.now() - t0);
  }
  for (let i = 0; i < 3; i++) {
    const lanes = kind === 'haca' ? w.settlementLanes(nodes, R) : w.keyValueLanes(L, R, 410);
    const before = await usageOf(net.validators);
    const t = performance.now();
    const result = await runLoad(net, lanes);
    const ms = performance.now() - t;
    const u = usageBetween(before, await usageOf(net.validators));
    const s = steadyRate(result);
    const n = L * R;
    console.log({
      tps: s.perSecond,
      overall: (n * 1000) / ms,
      p50: percentile(s.blockMs, 0.5),
      p95: percentile(s.blockMs, 0.95),
      txs: s.txsPerBlock,
      blocks: result.blocks.length,
      again: result.sentAgain,
      spread: percentile(
        result.blocks.map((b) => b.lastAtMs - b.firstAtMs),
        0.5,
      ),
      cometUs: (u.cometBftMs * 1000) / n,
      appUs: (u.applicationMs * 1000) / n,
      supUs: (u.supervisorMs * 1000) / n,
      methods: Object.fromEntries(
        [...u.methods].map(([k, v]) => [k, `${(v.seconds * 1000).toFixed(0)}ms/${v.calls}`]),
      ),
    });
  }
  for (const v of net.validators) if (v.pids.application) console.log(memoryOf(v.pids.application));
} finally {
  await net.stop();
  rmSync(home, { recursive: true, force: true });
}
