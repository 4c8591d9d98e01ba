export { COMMANDS, runCli } from './cli.ts';
export { type Call, type Command, CommandLineError, type Flag, type Io } from './command.ts';
