/** Set in the environment of a child process that shall stop when its standard input ends, that is when its parent is gone. */
export const STOP_WITH_PARENT = 'HACA_STOP_WITH_PARENT';

/**
 * Fulfilled with the reason when this process is asked to stop: SIGINT, SIGTERM, or the end of its parent. A second signal
 * ends the process at once.
 */
export function untilAskedToStop(): Promise<string> {
  return new Promise((settle) => {
    let isAsked = false;
    const ask = (reason: string) => () => {
      if (isAsked && reason !== 'parent gone') process.exit(1);
      isAsked = true;
      settle(reason);
    };
    process.on('SIGINT', ask('SIGINT'));
    process.on('SIGTERM', ask('SIGTERM'));
    if (process.env[STOP_WITH_PARENT] === '1') process.stdin.once('end', ask('parent gone')).resume();
  });
}
