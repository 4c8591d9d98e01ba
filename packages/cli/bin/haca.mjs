#!/usr/bin/env node
// Plain JavaScript for whatever Node is there: the bootstrap installs what is missing and hands over to the pinned Node.
process.env.HACA_CWD = process.cwd();
process.argv.splice(2, 0, 'packages/cli/src/main.ts');
await import('../../../tools/bootstrap.mjs');
