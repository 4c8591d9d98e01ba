import { mkdtempSync, rmSync } from 'node:fs';
import { makeGenesisDocument, openApplication, openStore, refuseAllEvidence, serveAbci } from '@haca/chain';
import { timestampFromMs } from '@haca/light-client';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { utf8Encode } from '@haca/primitives';
import { DEFAULT_PARAMS } from '@haca/protocol';
import * as s from '../settling-nodes.ts';
import { genesisOf } from './network.ts';
import { fundedAccounts } from './workload.ts';

const N = Number(process.argv[2] ?? 400),
  R = Number(process.argv[3] ?? 8);
const nodes = Array.from({ length: N }, (_, i) => s.settlingNode(i));
const home = mkdtempSync('/tmp/f/app-');
const store = openStore(home);
const app = openApplication({
  store,
  crypto: nodeCrypto,
  appraise: ((await import('@haca/chain')) as any).appraiseKeyEvidence,
  checkInvariants: false,
});
const val = ed25519SignerFromSeed(s.digest('v'));
const genesis = makeGenesisDocument({
  chainId: s.CHAIN_ID,
  genesisTimeMs: 1_800_000_000_000,
  app: genesisOf([val.publicKey], fundedAccounts(nodes)),
}) as any;
app.initChain({
  time: timestampFromMs(1_800_000_000_000),
  chainId: s.CHAIN_ID,
  initialHeight: 1,
  appState: utf8Encode(JSON.stringify(genesis.app_state)),
  validators: [],
} as any);
let height = 0;
const cpu: Record<string, number> = {};
const rec: Record<string, number[]> = {};
const timed = async <T>(name: string, f: () => T | Promise<T>): Promise<T> => {
  const a = process.cpuUsage(),
    ma = (process as any).threadCpuUsage();
  const r = await f();
  const b = process.cpuUsage(a),
    mb = (process as any).threadCpuUsage(ma);
  cpu[name + ' main'] = (cpu[name + ' main'] ?? 0) + mb.user + mb.system;
  cpu[name] = (cpu[name] ?? 0) + b.user + b.system;
  return r;
};
const last = new Uint8Array(32);
async function block(txs: Uint8Array[]) {
  await timed('check', () => {
    for (const tx of txs) {
      const r = app.checkTx(tx, 'new');
      if (r.code) throw new Error(r.log);
    }
  });

  height++;
  const time = timestampFromMs(1_800_000_000_000 + height * 1000);
  const chosen = await timed('prepare', () =>
    app.prepareProposal({
      height,
      time,
      txs,
      maxTxBytes: 4e6,
      proposerAddress: new Uint8Array(20),
      lastCommit: [],
      misbehavior: [],
      nextValidatorsHash: last,
    } as any),
  );
  const request: any = {
    height,
    time,
    hash: s.digest(`block ${height}`),
    txs: chosen,
    proposerAddress: new Uint8Array(20),
    lastCommit: [],
    misbehavior: [],
  };
  if ((await timed('process', () => app.processProposal(request))) !== 'accept') throw new Error('rejected');
  const res = await timed('finalize', () => app.finalizeBlock(request));
  for (const r of res.txResults) if (r.code) throw new Error(r.log);
  await timed('commit', () => app.commit());
  const rest = txs.filter((tx) => !chosen.includes(tx));
  for (const tx of rest) app.checkTx(tx, 'recheck');
  return rest;
}
async function all(txs: Uint8Array[]) {
  let rest = txs;
  while (rest.length) {
    rest = await blockOf(rest);
  }
}
async function blockOf(txs: Uint8Array[]) {
  // already-checked leftovers are known
  return block(txs);
}
const reg = { operator: ed25519SignerFromSeed(s.digest('registrar')), nonce: 0 };
await all([s.transaction(reg, [s.registerModel()])]);
await all(nodes.map((n) => s.transaction(n, [s.registerNode()])));
const ref = height;
const refHash = s.digest(`block ${ref}`);
await all(nodes.map((n) => s.transaction(n, [s.openKey(n, ref, refHash)])));
const rounds = Array.from({ length: R + 3 }, () => nodes.map((n) => s.settlement(n)));
for (const txs of rounds.splice(0, 3)) await all(txs);
for (const k of Object.keys(cpu)) cpu[k] = 0;
const snap = () => {
  for (const [k, v] of Object.entries(cpu)) {
    (rec[k] ??= []).push(v / N);
    cpu[k] = 0;
  }
};
const t0 = performance.now();
for (const txs of rounds) {
  await all(txs);
  snap();
}
const n = N * R;
// recheck cost: check N, then pool reset through an empty block, recheck
const extra = nodes.map((x) => s.settlement(x));
for (const tx of extra) app.checkTx(tx, 'new');
height++;
const request: any = {
  height,
  time: timestampFromMs(1_800_000_000_000 + height * 1000),
  hash: s.digest(`block ${height}`),
  txs: [],
  proposerAddress: new Uint8Array(20),
  lastCommit: [],
  misbehavior: [],
};
await app.processProposal(request);
await app.finalizeBlock(request);
await app.commit();
const a = process.cpuUsage();
for (const tx of extra) if (app.checkTx(tx, 'recheck').code) throw new Error('re');
const b = process.cpuUsage(a);
const ed = () => {
  const signer = reg.operator;
  const m = new Uint8Array(300);
  const sig = signer.sign(m);
  const a = process.cpuUsage();
  const v: number[] = [];
  for (let r = 0; r < 20; r++) {
    const a = process.cpuUsage();
    for (let i = 0; i < 200; i++) nodeCrypto.verifyEd25519(signer.publicKey, m, sig);
    const b = process.cpuUsage(a);
    v.push((b.user + b.system) / 200);
  }
  return q(v, 0.1);
};
const q = (v: number[], f: number) => v.sort((a, b) => a - b)[Math.floor(v.length * f)]!;
console.log(
  Object.entries(rec)
    .map(([k, v]) => `${k} ${q(v, 0.1).toFixed(0)}/${q(v, 0.5).toFixed(0)}`)
    .join(', '),
  'sum p10',
  Object.entries(rec)
    .filter(([k]) => !k.includes('main'))
    .reduce((x, [, v]) => x + q(v, 0.1), 0)
    .toFixed(0),
  'recheck',
  ((b.user + b.system) / N).toFixed(1),
  'ed25519',
  ed().toFixed(1),
);
await store.close();
rmSync(home, { recursive: true });
