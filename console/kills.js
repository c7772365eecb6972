// Kill switches: what is off, switching something off at once, and lifting it with an approver's word.
import { current, whenChanged } from "./keys.js";
import { Rows } from "./rows.js";
import { element } from "./text.js";

const rows = new Rows(document.getElementById("kills"));
const form = document.getElementById("kill-form");
const said = document.getElementById("kill-said");

export function takeKills(node) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const field = (name) => form.elements[name].value.trim();
    const order = { what: field("what") };
    for (const name of ["agent", "tenant"]) if (field(name) !== "") order[name] = field(name);
    button.disabled = true;
    try {
      const { now } = await node.post("/v1/kills", order);
      said.replaceChildren(element("span", { text: `${now.what} is off.` }));
      form.reset();
      await showKills(node);
    } catch (error) {
      said.replaceChildren(element("span", { className: "deny", text: error.message }));
    }
    button.disabled = false;
  });
  whenChanged(() => rows.enable());
}

export async function showKills(node) {
  const kills = await node.get("/v1/kills");
  rows.show(kills, (kill) => row(node, kill));
  document.getElementById("kills-none").hidden = kills.length > 0;
  document.getElementById("kills-count").textContent = kills.length === 0 ? "(none)" : `(${kills.length})`;
}

function row(node, kill) {
  const told = element("span", { className: "quiet" });
  const lift = element("button", { className: "grant", text: "Lift" });
  const enable = () => {
    lift.disabled = kill.origin !== "order" || !current();
    told.textContent = kill.origin !== "order" ? "Only a newer kill bundle lifts it." : current() ? "" : "Load your approver key to lift it.";
  };
  lift.addEventListener("click", async () => {
    lift.disabled = true;
    try {
      await node.post(`/v1/kills/${encodeURIComponent(kill.id)}/lift`, await current().lift("kill", kill.id, kill.binding));
      await showKills(node);
    } catch (error) {
      enable();
      told.replaceChildren(element("span", { className: "deny", text: error.message }));
    }
  });
  enable();
  const whom = [kill.agent && `agent ${kill.agent}`, kill.tenant && `tenant ${kill.tenant}`].filter(Boolean).join(", ");
  const root = element("tr", { title: kill.id },
    element("td", { className: "exact deny", text: kill.what }),
    element("td", { text: whom || "everybody" }),
    element("td", { text: kill.origin === "bundle" ? `kill bundle ${kill.epoch}` : kill.by }),
    element("td", { className: "time", text: new Date(kill.since).toLocaleString() }),
    element("td", { text: kill.recorded ? "" : "not on record yet" }),
    element("td", {}, lift, told));
  return { root, enable };
}
