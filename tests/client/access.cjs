// Staff: keys for programs, and users.

"use strict";

const assert = require("node:assert/strict");
const { page, refused, shaped, step } = require("./steps.cjs");

const key = {
  id: "uuid",
  title: "text",
  type: /^(publishable|secret)$/,
  redacted: "text",
  revoked_at: "time?",
  created_at: "time",
};
const user = {
  id: "uuid",
  email: "text",
  first_name: "text?",
  last_name: "text?",
  created_at: "time",
  updated_at: "time",
};

async function keys(sdk, mark, { Medusa, baseUrl }) {
  const secret = await step("admin.apiKey.create, secret", async () => {
    const { roles } = await sdk.client.fetch("/admin/roles", { query: { limit: 100 } });
    const owner = roles.find((role) => role.name === "owner");
    const body = { title: `secret ${mark}`, type: "secret" };
    const { api_key: made } = await sdk.admin.apiKey.create({ ...body, role_id: owner.id });
    return shaped(made, { ...key, ...body, token: "text" });
  });
  await step("a secret key in place of a login", async () => {
    const program = new Medusa({ baseUrl, apiKey: secret.token });
    const { products } = await program.admin.product.list({ limit: 1 });
    assert.equal(products.length, 1);
    const { api_key: revoked } = await sdk.admin.apiKey.revoke(secret.id, {});
    shaped(revoked, { ...key, revoked_at: (at) => assert.ok(Date.parse(at)) });
    await refused(program.admin.product.list({ limit: 1 }), 401, /not valid/);
  });
  await step("admin.apiKey.list, retrieve, delete", async () => {
    const listed = await sdk.admin.apiKey.list({ limit: 100, type: "secret" });
    shaped(listed, page("api_keys", { ...key, type: "secret" }));
    const { api_key: found } = await sdk.admin.apiKey.retrieve(secret.id);
    shaped(found, { ...key, id: secret.id });
    const gone = await sdk.admin.apiKey.delete(secret.id);
    shaped(gone, { id: secret.id, object: "api_key", deleted: true });
  });
}

async function users(sdk) {
  await step("admin.user.me, list, retrieve, update", async () => {
    const { user: me } = await sdk.admin.user.me();
    const listed = await sdk.admin.user.list({ email: [me.email] });
    shaped(listed, { ...page("users", user), count: 1 });
    const { user: found } = await sdk.admin.user.retrieve(me.id);
    assert.deepEqual(found, me);
    const answer = await sdk.admin.user.update(me.id, { first_name: "Grace" });
    shaped(answer.user, { ...user, id: me.id, first_name: "Grace" });
  });
}

module.exports = { keys, users };
