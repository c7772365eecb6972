// The node behind the page: its administration API, with the token of this tab.

const KEPT = "cordon-console";

export class Closed extends Error {}

export class Node {
  #token;

  constructor(token) {
    this.#token = token;
  }

  // Trades the secret in the address for a token, or takes up the one that this tab has.
  static async enter() {
    const once = new URLSearchParams(location.hash.slice(1)).get("once");
    if (once) {
      history.replaceState(null, "", location.pathname);
      const answer = await fetch("/console/enter", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ once }),
      });
      if (!answer.ok) throw new Closed(await problem(answer));
      sessionStorage.setItem(KEPT, (await answer.json()).token);
    }
    const token = sessionStorage.getItem(KEPT);
    if (!token) throw new Closed("No link was used to open it.");
    return new Node(token);
  }

  get(path) {
    return this.#send("GET", path);
  }

  post(path, body) {
    return this.#send("POST", path, body);
  }

  remove(path) {
    return this.#send("DELETE", path);
  }

  // Calls `each` with every event, until the stream ends.
  async events(each) {
    const answer = await this.#fetch("GET", "/v1/events");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let waiting = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      waiting += value;
      const blocks = waiting.split("\n\n");
      waiting = blocks.pop();
      for (const block of blocks) {
        const field = (name) => block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        if (field("data") !== undefined) each(field("event"), JSON.parse(field("data")));
      }
    }
  }

  async #send(method, path, body) {
    return (await this.#fetch(method, path, body)).json();
  }

  async #fetch(method, path, body) {
    const headers = { authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    if (answer.status === 401) {
      sessionStorage.removeItem(KEPT);
      throw new Closed("Its token has expired, or the node was started anew.");
    }
    if (!answer.ok) throw new Error(await problem(answer));
    return answer;
  }
}

async function problem(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return `the node answered with status ${answer.status}`;
  }
}
