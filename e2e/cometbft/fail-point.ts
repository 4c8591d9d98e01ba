/**
 * CometBFT exits by itself at its n-th fail point where FAIL_TEST_INDEX says n. A script in front of the program sets that
 * for one start, so that nothing in the product knows of it.
 */
import { chmodSync, existsSync, writeFileSync } from 'node:fs';

export interface FailPoint {
  /** Put in the place of CometBFT's program. */
  readonly binary: string;
  /** The next start of CometBFT fails at this fail point, counted from 0. */
  readonly arm: (index: number) => void;
  /** Whether that start has not happened yet. */
  readonly isArmed: () => boolean;
}

export function writeFailPointScript(script: string, cometBft: string): FailPoint {
  const indexFile = `${script}.index`;
  const lines = [
    '#!/bin/sh',
    `if [ -f '${indexFile}' ]; then`,
    `  FAIL_TEST_INDEX=$(cat '${indexFile}')`,
    '  export FAIL_TEST_INDEX',
    `  rm -f '${indexFile}'`,
    'fi',
    `exec '${cometBft}' "$@"`,
  ];
  writeFileSync(script, `${lines.join('\n')}\n`);
  chmodSync(script, 0o700);
  return {
    binary: script,
    arm: (index) => writeFileSync(indexFile, `${index}`),
    isArmed: () => existsSync(indexFile),
  };
}
