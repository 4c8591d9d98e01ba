/** What the local network shows a person: plain lines in a pipe, colour and a live line in a terminal. */

export interface Terminal {
  readonly heading: (text: string) => void;
  /** Shows a step as running until the returned function says how it ended. */
  readonly step: (title: string) => (outcome: string) => void;
  readonly line: (text?: string) => void;
  /** A piece of running text, as it arrives. */
  readonly text: (piece: string) => void;
  readonly dim: (text: string) => string;
  readonly bold: (text: string) => string;
  readonly good: (text: string) => string;
  readonly warn: (text: string) => string;
}

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 80;
const TITLE_WIDTH = 22;

export function openTerminal(output: NodeJS.WriteStream): Terminal {
  const live = output.isTTY === true && process.env['TERM'] !== 'dumb';
  const colour = live && process.env['NO_COLOR'] === undefined;
  const paint = (code: number) => (text: string) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
  const write = (text: string): void => {
    output.write(text);
  };
  const good = paint(32);
  const dim = paint(2);
  return {
    heading: (text) => write(`\n${paint(1)(text)}\n`),
    step: (title) => {
      const startedAt = performance.now();
      let frame = 0;
      const draw = (): void =>
        write(`\r  ${SPINNER[frame++ % SPINNER.length]} ${title.padEnd(TITLE_WIDTH)}\x1b[K`);
      const timer = live ? setInterval(draw, FRAME_MS) : undefined;
      if (live) draw();
      return (outcome) => {
        clearInterval(timer);
        const took = dim(`${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
        write(
          `${live ? '\r' : ''}  ${good('✓')} ${title.padEnd(TITLE_WIDTH)} ${outcome}  ${took}${live ? '\x1b[K' : ''}\n`,
        );
      };
    },
    line: (text = '') => write(`${text}\n`),
    text: write,
    dim,
    bold: paint(1),
    good,
    warn: paint(33),
  };
}
