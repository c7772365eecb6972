// The page: opened once, then kept current by the node's events and a slow poll.
import { showApprovals, takeApprovals } from "./approvals.js";
import { showDecision, showMissed } from "./decisions.js";
import { showHealth } from "./health.js";
import { takeKeys } from "./keys.js";
import { showKills, takeKills } from "./kills.js";
import { Closed, Node } from "./node.js";
import { showSessions, takeSessions } from "./sessions.js";
import { visible } from "./text.js";

const POLL_MS = 5_000;
const state = document.getElementById("state");

function tell(text, bad = false) {
  state.textContent = visible(text);
  state.className = bad ? "bad" : "";
}

function lock(error) {
  document.getElementById("open").hidden = true;
  document.getElementById("locked").hidden = false;
  document.getElementById("why").textContent = visible(error.message);
  tell("closed", true);
}

// Runs a task at most once at a time; what comes meanwhile runs it once more.
function settled(task) {
  let running = false;
  let again = false;
  return async () => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    do {
      again = false;
      await task();
    } while (again);
    running = false;
  };
}

async function run() {
  const node = await Node.enter();
  document.getElementById("open").hidden = false;
  takeKeys();
  takeApprovals();
  takeKills(node);
  takeSessions();
  const refresh = settled(async () => {
    try {
      const [ready] = await Promise.all([showHealth(node), showApprovals(node), showKills(node), showSessions(node)]);
      tell(ready ? "live" : "live; calls are not permitted, see Health", !ready);
    } catch (error) {
      if (error instanceof Closed) lock(error);
      else tell(`not reached: ${error.message}`, true);
    }
  });
  await refresh();
  setInterval(refresh, POLL_MS);
  for (;;) {
    try {
      await node.events((kind, event) => {
        if (kind === "missed") showMissed(event);
        else if (event.decision) showDecision(event);
        if (kind !== "result") refresh();
      });
    } catch (error) {
      if (error instanceof Closed) return lock(error);
    }
    tell("not reached; trying again", true);
    await new Promise((wake) => setTimeout(wake, 1_000));
  }
}

run().catch(lock);
