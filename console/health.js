// How the node is: what stands in the way, the bundle in force, the end of the ledger.
import { element, pairs } from "./text.js";

const place = document.getElementById("health");

export async function showHealth(node) {
  const [status, policy, ledger] = await Promise.all([
    node.get("/v1/status"),
    node.get("/v1/policy"),
    node.get("/v1/ledger").catch((error) => ({ problem: error.message })),
  ]);
  const problems = status.problems.map((problem) => element("dd", { className: "deny", text: problem }));
  place.replaceChildren(
    element("dt", { text: "calls" }),
    ...(problems.length > 0 ? problems : [element("dd", { className: "allow", text: "can be permitted" })]),
    ...pairs([
      ["bundle", `${policy.bundle}${policy.epoch === undefined ? "" : `, epoch ${policy.epoch}`}${policy.signed ? "" : ", unsigned"}`],
      ["bundle expires", policy.expires && new Date(policy.expires).toLocaleString()],
      ["last refused", policy.refused],
      ["ledger", ledger.problem ?? `${ledger.size} durable entries`],
      ["root", ledger.root],
      ["node", `Cordon ${status.version}, process ${status.pid}, since ${new Date(status.started).toLocaleString()}`],
      ["data", status.data],
    ]));
  return status.ready;
}
