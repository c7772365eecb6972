// Text from outside, made visible. Every displayed value is hostile text: it becomes a text node, and
// what a reader would not see (controls, direction changes, joiners) is spelled out.

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u{e0000}-\u{e0fff}]/gu;

export function visible(text) {
  return String(text ?? "").toWellFormed().replace(INVISIBLE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

// An element with text and children, and never markup.
export function element(name, { text, className, title } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = visible(text);
  if (className) made.className = className;
  if (title !== undefined) made.title = visible(title);
  made.append(...children);
  return made;
}

// Pairs of a definition list.
export function pairs(list) {
  return list.filter(([, value]) => value !== undefined && value !== "").flatMap(([name, value]) => [
    element("dt", { text: name }),
    element("dd", { text: value }),
  ]);
}

// JSON text over several lines. It is laid out as it came, never read and written again: numbers and
// repeated names keep their text. Line ends inside of strings are escapes, so no value can add a line.
export function laidOut(json) {
  let out = "";
  let depth = 0;
  let quoted = false;
  const line = () => `\n${"  ".repeat(depth)}`;
  for (let at = 0; at < json.length; at += 1) {
    const c = json[at];
    if (quoted) {
      out += c;
      if (c === "\\") {
        at += 1;
        out += json[at] ?? "";
      } else if (c === '"') quoted = false;
    } else if (c === '"') {
      quoted = true;
      out += c;
    } else if (c === "{" || c === "[") {
      depth += 1;
      out += c + line();
    } else if (c === "}" || c === "]") {
      depth = Math.max(0, depth - 1);
      out += line() + c;
    } else if (c === ",") out += c + line();
    else if (c === ":") out += ": ";
    else if (!/\s/.test(c)) out += c;
  }
  return out.split("\n").map(visible).join("\n");
}
