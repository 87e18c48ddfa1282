// What a browser would ask before it sends the client's requests from another origin's page.

"use strict";

const assert = require("node:assert/strict");
const { step } = require("./steps.cjs");

// Names of the headers that are sent from now on.
function watchHeaders() {
  const names = new Set();
  const plain = globalThis.fetch;
  globalThis.fetch = (url, init = {}) => {
    for (const name of new Headers(init.headers).keys()) names.add(name);
    return plain(url, init);
  };
  return names;
}

async function preflight(watched, baseUrl) {
  const names = new Set(watched);
  await step("a browser may send every header that was sent", async () => {
    const response = await fetch(`${baseUrl}/store/carts`, {
      method: "OPTIONS",
      headers: {
        origin: "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": [...names].join(","),
      },
    });
    const allowed = response.headers.get("access-control-allow-headers").split(/, */);
    // Those that need no leave (Fetch standard, CORS-safelisted request headers).
    const refused = [...names].filter((name) => ![...allowed, "accept"].includes(name));
    assert.ok(names.has("x-medusa-locale"));
    assert.deepEqual(refused, []);
  });
}

module.exports = { preflight, watchHeaders };
