/**
 * Canonical XML 1.1 (W3C, 2008, sections 2.3 and 4) of the narrow XML that `rim-xml.ts` reads: there nothing has to be escaped, no
 * attribute has a default, no namespace is declared twice, and none of the attributes `xml:*` occurs, in which alone version 1.1
 * differs from 1.0. What is left is the order of namespaces and attributes, and end tags for elements without content.
 */
import { utf8Encode } from '@haca/primitives';
import type { Scope, XmlAttribute, XmlElement } from './rim-xml.ts';

/**
 * UTF-8 of the element as a document subset of its own: namespaces of its ancestors that are in scope are written at its head.
 * `leftOut` and all in it are not in the subset: the transform `enveloped-signature` (XML Signature section 6.6.4).
 */
export function canonicalXml(apex: XmlElement, leftOut: XmlElement | null): Uint8Array {
  const parts: string[] = [];
  write(apex, apex.inScope, leftOut, parts);
  return utf8Encode(parts.join(''));
}

function write(element: XmlElement, namespaces: Scope, leftOut: XmlElement | null, parts: string[]): void {
  const { name, attributes, children } = element;
  parts.push('<', name);
  for (const [prefix, uri] of [...namespaces].sort(([a], [b]) => order(a, b)))
    parts.push(prefix === '' ? ' xmlns="' : ` xmlns:${prefix}="`, uri, '"');
  for (const { name: attribute, value } of [...attributes].sort(byNamespace))
    parts.push(' ', attribute, '="', value, '"');
  parts.push('>');
  for (const child of children) {
    if (typeof child === 'string') parts.push(child);
    else if (child !== leftOut) write(child, child.declared, leftOut, parts);
  }
  parts.push('</', name, '>');
}

function byNamespace(a: XmlAttribute, b: XmlAttribute): number {
  return order(a.space, b.space) || order(a.local, b.local);
}

/** By code points, which are those of ASCII. */
function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
