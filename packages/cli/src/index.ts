export { COMMANDS, type Io, runCli } from './cli.ts';
export { type Call, type Command, CommandLineError, type Flag } from './command.ts';
