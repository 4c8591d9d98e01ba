import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connectRpc } from '@haca/platform';
import { fromHex, toHex } from '@haca/primitives';
import { credit, formatFixed, formatOpg, nopg, type Op } from '@haca/protocol';
import {
  createWalletFile,
  hacaHome,
  openHaca,
  readWalletFile,
  submitOps,
  type WalletFile,
} from '@haca/sdk/node';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { findNetwork, NETWORK_FLAGS } from '../connection.ts';

const WALLET_FLAG = {
  wallet: { value: 'FILE', help: 'the wallet file (default: $HACA_HOME/wallet.json)' },
} as const;

function walletPath(call: Call, fallback?: string | null): string {
  return call.text('wallet') ?? fallback ?? join(hacaHome(), 'wallet.json');
}

export const walletNewCommand: Command = {
  name: 'wallet new',
  summary: 'Makes a wallet: an Ed25519 seed in a file that only you can read. Never overwrites one.',
  operands: '',
  flags: { ...WALLET_FLAG },
  examples: ['haca wallet new', 'haca wallet new --wallet ./alice.json'],
  run: async (call) => {
    const wallet = createWalletFile(walletPath(call));
    print(call, wallet, {});
    return 0;
  },
};

export const walletShowCommand: Command = {
  name: 'wallet show',
  summary: 'Shows a wallet: its account, and its balances with proof where a network can be reached.',
  operands: '',
  flags: { ...WALLET_FLAG, ...NETWORK_FLAGS },
  examples: ['haca wallet show', 'haca wallet show --wallet ./alice.json --json'],
  run: async (call) => {
    const network = await findNetwork(call);
    const wallet = openExisting(walletPath(call, network.file?.walletFile));
    const haca = await openHaca({ rpcUrl: network.rpcUrl, trust: network.trust, wallet });
    try {
      const { nopg: amount, credits } = await (haca.wallet as NonNullable<typeof haca.wallet>).balance();
      print(call, wallet, {
        chainId: haca.chain.chainId,
        opg: formatOpg(amount),
        nopg: `${amount}`,
        credits: Object.fromEntries([...credits].map(([asset, units]) => [asset, `${units}`])),
        verified: `header ${haca.chain.head().height}, state proof`,
      });
      return 0;
    } finally {
      haca.close();
    }
  },
};

export const walletFundCommand: Command = {
  name: 'wallet fund',
  summary: "Gives a wallet money on a devnet, from the devnet's own faucet wallet.",
  operands: '',
  flags: {
    ...WALLET_FLAG,
    to: { value: 'ACCOUNT', help: 'account id to fund instead of a wallet file' },
    credits: { value: 'AMOUNT', help: 'whole credits (default 10)' },
    opg: { value: 'AMOUNT', help: 'whole OPG for fees (default 10)' },
  },
  examples: ['haca wallet fund --wallet ./alice.json', 'haca wallet fund --credits 100 --opg 0'],
  run: async (call) => {
    const { file } = await findNetwork(call);
    if (file === null || file.faucet === null) {
      throw new CommandLineError('this network has no faucet; ask somebody who has money');
    }
    const to = call.text('to');
    const accountId =
      to === undefined ? openExisting(walletPath(call, file.walletFile)).accountId : fromHex(to, '--to');
    if (accountId.length !== 32) throw new CommandLineError('--to takes an account id: 64 hex digits');
    const creditUnits = wholeUnits(call, 'credits', 10n);
    const opgUnits = wholeUnits(call, 'opg', 10n);
    const ops: Op[] = [
      ...(opgUnits === 0n ? [] : [{ kind: 'transfer-opg', to: accountId, amount: nopg(opgUnits) } as const]),
      ...(creditUnits === 0n
        ? []
        : [{ kind: 'issue', to: accountId, asset: file.asset, amount: credit(creditUnits) } as const]),
    ];
    if (ops.length === 0) throw new CommandLineError('nothing to give: --credits and --opg are both 0');
    const { signer } = readWalletFile(file.faucet.walletFile);
    const rpc = connectRpc(file.rpcUrl);
    const { height, hash } = await submitOps({ rpc, chainId: file.chainId, signer, ops });
    rpc.close();
    const given = {
      accountId: toHex(accountId),
      credits: `${creditUnits}`,
      nopg: `${opgUnits}`,
      height,
      txHash: toHex(hash),
    };
    if (call.json) call.out(JSON.stringify(given, null, 2));
    else {
      call.out(
        `gave ${formatFixed(creditUnits, 9)} credits and ${formatOpg(opgUnits)} to ${given.accountId} at height ${height}`,
      );
    }
    return 0;
  },
};

function wholeUnits(call: Call, flag: string, fallback: bigint): bigint {
  const text = call.text(flag);
  if (text !== undefined && !/^[0-9]{1,9}$/.test(text)) {
    throw new CommandLineError(`--${flag} takes a whole amount, not ${text}`);
  }
  return (text === undefined ? fallback : BigInt(text)) * 1_000_000_000n;
}

function openExisting(path: string): WalletFile {
  if (!existsSync(path)) {
    throw new CommandLineError(`there is no wallet at ${path}\nMake one: haca wallet new --wallet ${path}`);
  }
  return readWalletFile(path);
}

function print(call: Call, wallet: WalletFile, more: Readonly<Record<string, unknown>>): void {
  const shown = {
    file: wallet.path,
    accountId: toHex(wallet.accountId),
    publicKey: toHex(wallet.signer.publicKey),
    ...more,
  };
  if (call.json) {
    call.out(JSON.stringify(shown, null, 2));
    return;
  }
  for (const [name, value] of Object.entries(shown)) {
    call.out(`${name.padEnd(10)} ${typeof value === 'object' ? JSON.stringify(value) : value}`);
  }
}
