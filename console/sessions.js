// Open sessions: how each stands, taking something from it at once, giving it back with an approver's
// word, and ending it.
import { current, whenChanged } from "./keys.js";
import { Rows } from "./rows.js";
import { element } from "./text.js";

const rows = new Rows(document.getElementById("sessions"));

// What can be taken, as the page words it, and as the node is asked.
const TAKEN = [
  ["isolate: nothing at all", {}],
  ["read only", { restraints: ["read_only"] }],
  ["no network", { restraints: ["network_off"] }],
  ["no delegation", { restraints: ["block_delegation"] }],
  ["no secrets", { restraints: ["rotate_credentials"] }],
  ["watch, take nothing", { state: "watched" }],
];

export function takeSessions() {
  whenChanged(() => rows.enable());
}

export async function showSessions(node) {
  const open = (await node.get("/v1/sessions")).filter(({ state }) => state === "open");
  rows.show(open, (session) => row(node, session));
  document.getElementById("sessions-none").hidden = open.length > 0;
}

function row(node, session) {
  const { id, principals, opened, posture } = session;
  const told = element("span", { className: "quiet" });
  const at = (what) => `/v1/sessions/${encodeURIComponent(id)}${what}`;
  const doing = (button, act) => async () => {
    button.disabled = true;
    try {
      await act();
      await showSessions(node);
    } catch (error) {
      told.replaceChildren(element("span", { className: "deny", text: error.message }));
    }
    button.disabled = false;
  };
  const button = (text, className, title, act) => {
    const made = element("button", { className, text, title });
    made.addEventListener("click", doing(made, act));
    return made;
  };
  const choice = element("select", { title: "What to take from this session" });
  choice.setAttribute("aria-label", "What to take from this session");
  TAKEN.forEach(([text], index) => choice.append(Object.assign(element("option", { text }), { value: String(index) })));
  const actions = element("div", { className: "actions" }, choice,
    button("Contain", "refuse", "Take this from the session, at once", () => node.post(at("/contain"), TAKEN[Number(choice.value)][1])));
  let enable;
  if (posture.state !== "normal" && posture.state !== "terminated") {
    const release = button("Release", "grant", "Give everything back, in the name of the approver who signs",
      async () => node.post(at("/release"), await current().lift("session", id, posture.binding)));
    enable = () => {
      release.disabled = !current();
      told.textContent = current() ? "" : "Load your approver key to release it.";
    };
    enable();
    actions.append(release);
  }
  actions.append(
    button("Terminate", "refuse", "Nothing is permitted in it any more, and nothing can be given back", () => node.post(at("/kill"))),
    button("Close", "refuse", "No call that begins afterwards is permitted in this session", () => node.remove(at(""))),
    told);
  const taken = [...posture.revoked.map((name) => `without ${name}`), ...posture.disabled.map((name) => `without ${name}`), ...posture.restraints];
  const root = element("tr", {},
    element("td", { className: "exact", text: id }),
    element("td", { title: posture.cause },
      element("div", { className: posture.state === "normal" ? "allow" : "deny", text: posture.state }),
      ...taken.map((text) => element("div", { className: "where", text })),
      ...(posture.cause ? [element("div", { className: "where", text: `by ${posture.cause}` })] : [])),
    element("td", { text: principals.agent }),
    element("td", { text: principals.on_behalf_of ?? principals.owner }),
    element("td", { className: "time", text: new Date(opened).toLocaleString() }),
    element("td", {}, actions));
  return { root, enable };
}
