/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/** The page: the verifier of `haca evidence verify` in a browser, with files that never leave it. */
import { portableCrypto } from '@haca/platform/portable';
import { type Check, EVIDENCE_KINDS, type EvidenceKind } from '@haca/protocol';
import {
  appraiseEvidenceFile,
  type CollateralFile,
  checkForPeople,
  type EvidenceFileReport,
  evidenceFileView,
  likelyKind,
  summaryRows,
} from '@haca/verifier';

const byId = (id: string): HTMLElement => document.getElementById(id) as HTMLElement;
const fileInput = (id: string): HTMLInputElement => byId(id) as HTMLInputElement;
const textInput = (id: string): HTMLInputElement | HTMLTextAreaElement => byId(id) as HTMLInputElement;

const MARKS: Readonly<Record<Check['status'], string>> = {
  passed: '✓',
  failed: '✗',
  skipped: '?',
  'not-applicable': '·',
};

function element(tag: string, className: string, text: string): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

async function bytesOf(file: File): Promise<Uint8Array> {
  return new Uint8Array(await file.arrayBuffer());
}

async function collateralOf(): Promise<readonly CollateralFile[]> {
  const files = [...(fileInput('collateral').files ?? []), ...(fileInput('folder').files ?? [])];
  return Promise.all(files.map(async (file) => ({ name: nameOf(file), bytes: await bytesOf(file) })));
}

/** Below the folder that was chosen, as the command line names it. */
function nameOf(file: File): string {
  const path = file.webkitRelativePath;
  return path === '' ? file.name : path.slice(path.indexOf('/') + 1);
}

/** Null, with the reason shown, where something is missing. */
async function judge(): Promise<EvidenceFileReport | null> {
  const [file] = fileInput('evidence').files ?? [];
  const at = textInput('at').value.trim();
  if (file === undefined) return refuse('choose a file of evidence');
  if (!/^[0-9]{1,15}$/.test(at)) return refuse('give the time to judge at, in milliseconds since 1970');
  const evidence = await bytesOf(file);
  const chosen = textInput('kind').value;
  const kind = chosen === '' ? likelyKind(evidence) : (chosen as EvidenceKind);
  if (kind === null) return refuse('what kind of evidence is it? It does not show');
  const [roots] = fileInput('roots').files ?? [];
  const policy = textInput('policy').value.trim();
  try {
    return appraiseEvidenceFile({
      crypto: portableCrypto,
      kind,
      evidence,
      atMs: Number(at),
      collateral: await collateralOf(),
      ...(roots === undefined ? {} : { roots: await bytesOf(roots) }),
      ...(policy === '' ? {} : { policy: JSON.parse(policy) as unknown }),
    });
  } catch (error) {
    return refuse((error as Error).message);
  }
}

function refuse(reason: string): null {
  byId('result').replaceChildren(element('p', 'bad', reason));
  byId('json').textContent = '';
  return null;
}

function show(report: EvidenceFileReport): void {
  const rows = summaryRows(report, timeText).flatMap(({ label, text, tone }) => [
    element('dt', '', label),
    element('dd', tone, text),
  ]);
  const summary = document.createElement('dl');
  summary.append(...rows);
  const list = document.createElement('ol');
  list.append(...report.verdict.checks.map((check) => checkItem(checkForPeople(check, timeText))));
  byId('result').replaceChildren(summary, list);
  byId('json').textContent = JSON.stringify(evidenceFileView(report), null, 2);
}

function checkItem({ id, status, code, expected, got, reason }: Check): HTMLElement {
  const item = element('li', status, '');
  const detail =
    status === 'failed'
      ? `${code}: expected ${expected}, got ${got}`
      : (reason ?? (got === undefined ? '' : got));
  item.append(element('b', '', MARKS[status]), element('code', '', id), element('span', '', detail));
  return item;
}

function timeText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString();
}

/** One at a time, and the last one asked for is the one shown. */
let asked = 0;

async function update(): Promise<void> {
  const own = ++asked;
  document.body.dataset['state'] = 'working';
  const report = await judge();
  if (own !== asked) return;
  if (report !== null) show(report);
  document.body.dataset['state'] = 'done';
}

for (const kind of EVIDENCE_KINDS) byId('kind').append(new Option(kind, kind));
byId('now').addEventListener('click', () => {
  textInput('at').value = `${Date.now()}`;
  void update();
});
byId('verify').addEventListener('click', () => void update());
for (const id of ['evidence', 'collateral', 'folder', 'roots', 'kind'])
  byId(id).addEventListener('change', () => {
    if (fileInput('evidence').files?.length !== 0 && textInput('at').value !== '') void update();
  });
document.body.dataset['state'] = 'ready';
