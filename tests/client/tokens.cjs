// What an application adds so that it reads what it has just written: each request carries the
// newest consistency token that an answer gave (docs/consistency.md). The client itself stays as
// it is, for it calls the global fetch.

"use strict";

const HEADER = "x-consistency-token";

function keepTokens() {
  const plain = globalThis.fetch;
  let newest = null;
  globalThis.fetch = async (url, init = {}) => {
    const headers = new Headers(init.headers);
    if (newest) headers.set(HEADER, newest);
    const response = await plain(url, { ...init, headers });
    newest = response.headers.get(HEADER) ?? newest;
    return response;
  };
}

module.exports = { keepTokens };
