import { readFileSync } from 'node:fs';
import { fromBase64url, nodeCrypto } from '@haca/platform';
import { fromHex, MalformedError, toHex } from '@haca/primitives';
import {
  check,
  RECEIPT,
  type Receipt,
  type SignedObject,
  skipped,
  toJsonView,
  type Verdict,
  verdictExitCode,
  verdictOf,
} from '@haca/protocol';
import { parseTrustedHeader, readNetworkFile, type Trust, verifyBundle } from '@haca/sdk/node';
import { type Call, type Command, CommandLineError } from '../command.ts';
import { POLICY_FLAGS, policyOf, readGenesis } from '../connection.ts';
import { assuranceText, checkLine, checkLines } from '../report.ts';

export const verifyCommand: Command = {
  name: 'verify',
  summary: `Verifies a bundle, or a bare receipt, offline: nothing is asked of anybody.
Exit code 0: all checks passed. 1: a check failed. 2: unreadable. 3: nothing failed, but something was not checked.`,
  operands: 'FILE|-',
  flags: {
    genesis: {
      value: 'FILE',
      help: 'the genesis document you trust (default: that of the devnet running here)',
    },
    trust: { value: 'HEIGHT:HASH', help: 'a block you trust, instead; needs --chain-id' },
    'chain-id': { value: 'ID', help: 'chain id that goes with --trust' },
    at: { value: 'UNIX_MS', help: 'time to judge at (default: now)' },
    key: { value: 'HEX', help: 'for a bare receipt: the public key it must be signed by' },
    checks: { help: 'list every check' },
    ...POLICY_FLAGS,
  },
  examples: [
    'haca chat "Hello" --bundle hello.haca && haca verify hello.haca',
    'haca verify hello.haca --genesis genesis.json --json',
    'haca verify hello.haca --trust 120:5f…(64 hex digits) --chain-id haca-1',
    'cat receipt.cose | haca verify - --key 9a…(64 hex digits)',
  ],
  run: async (call) => {
    const [path] = call.operands;
    if (path === undefined)
      throw new CommandLineError('what to verify? haca verify FILE, or - for standard input');
    const bytes = readInput(path);
    const receipt = bareReceipt(bytes);
    return receipt === null ? verifyBundleFile(call, bytes) : verifyBareReceipt(call, receipt);
  },
};

const INPUT_MAX_BYTES = 128 * 1024 * 1024;

function readInput(path: string): Uint8Array {
  const bytes = new Uint8Array(readFileSync(path === '-' ? 0 : path));
  if (bytes.length > INPUT_MAX_BYTES) {
    throw new MalformedError('input.size', path, `at most ${INPUT_MAX_BYTES} bytes`, `${bytes.length}`);
  }
  return bytes;
}

/** A receipt as bytes or as base64url text (as in the header `x-haca-receipt`); null where it is something else. */
function bareReceipt(bytes: Uint8Array): SignedObject<Receipt> | null {
  const COSE_ARRAY_OF_4 = 0x84;
  if (bytes[0] === COSE_ARRAY_OF_4) return RECEIPT.decode(bytes);
  if (bytes.length > 8192) return null;
  const text = new TextDecoder().decode(bytes).trim();
  return /^[A-Za-z0-9_-]+$/.test(text) ? RECEIPT.decode(fromBase64url(text)) : null;
}

function verifyBundleFile(call: Call, bytes: Uint8Array): number {
  const { trust, simulated } = findTrust(call);
  const at = call.text('at');
  if (at !== undefined && !/^[0-9]{1,15}$/.test(at))
    throw new CommandLineError('--at takes milliseconds since 1970');
  const judged = verifyBundle(bytes, {
    crypto: nodeCrypto,
    trust,
    nowMs: at === undefined ? Date.now() : Number(at),
    policy: policyOf(call, simulated),
  });
  const { verdict, assurance, tier, tcbStatus, standing, receipt, modelName, header } = judged;
  const exitCode = verdictExitCode(verdict);
  if (call.json) {
    call.out(
      JSON.stringify(
        {
          kind: 'bundle',
          ...verdict,
          assurance,
          tier,
          tcbStatus,
          standing,
          model: modelName,
          receiptHash: toHex(receipt.hash),
          header:
            header === null
              ? null
              : { height: header.height, hash: toHex(header.hash), timeMs: header.timeMs },
          receipt: toJsonView(receipt.value),
        },
        null,
        2,
      ),
    );
    return exitCode;
  }
  call.out(`bundle     receipt ${toHex(receipt.hash)}`);
  call.out(
    `model      ${modelName}, ${receipt.value.usage.outputTokens} tokens, assurance ${assuranceText(judged)}`,
  );
  if (standing !== null) call.out(`evidence   ${standing}, as of the day the bundle was made`);
  if (header !== null)
    call.out(`chain      ${receipt.value.chainId}, verified up to header ${header.height}`);
  printVerdict(call, verdict);
  return exitCode;
}

function findTrust(call: Call): { readonly trust: Trust; readonly simulated: boolean } {
  const header = call.text('trust');
  if (header !== undefined) {
    const chainId = call.text('chain-id');
    if (chainId === undefined) throw new CommandLineError('--trust needs --chain-id');
    return { trust: { ...parseTrustedHeader(header), chainId }, simulated: false };
  }
  const given = call.text('genesis');
  const network = given === undefined ? readNetworkFile() : null;
  const path = given ?? network?.genesisFile;
  if (path === undefined) {
    throw new CommandLineError('what do you trust? --genesis FILE, or --trust HEIGHT:HASH --chain-id ID');
  }
  const genesis = readGenesis(path);
  return { trust: { genesis }, simulated: network?.simulated === true && genesis.app.simulated };
}

function verifyBareReceipt(call: Call, receipt: SignedObject<Receipt>): number {
  const key = call.text('key');
  const signature =
    key === undefined
      ? skipped('receipt.signature', 'key.not-given', 'give --key, or verify a bundle, which proves the key')
      : check(
          'receipt.signature',
          'E_SIG',
          RECEIPT.verify(nodeCrypto, receipt, fromHex(key.toLowerCase(), '--key')),
          `a signature by ${key}`,
          'see status',
        );
  const rest = [
    skipped('key.proof', 'bundle.needed', 'whether the chain knows this key is not in a bare receipt'),
    skipped('receipt.response-hash', 'response.unavailable', 'the response is not in a bare receipt'),
  ];
  const verdict = verdictOf([signature, ...rest]);
  if (call.json) {
    const view = {
      kind: 'receipt',
      ...verdict,
      receiptHash: toHex(receipt.hash),
      receipt: toJsonView(receipt.value),
    };
    call.out(JSON.stringify(view, null, 2));
  } else {
    call.out(`receipt    ${toHex(receipt.hash)}`);
    printVerdict(call, verdict);
  }
  return verdictExitCode(verdict);
}

const OUTCOME = {
  0: 'verified',
  1: 'NOT verified',
  3: 'incomplete: nothing failed, but not everything was checked',
};

function printVerdict(call: Call, verdict: Verdict): void {
  const lines = call.has('checks') ? verdict.checks.map(checkLine) : checkLines(verdict, false);
  for (const line of lines) call.out(`  ${line}`);
  call.out(OUTCOME[verdictExitCode(verdict)]);
}
