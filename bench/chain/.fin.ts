import { mkdtempSync, rmSync } from 'node:fs';
import { buildCometBft } from '@haca/chain';
import { percentile } from '../measure.ts';
import { measureFinality } from './finality.ts';
import { startNetwork } from './network.ts';
import * as w from './workload.ts';

for (const kind of process.argv.slice(2) as any[]) {
  const home = mkdtempSync('/tmp/f/net-');
  const nodes = w.makeSettlingNodes(4);
  const net = await startNetwork({
    kind,
    home,
    cometBft: await buildCometBft(),
    accounts: w.fundedAccounts(nodes),
  });
  try {
    if (kind !== 'kvstore') await w.registerNodes(net, nodes);
    const txs = kind === 'kvstore' ? w.keyValueLanes(4, 10, 410) : w.settlementLanes(nodes, 10);
    const order = Array.from({ length: 40 }, (_, i) => txs[i % 4]![Math.floor(i / 4)]!);
    const f = await measureFinality(net, order);
    for (const [k, v] of Object.entries(f))
      console.log(kind, k, percentile(v, 0.5).toFixed(1), percentile(v, 0.95).toFixed(1));
  } finally {
    await net.stop();
    rmSync(home, { recursive: true, force: true });
  }
}
