/** Every disagreement with another verifier that is known, and what the vendor's specification says about it. */

export interface Disagreement {
  readonly peer: string;
  /** Which changes of evidence or collateral bring it out. */
  readonly changes: readonly string[];
  /** Only these vectors; all where left out. */
  readonly vectors?: readonly string[];
  readonly direction: 'only we refuse' | 'only they refuse' | 'other status';
  readonly why: string;
}

const QVL = '@phala/dcap-qvl 0.3.9';
const GO_TDX = 'google/go-tdx-guest v0.3.1';
const GO_SEV = 'google/go-sev-guest v0.15.0';

const BEHIND_QUOTE = [
  'a zero byte behind the quote',
  '3,000 zero bytes behind the quote',
  'another byte behind the quote',
];
const UNCHANGED = ['none', 'an hour after the recorded instant'];

const TRAILING_BYTES =
  'A quote ends where its own lengths end it (Intel SGX DCAP and TDX quoting libraries, appendix A: the length of the ' +
  'signature data is the last field before it). What stands behind is signed by nobody, so one quote would have endless ' +
  'encodings. Real hosts do append zeros: whoever submits a quote strips them (`stripQuotePadding`), and what is then left ' +
  'over is refused.';

export const DISAGREEMENTS: readonly Disagreement[] = [
  { peer: QVL, changes: BEHIND_QUOTE, direction: 'only we refuse', why: TRAILING_BYTES },
  {
    peer: QVL,
    changes: [
      'root CRL: garbage',
      'root CRL: empty',
      'root CRL: signature changed',
      'PCK CRL: garbage',
      'PCK CRL: empty',
      'PCK CRL: signature changed',
      'root CRL in the place of the PCK CRL',
    ],
    direction: 'only we refuse',
    why:
      'A revocation list counts only after its issuer, its signature and its dates were verified (RFC 5280 section 6.3.3; ' +
      "Intel's quote verification library does so for the root's list and for that of the PCK CA, and fails where one is missing " +
      'or unreadable). The peer reads over lists that it can not parse and verifies no signature of any, so that whoever hands ' +
      'over the collateral decides what is revoked. go-tdx-guest refuses all of these as we do.',
  },
  {
    peer: QVL,
    changes: ['a bit changed in the PCK chain'],
    direction: 'only we refuse',
    why:
      'The PCK chain stands in the quote as PEM text, over which there is no signature. Line ends, padding characters and the ' +
      'bytes between certificates can be changed without changing a certificate; one spelling alone is accepted here (RFC 7468 ' +
      'section 3, strict form), so that no bit of a quote can change. go-tdx-guest refuses these too, as far as it was asked.',
  },
  {
    peer: QVL,
    changes: UNCHANGED,
    vectors: ['v4-azure-noseptve-2025-10'],
    direction: 'only they refuse',
    why:
      'From version 1.5 of the TDX module on (TEE_TCB_SVN[1] above 0) the first two components of the TDX TCB are those of the ' +
      'module, and are judged by `tdxModuleIdentities` of the TCB info; the levels are compared from component 2 on (Intel TDX ' +
      "PCS API version 4, TCB info; Intel's quote verification library). The peer compares all sixteen with the levels, whose " +
      'first component belongs to the older module, and finds none.',
  },
  { peer: GO_TDX, changes: BEHIND_QUOTE, direction: 'only we refuse', why: TRAILING_BYTES },
  {
    peer: GO_TDX,
    changes: UNCHANGED,
    vectors: ['v4-uptodate-2025-06', 'v4-azure-noseptve-2025-10'],
    direction: 'only they refuse',
    why:
      "The FMSPC in TCB info is a number of six bytes in hexadecimal digits, in upper or lower case as Intel's service writes it " +
      '(PCS API version 4: `^[0-9a-fA-F]{12}$`). The peer compares the digits as text, so it finds `B0C06F000000` to be another than ' +
      '`b0c06f000000`.',
  },
  {
    peer: GO_TDX,
    changes: ['a day before TCB info was issued'],
    direction: 'only we refuse',
    why:
      'TCB info and QE identity say when they were issued. Before that instant they do not hold here: a time to judge at that lies ' +
      "before it is wrong, or the collateral is. The peer, as Intel's library, looks at `nextUpdate` alone; the dates of the " +
      'certificates and lists are checked by all.',
  },
  {
    peer: GO_SEV,
    changes: ['a zero byte behind the report'],
    direction: 'only we refuse',
    why:
      'An attestation report has 1,184 bytes (AMD SEV-SNP firmware ABI, ATTESTATION_REPORT), and what stands behind is not part of ' +
      'it. The peer reads its fields and leaves the rest alone.',
  },
];
