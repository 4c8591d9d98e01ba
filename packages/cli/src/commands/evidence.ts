import { nodeCrypto } from '@haca/platform';
import { MalformedError } from '@haca/primitives';
import { type EvidenceKind, verdictExitCode } from '@haca/protocol';
import {
  APPRAISED_KINDS,
  appraiseEvidenceFile,
  checkForPeople,
  EVIDENCE_FILE_MAX_BYTES,
  type EvidenceFileReport,
  evidenceFileView,
  likelyKind,
  policyMembers,
  type SummaryTone,
  summaryRows,
} from '@haca/verifier';
import { type Call, type Command, CommandLineError, suggestion } from '../command.ts';
import { readCollateralFiles, readInput, textOfFile } from '../evidence-inputs.ts';
import { checkLine, printable } from '../report.ts';

const KINDS = APPRAISED_KINDS.join(' | ');

export const evidenceVerifyCommand: Command = {
  name: 'evidence verify',
  summary: `Appraises TEE attestation evidence offline, at a given time. Kinds: ${APPRAISED_KINDS.join(', ')}.
The evidence may be raw, hex, base64, or JSON with it; --collateral takes a bundle as DCAP tools write it, or files and folders of
TCB info, identities, revocation lists and certificates (JSON, DER, PEM), NVIDIA's reference manifests (.swidtag, XML, JSON of its
service) and service keys (JWK set), and takes from them what fits evidence and time.
Nothing is fetched; what is missing is skipped and said.
--policy says what is expected: measurements [{"name", "registers": {...}}] and, by kind:
${APPRAISED_KINDS.map((kind) => `  ${kind}: ${membersText(kind)}`).join('\n')}
"any" waives a member, "others": "any" all that are left out; one that is left out is not checked, and exit code is 3.
Exit code 0: all checks passed. 1: a check failed. 2: usage or unreadable input. 3: nothing failed, but a check was skipped.`,
  operands: '[FILE]',
  flags: {
    kind: { value: 'KIND', help: KINDS },
    file: { value: 'FILE', help: 'the evidence, or - for standard input' },
    at: { value: 'UNIX_MS', help: 'time to judge at, milliseconds since 1970; never read from a clock' },
    collateral: { value: 'PATH', help: 'file or folder; may be given several times', multiple: true },
    roots: {
      value: 'PEM',
      help: "trust these root certificates instead of the vendor's: SIMULATED unless they are its",
    },
    policy: { value: 'JSON', help: 'expected values: a JSON object, or the name of a file with one' },
  },
  examples: [
    'haca evidence verify --kind nitro --file doc.bin --at 1665651482136 --json',
    'haca evidence verify --kind tdx --file quote.bin --at 1750332747000 --collateral collateral.json',
    'haca evidence verify --kind snp --file report.bin --at 1700000000000 --collateral certs/ --policy policy.json',
    'haca evidence verify --kind nvidia --file gpus.json --at 1760000000000 --collateral manifests/ --policy policy.json',
    `haca evidence verify --kind nitro --file doc.bin --at 1665651482136 --policy '{"maxAgeMs":300000,"others":"any"}'`,
  ],
  run: async (call) => runEvidence(call),
};

/** Members beside measurements, in lines that fit. */
function membersText(kind: EvidenceKind): string {
  return policyMembers(kind)
    .filter((member) => member !== 'measurements')
    .join(', ');
}

async function runEvidence(call: Call): Promise<number> {
  const file = evidencePath(call);
  const evidence = await readInput(file, 'the evidence', EVIDENCE_FILE_MAX_BYTES);
  const kind = kindOf(call, evidence);
  const atMs = timeOf(call);
  const roots = call.text('roots');
  const policy = call.text('policy');
  const report = appraiseEvidenceFile({
    crypto: nodeCrypto,
    kind,
    evidence,
    atMs,
    collateral: readCollateralFiles(call.list('collateral')),
    ...(roots === undefined ? {} : { roots: await readInput(roots, '--roots', ROOTS_MAX_BYTES) }),
    ...(policy === undefined ? {} : { policy: await readPolicy(policy) }),
  });
  if (call.json) call.out(JSON.stringify(evidenceFileView(report), null, 2));
  else for (const line of reportLines(report, call.isTerminal)) call.out(line);
  return verdictExitCode(report.verdict);
}

const ROOTS_MAX_BYTES = 1024 * 1024;
const POLICY_MAX_BYTES = 4 * 1024 * 1024;

function evidencePath(call: Call): string {
  const [operand, ...others] = call.operands;
  const flag = call.text('file');
  if (others.length > 0 || (operand !== undefined && flag !== undefined))
    throw new CommandLineError(
      `one file of evidence at a time, not also ${JSON.stringify(others[0] ?? operand)}`,
    );
  const path = flag ?? operand;
  if (path === undefined || path === '') throw missing(call, 'file');
  return path;
}

function missing(call: Call, flag: string, hint = ''): CommandLineError {
  return new CommandLineError(`--${flag} is needed${hint}\nTry: haca ${call.command.name} --help`);
}

/** What kinds are called elsewhere. */
const OTHER_NAMES: Readonly<Record<string, EvidenceKind>> = {
  sev: 'snp',
  'sev-snp': 'snp',
  'amd-sev-snp': 'snp',
  'intel-tdx': 'tdx',
  'intel-sgx': 'sgx',
  'aws-nitro': 'nitro',
  aws: 'nitro',
  gpu: 'nvidia',
  'nvidia-gpu': 'nvidia',
  'az-snp': 'azure',
  'az-tdx': 'azure',
  'az-snp-vtpm': 'azure',
  'az-tdx-vtpm': 'azure',
};

function kindOf(call: Call, evidence: Uint8Array): EvidenceKind {
  const given = call.text('kind');
  const likely = likelyKind(evidence);
  if (given === undefined)
    throw missing(call, 'kind', likely === null ? `: ${KINDS}` : `; the file looks like ${likely}`);
  const kind = APPRAISED_KINDS.find((known) => known === given.toLowerCase());
  if (kind !== undefined) return kind;
  const meant = OTHER_NAMES[given.toLowerCase()];
  const hint = meant === undefined ? suggestion(given, APPRAISED_KINDS) : ` (did you mean ${meant}?)`;
  throw new CommandLineError(`--kind is one of ${KINDS}, not ${given}${hint}`);
}

function timeOf(call: Call): number {
  const at = call.text('at');
  if (at === undefined) throw missing(call, 'at', ': the time to judge at, milliseconds since 1970');
  if (!/^[0-9]{1,15}$/.test(at)) {
    const parsed = Date.parse(at);
    const hint = Number.isNaN(parsed) || parsed < 0 ? '' : `; ${at} is ${parsed}`;
    throw new CommandLineError(`--at takes milliseconds since 1970, digits only${hint}`);
  }
  return Number(at);
}

async function readPolicy(given: string): Promise<unknown> {
  const isInline = /^\s*[{[]/.test(given);
  const text = isInline ? given : textOfFile(await readInput(given, '--policy', POLICY_MAX_BYTES));
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new MalformedError('policy.malformed', 'policy', 'a JSON object', (error as Error).message);
  }
}

function reportLines(report: EvidenceFileReport, isTerminal: boolean): readonly string[] {
  const rows = summaryRows(report, dateText);
  const width = Math.max(...rows.map(({ label }) => label.length)) + 2;
  const lines = rows.map(({ label, text, tone }) =>
    paint(`${label.padEnd(width)}${printable(text)}`, tone, isTerminal),
  );
  const { checks } = report.verdict;
  const reached = checks.filter(({ code }) => code !== 'not-reached');
  const shown = reached.map((check) =>
    paint(printable(checkLine(checkForPeople(check, dateText))), TONES[check.status], isTerminal),
  );
  const left = checks.length - reached.length;
  const rest =
    left === 0
      ? []
      : [paint(`? ${left} more that an earlier failure kept from being made`, 'unsure', isTerminal)];
  return [...lines, '', ...shown, ...rest];
}

const TONES = { passed: 'good', failed: 'bad', skipped: 'unsure', 'not-applicable': 'plain' } as const;
const COLOURS: Readonly<Record<SummaryTone, number>> = { plain: 0, good: 32, bad: 31, unsure: 33 };

function paint(text: string, tone: SummaryTone, isTerminal: boolean): string {
  return isTerminal && tone !== 'plain' ? `\u001b[${COLOURS[tone]}m${text}\u001b[0m` : text;
}

/** ISO 8601 in UTC; beyond the calendar of JavaScript (9999 is common for "never") the milliseconds. */
function dateText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString();
}
