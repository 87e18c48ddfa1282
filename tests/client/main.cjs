// node main.cjs: everything the client and Impact both know, on a running server.
// SHOP_URL, SHOP_TENANT, SHOP_EMAIL and SHOP_PASSWORD name the server, a shop and its owner.

"use strict";

const assert = require("node:assert/strict");
const Medusa = require("@medusajs/js-sdk").default;
const access = require("./access.cjs");
const admin = require("./admin.cjs");
const { preflight, watchHeaders } = require("./preflight.cjs");
const store = require("./store.cjs");
const { count, step } = require("./steps.cjs");
const { keepTokens } = require("./tokens.cjs");

const { SHOP_URL: baseUrl, SHOP_TENANT, SHOP_EMAIL, SHOP_PASSWORD } = process.env;
const mark = Date.now().toString(36);

async function staff() {
  const auth = { type: "jwt", jwtTokenStorageMethod: "memory" };
  const sdk = new Medusa({ baseUrl, auth, globalHeaders: { "x-tenant-id": SHOP_TENANT } });
  await step("auth.login as staff", async () => {
    const credentials = { email: SHOP_EMAIL, password: SHOP_PASSWORD };
    assert.equal(typeof (await sdk.auth.login("user", "emailpass", credentials)), "string");
    const { user } = await sdk.admin.user.me();
    assert.equal(user.email, SHOP_EMAIL);
  });
  return sdk;
}

// As a storefront is set up: the publishable key says which shop.
async function storefront(sdk) {
  const publishableKey = await step("admin.apiKey.create, publishable", async () => {
    const { api_key: key } = await sdk.admin.apiKey.create({ title: mark, type: "publishable" });
    return key.token;
  });
  return new Medusa({
    baseUrl,
    publishableKey,
    auth: { type: "jwt", jwtTokenStorageMethod: "memory" },
  });
}

async function main() {
  for (const name of ["SHOP_URL", "SHOP_TENANT", "SHOP_EMAIL", "SHOP_PASSWORD"]) {
    if (!process.env[name]) {
      console.error(`${name} is not set: the server, a shop of it, and its owner are needed`);
      process.exit(2);
    }
  }
  const headers = watchHeaders();
  keepTokens();
  const back = await staff();
  const made = await admin.groups(back, mark);
  const product = await admin.products(back, mark, made);

  const front = await storefront(back);
  await store.catalog(front, product, made);
  await store.account(front, mark);
  const cart = await store.cart(front, product);
  await store.offers(front, cart);
  const order = await store.checkout(front, cart);
  const other = await store.checkout(front, await store.cart(front, product));

  await admin.orders(back, { order, other });
  await admin.variants(back, mark, product);
  await admin.customers(back, mark);
  await access.keys(back, mark, { Medusa, baseUrl });
  await access.users(back);
  await admin.refusals(back, Medusa, baseUrl);
  await admin.cleared(back, product, made);
  await preflight(headers, baseUrl);
  console.log(`${count()} steps passed`);
}

main();
