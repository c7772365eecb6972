// Calls that wait for a person: the exact call, and an answer that the approver's own key signs.
import { current, whenChanged } from "./keys.js";
import { element, laidOut, pairs } from "./text.js";

const place = document.getElementById("approvals");
const count = document.getElementById("approvals-count");
const cards = new Map();

export function takeApprovals() {
  whenChanged(() => {
    for (const card of cards.values()) card.enable();
  });
}

export async function showApprovals(node) {
  const waiting = (await node.get("/v1/approvals")).filter(({ state }) => state === "pending");
  const still = new Set(waiting.map(({ id }) => id));
  for (const [id, card] of cards) {
    if (!still.has(id)) {
      card.root.remove();
      cards.delete(id);
    }
  }
  for (const approval of waiting) {
    if (cards.has(approval.id)) continue;
    const card = made(node, approval);
    cards.set(approval.id, card);
    place.append(card.root);
  }
  count.textContent = waiting.length === 0 ? "(none)" : `(${waiting.length})`;
}

function made(node, approval) {
  const said = element("span", { className: "quiet" });
  const grant = element("button", { className: "grant", text: "Grant" });
  const refuse = element("button", { className: "refuse", text: "Deny" });
  const enable = () => {
    grant.disabled = refuse.disabled = !current();
    said.textContent = current() ? "" : "Load your approver key to answer.";
  };
  const answer = async (word) => {
    grant.disabled = refuse.disabled = true;
    try {
      const ballot = await current().answer(approval, word);
      await node.post(`/v1/approvals/${encodeURIComponent(approval.id)}/answer`, ballot);
      await showApprovals(node);
    } catch (error) {
      enable();
      said.textContent = "";
      said.append(element("span", { className: "deny", text: error.message }));
    }
  };
  grant.addEventListener("click", () => answer("grant"));
  refuse.addEventListener("click", () => answer("deny"));
  enable();
  const needs = approval.requirements.map(({ quorum, role }) => `${quorum} × ${role}`).join(", ");
  const root = element("article", { className: "card" },
    element("strong", { className: "exact", text: `${approval.action} on ${approval.resource}` }),
    element("dl", {}, ...pairs([
      ["who", approval.principals.join(", ")],
      ["because", approval.reasons.join(" · ")],
      ["needs", needs],
      ["yes from", approval.votes.join(", ")],
      ["expires", new Date(approval.expires).toLocaleString()],
      ["approval", approval.id],
      ["binding", approval.binding],
    ])),
    Object.assign(document.createElement("pre"), { textContent: laidOut(approval.arguments) }),
    element("div", { className: "actions" }, grant, refuse, said));
  return { root, enable };
}
