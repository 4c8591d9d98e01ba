/**
 * The narrow XML that NVIDIA's manifests are written in (XML 1.0, Namespaces in XML 1.0), and no other: printable ASCII and line
 * feeds, one element, attributes in double quotes behind one blank each, elements without content closed in their own tag. No XML
 * declaration, document type, comment, processing instruction, CDATA section or reference, and no prefix that is declared again
 * where it is in scope. So a text has one reading, and what is read is written back as the same text.
 */
import { MalformedError, utf8Decode } from '@haca/primitives';

export const XML_LIMITS = {
  bytes: 256 * 1024,
  depth: 8,
  elements: 2048,
  /** Of one element, declarations of namespaces included. */
  attributes: 64,
  nameChars: 64,
  valueChars: 1024,
} as const;

export interface XmlAttribute {
  /** As written, with its prefix. */
  readonly name: string;
  /** URI of its namespace; empty where it has no prefix. */
  readonly space: string;
  readonly local: string;
  readonly value: string;
}

export interface XmlElement {
  readonly name: string;
  readonly space: string;
  readonly local: string;
  /** Namespaces that this element declares, by prefix; the empty prefix is the default. */
  readonly declared: Scope;
  /** All that are in scope here, its own included. */
  readonly inScope: Scope;
  /** In the order of the text. */
  readonly attributes: readonly XmlAttribute[];
  /** Elements and the texts between them, none of which is empty. */
  readonly children: readonly (XmlElement | string)[];
}

export type Scope = ReadonlyMap<string, string>;

const NAME = /[A-Za-z_][A-Za-z0-9_.-]*(?::[A-Za-z_][A-Za-z0-9_.-]*)?/y;
/** Nothing that canonical XML would write in another way. */
const VALUE = /[\x20\x21\x23-\x25\x27-\x3b\x3d\x3f-\x7e]*/y;
const TEXT = /[\n\x20-\x25\x27-\x3b\x3d\x3f-\x7e]+/y;

/** `path` names the document in errors. At most one line feed may stand behind the element. Throws `MalformedError`. */
export function parseNarrowXml(bytes: Uint8Array, path: string): XmlElement {
  if (bytes.length > XML_LIMITS.bytes)
    throw new MalformedError('xml.too-large', path, `at most ${XML_LIMITS.bytes} bytes`, `${bytes.length}`);
  const reader = new XmlReader(asciiOf(bytes, path), path);
  const root = reader.element(NO_NAMESPACES, 1);
  reader.end();
  return root;
}

/** An absolute URI: relative ones have no canonical form (Canonical XML section 1.3). */
const NAMESPACE = /^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/;
/** Of the prefixes `xml` and `xmlns`, which no other may stand for. */
const RESERVED = ['http://www.w3.org/XML/1998/namespace', 'http://www.w3.org/2000/xmlns/'];
const NO_NAMESPACES: Scope = new Map();

function asciiOf(bytes: Uint8Array, path: string): string {
  for (let at = 0; at < bytes.length; at++) {
    const octet = bytes[at] as number;
    if ((octet >= 0x20 && octet <= 0x7e) || octet === 0x0a) continue;
    const expected = 'printable ASCII and line feeds';
    throw new MalformedError('xml.character', path, expected, `byte ${octet} at ${at}`);
  }
  return utf8Decode(bytes, path);
}

class XmlReader {
  readonly #text: string;
  readonly #path: string;
  #offset = 0;
  #elements = 0;

  constructor(text: string, path: string) {
    this.#text = text;
    this.#path = path;
  }

  end(): void {
    if (this.#text[this.#offset] === '\n') this.#offset++;
    if (this.#offset !== this.#text.length) this.#fail('xml.trailing', 'the end of the text');
  }

  element(outer: Scope, depth: number): XmlElement {
    if (depth > XML_LIMITS.depth) this.#fail('xml.depth', `at most ${XML_LIMITS.depth} levels of elements`);
    if (++this.#elements > XML_LIMITS.elements)
      this.#fail('xml.elements', `at most ${XML_LIMITS.elements} elements`);
    this.#take('<');
    const name = this.#name();
    const written = this.#attributes();
    const declared = this.#declared(written, outer);
    const inScope = declared.size === 0 ? outer : new Map([...outer, ...declared]);
    const head = {
      name,
      ...this.#resolve(name, inScope, true),
      declared,
      inScope,
      attributes: this.#resolved(written, inScope),
    };
    if (this.#takeIf('/>')) return { ...head, children: [] };
    this.#take('>');
    const children = this.#children(inScope, depth);
    this.#take(`</${name}>`);
    return { ...head, children };
  }

  #children(inScope: Scope, depth: number): readonly (XmlElement | string)[] {
    const children: (XmlElement | string)[] = [];
    while (!this.#text.startsWith('</', this.#offset)) {
      const text = this.#match(TEXT);
      children.push(text ?? this.element(inScope, depth + 1));
    }
    if (children.length === 0) this.#fail('xml.empty', 'an element without content closed in its own tag');
    return children;
  }

  /** Name and value of each, as written. */
  #attributes(): ReadonlyMap<string, string> {
    const written = new Map<string, string>();
    while (this.#takeIf(' ')) {
      const name = this.#name();
      if (written.has(name)) this.#fail('xml.duplicate-attribute', 'each attribute once');
      if (written.size === XML_LIMITS.attributes)
        this.#fail('xml.attributes', `at most ${XML_LIMITS.attributes} attributes`);
      this.#take('="');
      const value = this.#match(VALUE) ?? '';
      if (value.length > XML_LIMITS.valueChars)
        this.#fail('xml.value', `at most ${XML_LIMITS.valueChars} characters`);
      this.#take('"');
      written.set(name, value);
    }
    return written;
  }

  #declared(written: ReadonlyMap<string, string>, outer: Scope): Scope {
    const declared = new Map<string, string>();
    for (const [name, uri] of written) {
      if (!isDeclaration(name)) continue;
      const prefix = name === 'xmlns' ? '' : name.slice('xmlns:'.length);
      if (prefix.startsWith('xml') || !NAMESPACE.test(uri) || RESERVED.includes(uri) || outer.has(prefix))
        this.#fail('xml.namespace', 'a new prefix with a namespace');
      declared.set(prefix, uri);
    }
    return declared;
  }

  #resolved(written: ReadonlyMap<string, string>, inScope: Scope): readonly XmlAttribute[] {
    const attributes: XmlAttribute[] = [];
    for (const [name, value] of written) {
      if (isDeclaration(name)) continue;
      const { space, local } = this.#resolve(name, inScope, false);
      if (attributes.some((other) => other.space === space && other.local === local))
        this.#fail('xml.duplicate-attribute', 'each attribute of a namespace once');
      attributes.push({ name, space, local, value });
    }
    return attributes;
  }

  /** The default namespace is for elements alone (Namespaces in XML section 6.2). */
  #resolve(
    name: string,
    inScope: Scope,
    isElement: boolean,
  ): { readonly space: string; readonly local: string } {
    const colon = name.indexOf(':');
    if (colon < 0) return { space: isElement ? (inScope.get('') ?? '') : '', local: name };
    const space = inScope.get(name.slice(0, colon)) ?? this.#fail('xml.prefix', 'a prefix that is declared');
    return { space, local: name.slice(colon + 1) };
  }

  #name(): string {
    const name = this.#match(NAME) ?? this.#fail('xml.malformed', 'a name');
    if (name.length > XML_LIMITS.nameChars)
      this.#fail('xml.name', `at most ${XML_LIMITS.nameChars} characters`);
    return name;
  }

  #take(characters: string): void {
    if (!this.#takeIf(characters)) this.#fail('xml.malformed', JSON.stringify(characters));
  }

  #takeIf(characters: string): boolean {
    if (!this.#text.startsWith(characters, this.#offset)) return false;
    this.#offset += characters.length;
    return true;
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#offset;
    const token = pattern.exec(this.#text)?.[0];
    if (token === undefined || token === '') return null;
    this.#offset += token.length;
    return token;
  }

  #fail(code: string, expected: string): never {
    const got = this.#text.slice(this.#offset, this.#offset + 24);
    const shown = got === '' ? 'the end' : JSON.stringify(got);
    throw new MalformedError(code, this.#path, expected, `${shown} at ${this.#offset}`);
  }
}

function isDeclaration(name: string): boolean {
  return name === 'xmlns' || name.startsWith('xmlns:');
}
