import { readFileSync } from 'node:fs';
import { MalformedError, UsageError } from '@haca/primitives';
import { NodeError, PaymentError, TimeoutError, TransactionError, VerificationError } from '@haca/sdk/node';
import { type Command, CommandLineError, commandHelp, type Io, parseCall, suggestion } from './command.ts';
import { chatCommand } from './commands/chat.ts';
import { collateralListCommand, collateralPostCommand } from './commands/collateral.ts';
import { decreeMakeCommand, decreeSignCommand, decreeSubmitCommand } from './commands/decree.ts';
import { doctorCommand } from './commands/doctor.ts';
import { evidenceVerifyCommand } from './commands/evidence.ts';
import { inferCommand } from './commands/infer.ts';
import { measurementListCommand, measurementShowCommand } from './commands/measurement.ts';
import {
  devnetCommand,
  evidencePageCommand,
  nodeFullCommand,
  nodeInferenceCommand,
} from './commands/processes.ts';
import { queryCommand, txCommand } from './commands/query.ts';
import {
  bondValidatorCommand,
  claimRewardsCommand,
  registerValidatorCommand,
  unbondValidatorCommand,
} from './commands/staking.ts';
import { verifyCommand } from './commands/verify.ts';
import { walletFundCommand, walletNewCommand, walletShowCommand } from './commands/wallet.ts';
import { zkInspectCommand, zkVerifyCommand } from './commands/zk-check.ts';
import { zkImportCommand, zkProveCommand } from './commands/zk-make.ts';
import { checkLines } from './report.ts';

export const COMMANDS: readonly Command[] = [
  devnetCommand,
  chatCommand,
  inferCommand,
  verifyCommand,
  queryCommand,
  registerValidatorCommand,
  bondValidatorCommand,
  unbondValidatorCommand,
  claimRewardsCommand,
  txCommand,
  walletNewCommand,
  walletShowCommand,
  walletFundCommand,
  evidenceVerifyCommand,
  evidencePageCommand,
  collateralPostCommand,
  collateralListCommand,
  measurementListCommand,
  measurementShowCommand,
  decreeMakeCommand,
  decreeSignCommand,
  decreeSubmitCommand,
  zkImportCommand,
  zkProveCommand,
  zkVerifyCommand,
  zkInspectCommand,
  nodeFullCommand,
  nodeInferenceCommand,
  doctorCommand,
];

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** Runs a command line without the program's name; returns the exit code. */
export async function runCli(args: readonly string[], io: Io): Promise<number> {
  const isJson = args.includes('--json');
  try {
    return await dispatch(args, io);
  } catch (error) {
    return reportError(error, isJson, io);
  }
}

async function dispatch(args: readonly string[], io: Io): Promise<number> {
  const [first, second] = args;
  if (first === undefined || first === 'help' || first === '--help' || first === '-h') {
    io.out(overview());
    return first === undefined ? EXIT_USAGE : 0;
  }
  if (first === 'version' || first === '--version' || first === '-v') {
    const version = ownVersion();
    io.out(args.includes('--json') ? JSON.stringify({ version }) : `haca ${version}`);
    return 0;
  }
  const command = COMMANDS.find(({ name }) => name === `${first} ${second}` || name === first);
  if (command === undefined || isMistypedGroup(command, second)) throw unknownCommand(first, second);
  const rest = args.slice(command.name.split(' ').length);
  if (command.passThrough !== true && (rest.includes('--help') || rest.includes('-h'))) {
    io.out(commandHelp(command));
    return 0;
  }
  return command.run(parseCall(command, rest, io));
}

function ownVersion(): string {
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version;
}

/** `haca tx something` where `tx` takes a hash as well: what can't be one was meant as a command. */
function isMistypedGroup({ name }: Command, second: string | undefined): boolean {
  const isWord = second !== undefined && /^[a-z][a-z-]*[g-z-][a-z-]*$/.test(second);
  return isWord && COMMANDS.some((command) => command.name.startsWith(`${name} `));
}

function unknownCommand(first: string, second: string | undefined): CommandLineError {
  const group = COMMANDS.filter(({ name }) => name.startsWith(`${first} `)).map(({ name }) => name);
  if (group.length > 0) {
    const near = second === undefined ? '' : suggestion(`${first} ${second}`, group);
    return new CommandLineError(`haca ${first} what?${near} There is: ${group.join(', ')}`);
  }
  const names = [...new Set(COMMANDS.map(({ name }) => name.split(' ')[0] as string))];
  return new CommandLineError(`haca: unknown command ${first}${suggestion(first, names)}\nTry: haca --help`);
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length)) + 2;
  const rows = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}${summary.split('\n')[0]}`);
  return [
    'haca: verifiable AI inference',
    '',
    'Usage: haca COMMAND [flags]        haca COMMAND --help        haca --version',
    '',
    ...rows,
    '',
    'Every command takes --json. Exit codes: 0 all checks passed, 1 failed, 2 usage or unreadable input,',
    '3 nothing failed but a check was skipped.',
    '',
  ].join('\n');
}

function reportError(error: unknown, isJson: boolean, io: Io): number {
  if (!(error instanceof Error)) throw error;
  const exitCode = isInputError(error) ? EXIT_USAGE : EXIT_FAILED;
  if (isJson) {
    const { code, verdict } = error as { code?: unknown; verdict?: unknown };
    const checks = verdict === undefined ? {} : (verdict as object);
    io.out(
      JSON.stringify(
        { ok: false, ...checks, error: { name: error.name, code, message: error.message } },
        null,
        2,
      ),
    );
    return exitCode;
  }
  io.err(error instanceof CommandLineError ? error.message : `haca: ${error.message}`);
  const hint = HINTS[(error as { code?: string }).code ?? ''];
  if (hint !== undefined) io.err(hint);
  if (error instanceof VerificationError)
    for (const line of checkLines(error.verdict, false)) io.err(`  ${line}`);
  else if (!isExpected(error)) io.err(error.stack ?? '');
  return exitCode;
}

/** What to do next, by error code. */
const HINTS: Readonly<Record<string, string>> = {
  E_BALANCE: 'the wallet has not enough; on a devnet: haca wallet fund',
  E_UNKNOWN_ACCOUNT: 'the wallet was never funded; on a devnet: haca wallet fund',
  E_EXISTENTIAL: 'the wallet has not enough; on a devnet: haca wallet fund',
  E_MODEL_UNKNOWN: 'haca query models lists what there is',
  unreachable: 'haca doctor looks for the reason',
  E_UNAVAILABLE: 'haca doctor looks for the reason',
  E_BUSY: 'try again in a moment',
  E_UNREACHABLE: 'haca doctor looks for the reason',
};

const FILE_ERRORS: readonly unknown[] = ['ENOENT', 'EACCES', 'EISDIR', 'ENOTDIR'];

function isInputError(error: Error): boolean {
  const { code } = error as { code?: unknown };
  return (
    error instanceof CommandLineError ||
    error instanceof UsageError ||
    error instanceof MalformedError ||
    FILE_ERRORS.includes(code)
  );
}

/** Errors whose message says everything; others are our own mistakes and show where. */
function isExpected(error: Error): boolean {
  const known = [NodeError, PaymentError, TimeoutError, TransactionError].some(
    (kind) => error instanceof kind,
  );
  return known || isInputError(error) || error.name === 'RpcError';
}
