// An approver's signed words. The key is read from its file, held by the browser so that no script can
// read it out, and signs the same bytes as the command line with Ed25519, as deterministic CBOR
// (RFC 8949 §4.2.1): an answer is ["cordon/ballot/v1", approval, binding, answer, approver,
// microseconds], a release ["cordon/lift/v1", "session" or "kill", id, binding, approver, microseconds].

const KEY_FILE = /^cordon-key\/v1 approver ([A-Za-z0-9+/]{43}=)\s*$/;
// What stands before the 32 bytes of a private key in PKCS #8 (RFC 8410 §7).
const PKCS8 = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

export class Approver {
  #key;

  constructor(name, key) {
    this.name = name;
    this.#key = key;
  }

  // Reads `NAME.key` as `cordon keys new --role approver` wrote it.
  static async read(file) {
    const found = KEY_FILE.exec(await file.text());
    if (!found) throw new Error("this file does not hold an approver key");
    const seed = Uint8Array.from(atob(found[1]), (c) => c.charCodeAt(0));
    const wrapped = new Uint8Array([...PKCS8, ...seed]);
    const key = await crypto.subtle.importKey("pkcs8", wrapped, { name: "Ed25519" }, false, ["sign"]);
    seed.fill(0);
    wrapped.fill(0);
    return new Approver(file.name.replace(/\.key$/, ""), key);
  }

  // The signed answer to exactly the call whose binding was shown.
  async answer(approval, answer) {
    const at = Date.now() * 1000;
    const signature = await this.#signed([
      text("cordon/ballot/v1"), identifier(approval.id), digest(approval.binding), text(answer), text(this.name), head(0, at),
    ]);
    return { answer, approver: this.name, at, binding: approval.binding, signature };
  }

  // The signed word that gives back what was shown with this binding, of a "session" or a "kill" switch.
  async lift(what, id, binding) {
    const at = Date.now() * 1000;
    const signature = await this.#signed([
      text("cordon/lift/v1"), text(what), identifier(id), digest(binding), text(this.name), head(0, at),
    ]);
    return { approver: this.name, at, binding, signature };
  }

  async #signed(parts) {
    const signature = await crypto.subtle.sign({ name: "Ed25519" }, this.#key, array(parts));
    return btoa(String.fromCharCode(...new Uint8Array(signature)));
  }
}

function identifier(text) {
  return byteString(unhex(text.replace(/^[a-z]+_/, "")));
}

function digest(text) {
  return byteString(unhex(text.replace(/^sha256:/, "")));
}

function unhex(hex) {
  if (!/^([0-9a-f]{2})+$/.test(hex)) throw new Error("not hexadecimal");
  return Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
}

// The first bytes of a value: its major type and a number in the fewest bytes.
function head(major, number) {
  const size = number < 24 ? 0 : number < 0x100 ? 1 : number < 0x10000 ? 2 : number < 0x100000000 ? 4 : 8;
  const bytes = new Uint8Array(1 + size);
  bytes[0] = (major << 5) | (size === 0 ? number : 24 + Math.log2(size));
  let rest = BigInt(number);
  for (let at = size; at > 0; at -= 1) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

function joined(...parts) {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

function byteString(bytes) {
  return joined(head(2, bytes.length), bytes);
}

function text(value) {
  const bytes = new TextEncoder().encode(value);
  return joined(head(3, bytes.length), bytes);
}

function array(items) {
  return joined(head(4, items.length), ...items);
}
