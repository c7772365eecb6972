// Open sessions, and ending one.
import { element } from "./text.js";

const rows = document.getElementById("sessions");

export async function showSessions(node) {
  const open = (await node.get("/v1/sessions")).filter(({ state }) => state === "open");
  rows.replaceChildren(...open.map((session) => row(node, session)));
  document.getElementById("sessions-none").hidden = open.length > 0;
}

function row(node, { id, state, principals, opened }) {
  const close = element("button", { className: "refuse", text: "Close" });
  close.title = "No call that begins afterwards is permitted in this session";
  close.addEventListener("click", async () => {
    close.disabled = true;
    await node.remove(`/v1/sessions/${encodeURIComponent(id)}`).catch((error) => { close.title = error.message; });
    await showSessions(node);
  });
  return element("tr", {},
    element("td", { className: "exact", text: id }),
    element("td", { text: state }),
    element("td", { text: principals.agent }),
    element("td", { text: principals.on_behalf_of ?? principals.owner }),
    element("td", { className: "time", text: new Date(opened).toLocaleString() }),
    element("td", {}, close));
}
