// Gives every request to one origin a bearer token, for programs that cannot be told to send one.
//
// Loaded with `NODE_OPTIONS=--import=…/bearer.mjs`; reads BEARER_ORIGIN and BEARER_TOKEN. It listens to
// Node's own diagnostics, so `fetch`, `undici` and `http` are all covered and no request is altered otherwise.

import { subscribe } from "node:diagnostics_channel";

const origin = new URL(process.env.BEARER_ORIGIN);
const value = `Bearer ${process.env.BEARER_TOKEN}`;

subscribe("undici:request:create", ({ request }) => {
  const named = JSON.stringify(request.headers).toLowerCase().includes('authorization');
  if (new URL(request.origin).origin === origin.origin && !named) {
    request.addHeader("authorization", value);
  }
});

subscribe("http.client.request.created", ({ request }) => {
  if (request.host === origin.hostname && !request.hasHeader("authorization")) {
    request.setHeader("authorization", value);
  }
});
