/** A validator's life from the command line, against a full node: joining, bonding, leaving, and what is refused. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createValidatorKeyFile, type FullNode, makeGenesisDocument, startFullNode } from '@haca/chain';
import { runCli } from '@haca/cli';
import { DEFAULT_PARAMS, OPG_SUPPLY_NOPG } from '@haca/protocol';
import { createWalletFile, parseGenesisDocument } from '@haca/sdk/node';

const OPG = 1_000_000_000n;
const folder = mkdtempSync(join(tmpdir(), 'haca-staking-'));
const walletFile = join(folder, 'operator.json');
const keyFile = join(folder, 'consensus.json');
const genesisFile = join(folder, 'genesis.json');
const failures: string[] = [];
let node: FullNode;

before(async () => {
  const { accountId } = createWalletFile(walletFile);
  const seed = new Uint8Array(32).fill(9);
  const { publicKey } = createValidatorKeyFile(join(folder, 'first.json'), seed);
  createValidatorKeyFile(keyFile);
  const reserveNopg = 100_000_000n * OPG;
  const selfBond = 1_000_000n * OPG;
  const app = {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg,
    accounts: [{ accountId, nopg: OPG_SUPPLY_NOPG - reserveNopg - selfBond }],
    validators: [{ consensusKey: publicKey, operator: accountId, selfBond }],
    assets: [],
    measurements: [],
    testRoots: [],
  };
  const document = makeGenesisDocument({ chainId: 'haca-staking-1', genesisTimeMs: Date.now(), app });
  writeFileSync(genesisFile, JSON.stringify(document));
  node = await startFullNode({
    home: join(folder, 'home'),
    genesis: parseGenesisDocument(JSON.parse(JSON.stringify(document))),
    validatorSeed: seed,
    blockIntervalMs: 5,
    onFailure: ({ message }) => void failures.push(message),
  });
});

after(async () => {
  await node.close();
  rmSync(folder, { recursive: true, force: true });
});

async function haca(...args: string[]): Promise<{ readonly code: number; readonly out: string }> {
  const lines: string[] = [];
  const print = (line: string): void => void lines.push(line);
  const network = ['--rpc', node.rpcUrl, '--genesis', genesisFile];
  const wallet = args[0] === 'tx' ? ['--wallet', walletFile] : [];
  const code = await runCli([...args, ...wallet, ...network], { out: print, err: print });
  return { code, out: lines.join('\n') };
}

interface Listed {
  readonly address: string;
  readonly power: number;
  readonly status: string;
  readonly bond: string;
  readonly unbonding: readonly { readonly amount: string; readonly due: number }[];
}

async function listed(address: string): Promise<Listed | undefined> {
  const { code, out } = await haca('query', 'validators', '--json');
  assert.equal(code, 0, out);
  const { validators } = JSON.parse(out) as { readonly validators: readonly Listed[] };
  return validators.find((validator) => validator.address === address);
}

test('haca tx register-validator, bond-validator, unbond-validator; haca query validators', async () => {
  const made = await haca(
    'tx',
    'register-validator',
    '--consensus-key',
    keyFile,
    '--bond',
    '100000.5',
    '--json',
  );
  assert.equal(made.code, 0, made.out);
  const { validator, amountNopg } = JSON.parse(made.out) as { validator: string; amountNopg: string };
  assert.equal(amountNopg, '100000500000000');
  assert.deepEqual(await listed(validator), {
    ...(await listed(validator)),
    power: 100,
    status: 'active',
    bond: '100000.5 OPG',
    unbonding: [],
  });
  const bonded = await haca('tx', 'bond-validator', validator.toUpperCase(), '--amount', '5000');
  assert.equal(bonded.code, 0);
  assert.match(bonded.out, /bonded 5000 OPG at height \d+/);

  const part = await haca('tx', 'unbond-validator', validator, '--amount', '1000.25', '--json');
  const { due, height } = JSON.parse(part.out) as { due: number; height: number };
  assert.equal(due, height + DEFAULT_PARAMS.unbondingTime);
  const people = await haca('query', 'validators');
  assert.match(people.out, new RegExp(`${validator}  active, power 104 `));
  assert.match(people.out, new RegExp(`unbonding 1000.25 OPG, due at height ${due}`));

  assert.equal((await haca('tx', 'unbond-validator', validator, '--all')).code, 0);
  const left = await listed(validator);
  assert.deepEqual([left?.power, left?.status, left?.unbonding.length], [0, 'left', 2]);
  const refused = [
    [['claim-rewards', validator], /E_AMOUNT/],
    [['register-validator', '--consensus-key', keyFile, '--bond', '100000'], /E_VALIDATOR/],
    [['bond-validator', validator, '--amount', '99999'], /E_BOND/],
    [['bond-validator', '00'.repeat(20), '--amount', '1'], /E_VALIDATOR/],
  ] as const;
  for (const [args, expected] of refused) {
    const { code, out } = await haca('tx', ...args);
    assert.equal(code, 1, out);
    assert.match(out, expected);
  }
  assert.equal((await haca('tx', 'bond-validator', validator, '--amount', '100000')).code, 0);
  assert.equal((await listed(validator))?.status, 'active');
  const record = await haca('query', 'validator', validator);
  assert.match(record.out, /state proof against header/);
  assert.deepEqual(failures, []);
});
