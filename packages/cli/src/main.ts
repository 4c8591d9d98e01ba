import { runCli } from './cli.ts';

// The bootstrap starts programs in the root of the repository; paths on the command line are the caller's own.
const callersFolder = process.env['HACA_CWD'];
if (callersFolder !== undefined) process.chdir(callersFolder);
// A reader that closed the pipe (`haca … | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), {
  out: (line) => void process.stdout.write(`${line}\n`),
  err: (line) => void process.stderr.write(`${line}\n`),
  isTerminal:
    process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb',
});
