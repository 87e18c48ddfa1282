// Storefront: the catalog, a customer, a cart that becomes an order.

"use strict";

const assert = require("node:assert/strict");
const { page, refused, shaped, step } = require("./steps.cjs");
const shapes = require("./shapes.cjs");

async function catalog(sdk, product, { collection, category }) {
  const variant = { id: "uuid", title: "text", sku: "text?", calculated_price: shapes.price };
  const shape = { ...shapes.storeProduct, variants: [variant] };
  await step("store.product.list and retrieve", async () => {
    const fields = "*variants.calculated_price,+variants.inventory_quantity";
    const listed = await sdk.store.product.list({ fields, handle: product.handle });
    shaped(listed, { ...page("products", shape), count: 1 });
    const { product: found } = await sdk.store.product.retrieve(product.id, { fields });
    shaped(found, shape);
    assert.deepEqual(found.variants.map((each) => each.calculated_price.calculated_amount), [
      4900, 4901,
    ]);
    for (const query of [{ collection_id: [collection.id] }, { category_id: [category.id] }]) {
      const { products } = await sdk.store.product.list(query);
      assert.deepEqual(products.map((each) => each.id), [product.id]);
    }
  });
  await step("store.collection and store.category, list and retrieve", async () => {
    const collections = await sdk.store.collection.list({ handle: collection.handle });
    shaped(collections, { ...page("collections", shapes.collection), count: 1 });
    const one = await sdk.store.collection.retrieve(collection.id);
    shaped(one.collection, { ...shapes.collection, id: collection.id });
    const categories = await sdk.store.category.list({ handle: [category.handle] });
    shaped(categories, { ...page("product_categories", shapes.category), count: 1 });
    const other = await sdk.store.category.retrieve(category.id);
    shaped(other.product_category, { ...shapes.category, id: category.id });
  });
}

async function account(sdk, mark) {
  const email = `ada-${mark}@mail.test`;
  const password = "a long password";
  const customer = await step("auth.register, store.customer.create, auth.login", async () => {
    const token = await sdk.auth.register("customer", "emailpass", { email, password });
    const headers = { Authorization: `Bearer ${token}` };
    const body = { email, first_name: "Ada" };
    const made = await sdk.store.customer.create(body, {}, headers);
    shaped(made.customer, { ...shapes.customer, ...body, has_account: true });
    await refused(
      sdk.auth.login("customer", "emailpass", { email, password: "another" }),
      401,
      /^Invalid email or password$/,
    );
    assert.equal(typeof (await sdk.auth.login("customer", "emailpass", { email, password })), "string");
    return made.customer;
  });
  await step("store.customer.retrieve and update", async () => {
    const { customer: me } = await sdk.store.customer.retrieve({ fields: "*addresses" });
    assert.equal(me.id, customer.id);
    const answer = await sdk.store.customer.update({ last_name: "Byron", phone: "123" });
    shaped(answer.customer, { ...shapes.customer, first_name: "Ada", last_name: "Byron" });
  });
  await step("store.customer addresses", async () => {
    const body = { address_1: "St James's Square 12", city: "London", country_code: "gb" };
    const made = await sdk.store.customer.createAddress(body);
    const [{ id }] = shaped(made.customer.addresses, [{ ...shapes.address, ...body }]);
    const changed = await sdk.store.customer.updateAddress(id, { postal_code: "SW1Y 4JH" });
    shaped(changed.customer.addresses, [{ ...shapes.address, postal_code: "SW1Y 4JH" }]);
    const { address } = await sdk.store.customer.retrieveAddress(id);
    shaped(address, { ...shapes.address, ...body });
    const listed = await sdk.store.customer.listAddress({ limit: 10 });
    shaped(listed, { ...page("addresses", shapes.address), count: 1, limit: 10 });
    const gone = await sdk.store.customer.deleteAddress(id);
    shaped(gone, { id, object: "address", deleted: true });
    shaped(gone.parent, { ...shapes.customer, id: customer.id });
  });
  return customer;
}

async function cart(sdk, product) {
  const [first, second] = product.variants;
  const made = await step("store.cart.create", async () => {
    const items = [{ variant_id: first.id, quantity: 1 }];
    const answer = await sdk.store.cart.create({ currency_code: "eur", items });
    return shaped(answer.cart, { ...shapes.cart, total: 4900 });
  });
  await step("store.cart.update", async () => {
    const address = { first_name: "Ada", address_1: "St James's Square", country_code: "gb" };
    const body = { email: "ada@mail.test", shipping_address: address, metadata: { note: "ring" } };
    const answer = await sdk.store.cart.update(made.id, body);
    shaped(answer.cart, { ...shapes.cart, ...body });
  });
  await step("store.cart.createLineItem, updateLineItem, deleteLineItem", async () => {
    const added = await sdk.store.cart.createLineItem(made.id, {
      variant_id: second.id,
      quantity: 2,
    });
    shaped(added.cart, { ...shapes.cart, total: 4900 + 2 * 4901 });
    const line = added.cart.items.find((each) => each.variant_id === second.id);
    const changed = await sdk.store.cart.updateLineItem(made.id, line.id, { quantity: 3 });
    shaped(changed.cart, { ...shapes.cart, total: 4900 + 3 * 4901 });
    const gone = await sdk.store.cart.deleteLineItem(made.id, line.id);
    shaped(gone, { id: line.id, object: "line-item", deleted: true });
    shaped(gone.parent, { ...shapes.cart, total: 4900 });
  });
  await step("store.cart.retrieve", async () => {
    const fields = "*items,*items.product,*items.variant,+items.total,*promotions";
    const answer = await sdk.store.cart.retrieve(made.id, { fields });
    shaped(answer.cart, { ...shapes.cart, id: made.id, total: 4900, email: "ada@mail.test" });
  });
  await step("a cart refuses what cannot be had", async () => {
    const unknown = "00000000-0000-7000-8000-000000000000";
    const put = (variant_id, quantity) =>
      sdk.store.cart.createLineItem(made.id, { variant_id, quantity });
    await refused(put(unknown, 1), 400, /do not exist or belong to a product that is not published/);
    await refused(put(first.id, 999_999), 400, /does not have the required inventory/);
    await refused(sdk.store.cart.createLineItem(made.id, { quantity: 1 }), 400, /variant_id/);
    await refused(sdk.store.cart.retrieve(unknown), 404, /^Cart with id .* not found$/);
  });
  return made;
}

// Impact neither delivers nor takes money, and says so to whoever asks.
async function offers(sdk, cart) {
  await step("store.fulfillment and store.payment offer nothing", async () => {
    const options = await sdk.store.fulfillment.listCartOptions({ cart_id: cart.id });
    assert.deepEqual(options.shipping_options, []);
    const providers = await sdk.store.payment.listPaymentProviders({ limit: 5 });
    shaped(providers, { payment_providers: [], count: 0 });
    const chosen = sdk.store.cart.addShippingMethod(cart.id, { option_id: "so_any" });
    await refused(chosen, 400, /complete the cart without one/);
    const body = { provider_id: "pp_system_default" };
    const session = sdk.store.payment.initiatePaymentSession(cart, body);
    await refused(session, 400, /complete the cart without a payment session/);
  });
}

async function checkout(sdk, { id }) {
  const order = await step("store.cart.complete, twice", async () => {
    const answer = await sdk.store.cart.complete(id);
    shaped(answer, { type: "order", order: { ...shapes.order, status: "pending", total: 4900 } });
    const again = await sdk.store.cart.complete(id);
    assert.equal(again.order.id, answer.order.id);
    const { cart: completed } = await sdk.store.cart.retrieve(id);
    shaped(completed, { ...shapes.cart, completed_at: (at) => assert.ok(Date.parse(at)) });
    return answer.order;
  });
  await step("store.order.retrieve and list", async () => {
    const found = await sdk.store.order.retrieve(order.id, { fields: "*items,*items.variant" });
    shaped(found.order, { ...shapes.order, id: order.id });
    const listed = await sdk.store.order.list({ limit: 5, order: "-created_at" });
    shaped(listed, page("orders", shapes.order));
    assert.equal(listed.orders[0].id, order.id);
  });
  return order;
}

module.exports = { account, cart, catalog, checkout, offers };
