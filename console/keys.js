// The approver's key of this tab: read from its file, kept by the browser, asked for by every section.
import { Approver } from "./ballot.js";
import { element } from "./text.js";

const state = document.getElementById("key-state");
const watchers = new Set();
let approver;

// The approver whose key was loaded, if any.
export function current() {
  return approver;
}

// Calls `each` whenever another key is loaded, or none can be.
export function whenChanged(each) {
  watchers.add(each);
}

export function takeKeys() {
  document.getElementById("key-file").addEventListener("change", async ({ target }) => {
    approver = undefined;
    try {
      approver = await Approver.read(target.files[0]);
      state.replaceChildren(element("span", { text: `Answers are signed as ${approver.name}.` }));
    } catch (error) {
      state.replaceChildren(element("span", { className: "deny", text: error.message }));
    }
    target.value = "";
    for (const each of watchers) each();
  });
}
