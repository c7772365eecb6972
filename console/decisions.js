// Decisions, newest first.
import { element } from "./text.js";

const MOST = 200;
const rows = document.getElementById("decisions");

export function showDecision({ at, entry, session, decision }) {
  const why = decision.reasons.map(({ rule, file, line, message }) =>
    element("div", {}, element("span", { text: message || rule }), element("span", { className: "where", text: file ? `${rule} · ${file}:${line}` : rule })));
  rows.prepend(element("tr", { title: `${entry} ${session ?? ""}` },
    element("td", { className: "time", text: new Date(at).toLocaleTimeString() }),
    element("td", { className: `verdict ${known(decision.verdict)}`, text: `${decision.verdict}, ${decision.enforced}` }),
    element("td", { className: "exact", text: decision.action }),
    element("td", { text: decision.principals.join(", ") }),
    element("td", {}, ...why)));
  while (rows.childElementCount > MOST) rows.lastElementChild.remove();
  document.getElementById("decisions-none").hidden = true;
}

export function showMissed(count) {
  rows.prepend(element("tr", {}, Object.assign(element("td", { className: "quiet", text: `${count} records came faster than this page could show; the ledger has them all` }), { colSpan: 5 })));
}

function known(verdict) {
  return ["allow", "ask", "deny"].includes(verdict) ? verdict : "quiet";
}
