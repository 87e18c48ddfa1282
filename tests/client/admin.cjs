// Staff: products and their variants, what groups them, customers.

"use strict";

const assert = require("node:assert/strict");
const { page, refused, shaped, step } = require("./steps.cjs");
const shapes = require("./shapes.cjs");

function removed(object, id) {
  return { id, object, deleted: true };
}

async function groups(sdk, mark) {
  const made = {};
  made.collection = await step("admin.productCollection.create", async () => {
    const body = { title: `Winter ${mark}`, metadata: { season: 4 } };
    const { collection } = await sdk.admin.productCollection.create(body);
    return shaped(collection, { ...shapes.collection, ...body, handle: `winter-${mark}` });
  });
  await step("admin.productCollection.retrieve, update, list", async () => {
    const { id } = made.collection;
    const found = await sdk.admin.productCollection.retrieve(id);
    assert.deepEqual(found.collection, made.collection);
    const title = `Winter sale ${mark}`;
    const changed = await sdk.admin.productCollection.update(id, { title });
    shaped(changed.collection, { ...shapes.collection, id, title });
    const listed = await sdk.admin.productCollection.list({ q: "sale", limit: 100 });
    shaped(listed, page("collections", shapes.collection));
    assert.ok(listed.collections.some((each) => each.id === id));
  });
  made.category = await step("admin.productCategory.create", async () => {
    const body = { name: `Shoes ${mark}`, is_active: true };
    const { product_category: category } = await sdk.admin.productCategory.create(body);
    return shaped(category, { ...shapes.category, ...body });
  });
  await step("admin.productCategory.retrieve, update, list, delete", async () => {
    const body = { name: `Boots ${mark}`, parent_category_id: made.category.id };
    const { product_category: child } = await sdk.admin.productCategory.create(body);
    const found = await sdk.admin.productCategory.retrieve(child.id);
    shaped(found.product_category, { ...shapes.category, ...body });
    const changed = await sdk.admin.productCategory.update(child.id, { rank: 3 });
    shaped(changed.product_category, { ...shapes.category, ...body, rank: 3 });
    const query = { parent_category_id: [made.category.id] };
    const listed = await sdk.admin.productCategory.list(query);
    shaped(listed, { ...page("product_categories", shapes.category), count: 1 });
    const gone = await sdk.admin.productCategory.delete(child.id);
    shaped(gone, removed("product_category", child.id));
  });
  return made;
}

async function products(sdk, mark, { collection, category }) {
  const made = await step("admin.product.create", async () => {
    const body = {
      title: `Boot ${mark}`,
      subtitle: "Keeps dry",
      status: "published",
      collection_id: collection.id,
      weight: 900,
      metadata: { origin: "here" },
    };
    const { product } = await sdk.admin.product.create({
      ...body,
      categories: [{ id: category.id }],
      images: [{ url: "https://shop.test/boot.png" }],
      options: [{ title: "Size", values: ["40", "41", "42"] }],
      variants: ["40", "41"].map((size, number) => ({
        title: size,
        sku: `BOOT-${mark}-${size}`,
        options: { Size: size },
        prices: [{ currency_code: "eur", amount: 4900 + number }],
        inventory_quantity: 20,
      })),
    });
    shaped(product, { ...shapes.product, ...body, handle: `boot-${mark}` });
    assert.equal(product.variants.length, 2);
    assert.equal(product.collection.title, `Winter sale ${mark}`);
    assert.deepEqual(product.categories.map((each) => each.id), [category.id]);
    return product;
  });
  await step("admin.product.retrieve, with fields", async () => {
    const whole = await sdk.admin.product.retrieve(made.id);
    assert.deepEqual(whole.product, made);
    const some = await sdk.admin.product.retrieve(made.id, { fields: "id,title" });
    assert.deepEqual(some.product, { id: made.id, title: made.title });
    const more = await sdk.admin.product.retrieve(made.id, { fields: "*variants,+metadata" });
    shaped(more.product, shapes.product);
  });
  await step("admin.product.list, by page, order and filter", async () => {
    await sdk.admin.product.create({ title: `Lace ${mark}`, options: [] });
    const first = await sdk.admin.product.list({ limit: 1, order: "-created_at" });
    shaped(first, { ...page("products", shapes.product), limit: 1, offset: 0 });
    const second = await sdk.admin.product.list({ limit: 1, offset: 1, order: "-created_at" });
    shaped(second, { count: first.count, limit: 1, offset: 1 });
    assert.notEqual(first.products[0].id, second.products[0].id);
    for (const query of [
      { id: [made.id] },
      { id: made.id },
      { handle: made.handle },
      { q: `BOOT ${mark}` },
      { collection_id: [collection.id], status: ["published", "draft"] },
      { category_id: [category.id], fields: "id,handle" },
    ]) {
      const { products: found, count } = await sdk.admin.product.list(query);
      assert.deepEqual([count, found.map((each) => each.id)], [1, [made.id]], JSON.stringify(query));
    }
    const none = await sdk.admin.product.list({ id: [made.id], status: ["draft"] });
    assert.deepEqual([none.count, none.products], [0, []]);
  });
  await step("admin.product.update", async () => {
    const { product } = await sdk.admin.product.update(made.id, { subtitle: null, weight: 950 });
    shaped(product, { ...shapes.product, title: made.title, subtitle: null, weight: 950 });
  });
  return made;
}

async function variants(sdk, mark, { id, variants: [first, second] }) {
  await step("admin.product.listVariants and productVariant.list", async () => {
    const listed = await sdk.admin.product.listVariants(id, { order: "title" });
    shaped(listed, { ...page("variants", shapes.variant), count: 2 });
    assert.deepEqual(listed.variants.map((each) => each.title), ["40", "41"]);
    const anywhere = await sdk.admin.productVariant.list({ product_id: [id] });
    shaped(anywhere, { ...page("variants", shapes.variant), count: 2 });
  });
  await step("admin.product.retrieveVariant", async () => {
    const { variant } = await sdk.admin.product.retrieveVariant(id, first.id);
    shaped(variant, { ...shapes.variant, id: first.id, sku: `BOOT-${mark}-40` });
  });
  const third = await step("admin.product.createVariant", async () => {
    const body = { title: "42", options: { Size: "42" } };
    const prices = [{ currency_code: "eur", amount: 5100 }];
    const { product } = await sdk.admin.product.createVariant(id, { ...body, prices });
    shaped(product, { ...shapes.product, id });
    assert.equal(product.variants.length, 3);
    return product.variants[2];
  });
  await step("admin.product.updateVariant", async () => {
    const body = { title: "42 wide", prices: [{ currency_code: "eur", amount: 5200 }] };
    const { product } = await sdk.admin.product.updateVariant(id, third.id, body);
    const changed = product.variants.find((each) => each.id === third.id);
    shaped(changed, { title: "42 wide", prices: (prices) => assert.equal(prices[0].amount, 5200) });
  });
  await step("admin.product.batchVariants", async () => {
    const answer = await sdk.admin.product.batchVariants(id, {
      create: [{ title: "42 narrow", options: { Size: "42" }, prices: [] }],
      update: [{ id: second.id, barcode: "4006381333931" }],
      delete: [third.id],
    });
    shaped(answer, {
      created: [{ ...shapes.variant, title: "42 narrow" }],
      updated: [{ ...shapes.variant, id: second.id, barcode: "4006381333931" }],
      deleted: { ids: [third.id], object: "variant", deleted: true },
    });
    assert.deepEqual([answer.created.length, answer.updated.length], [1, 1]);
    const gone = await sdk.admin.product.deleteVariant(id, answer.created[0].id);
    shaped(gone, removed("variant", answer.created[0].id));
    shaped(gone.parent, { ...shapes.product, id });
    assert.equal(gone.parent.variants.length, 2);
  });
}

async function customers(sdk, mark) {
  const email = `kept-${mark}@mail.test`;
  const made = await step("admin.customer.create", async () => {
    const body = { email, first_name: "Ada", company_name: "Engines", phone: "12345" };
    const { customer } = await sdk.admin.customer.create(body);
    return shaped(customer, { ...shapes.customer, ...body, has_account: false, last_name: null });
  });
  await step("admin.customer.retrieve, update, list", async () => {
    const { customer } = await sdk.admin.customer.update(made.id, { last_name: "Byron" });
    shaped(customer, { ...shapes.customer, id: made.id, last_name: "Byron" });
    const found = await sdk.admin.customer.retrieve(made.id, { fields: "+metadata,*addresses" });
    assert.deepEqual(found.customer, customer);
    for (const query of [{ q: mark }, { email, has_account: false }, { id: [made.id] }]) {
      const listed = await sdk.admin.customer.list({ ...query, limit: 5 });
      shaped(listed, { ...page("customers", shapes.customer), limit: 5 });
      assert.ok(listed.customers.some((each) => each.id === made.id), JSON.stringify(query));
    }
  });
  await step("admin.customer.createAddress, updateAddress, listAddresses, deleteAddress", async () => {
    const body = { city: "London", country_code: "gb", is_default_shipping: true };
    const { customer } = await sdk.admin.customer.createAddress(made.id, body);
    const [{ id }] = shaped(customer.addresses, [{ ...shapes.address, ...body }]);
    const changed = await sdk.admin.customer.updateAddress(made.id, id, { city: "Ockham" });
    shaped(changed.customer.addresses, [{ ...shapes.address, id, city: "Ockham" }]);
    const listed = await sdk.admin.customer.listAddresses(made.id);
    shaped(listed, { ...page("addresses", shapes.address), count: 1 });
    const { address } = await sdk.admin.customer.retrieveAddress(made.id, id);
    shaped(address, { ...shapes.address, id });
    const gone = await sdk.admin.customer.deleteAddress(made.id, id);
    shaped(gone, { ...removed("customer_address", id), parent: { addresses: [] } });
    assert.deepEqual(gone.parent.addresses, []);
  });
  await step("admin.customer.delete", async () => {
    shaped(await sdk.admin.customer.delete(made.id), removed("customer", made.id));
    await refused(sdk.admin.customer.retrieve(made.id), 404, /not found/);
  });
}

async function orders(sdk, { order, other }) {
  await step("admin.order.list and retrieve", async () => {
    const found = await sdk.admin.order.retrieve(order.id, { fields: "+email,*items" });
    shaped(found.order, { ...shapes.order, id: order.id, total: order.total });
    for (const query of [
      { id: [order.id] },
      { display_id: order.display_id },
      { email: order.email, status: ["pending"] },
      { customer_id: [order.customer_id], limit: 3, order: "-display_id" },
    ]) {
      const listed = await sdk.admin.order.list(query);
      shaped(listed, page("orders", shapes.order));
      assert.ok(listed.orders.some((each) => each.id === order.id), JSON.stringify(query));
    }
  });
  await step("admin.order.update", async () => {
    const answer = await sdk.admin.order.update(order.id, { metadata: { gift: true } });
    shaped(answer.order, { ...shapes.order, metadata: { gift: true } });
  });
  await step("admin.order.createFulfillment", async () => {
    const items = order.items.map(({ id, quantity }) => ({ id, quantity }));
    const answer = await sdk.admin.order.createFulfillment(order.id, { items });
    shaped(answer.order, { ...shapes.order, fulfillment_status: "fulfilled" });
    await refused(sdk.admin.order.cancel(order.id), 400, /cannot be canceled/);
  });
  await step("admin.order.complete", async () => {
    const answer = await sdk.admin.order.complete(order.id, {});
    shaped(answer.order, { ...shapes.order, status: "completed" });
  });
  await step("admin.order.cancel", async () => {
    const answer = await sdk.admin.order.cancel(other.id);
    shaped(answer.order, { ...shapes.order, id: other.id, status: "canceled" });
  });
}

async function refusals(sdk, Medusa, baseUrl) {
  await step("errors carry the status and say what is wrong", async () => {
    const nowhere = "00000000-0000-7000-8000-000000000000";
    await refused(sdk.admin.product.retrieve(nowhere), 404, /^Product with id .* not found$/);
    await refused(sdk.admin.product.create({ subtitle: 5 }), 400, /^Invalid request: .*title/);
    await refused(sdk.admin.product.list({ limit: "abc" }), 400, /limit/);
    await refused(new Medusa({ baseUrl }).admin.product.list(), 401, /token/);
  });
}

async function cleared(sdk, { id }, { collection, category }) {
  await step("admin.product.delete, productCollection.delete, productCategory.delete", async () => {
    shaped(await sdk.admin.product.delete(id), removed("product", id));
    await refused(sdk.admin.product.retrieve(id), 404, /not found/);
    const gone = await sdk.admin.productCollection.delete(collection.id);
    shaped(gone, removed("collection", collection.id));
    const left = await sdk.admin.productCategory.delete(category.id);
    shaped(left, removed("product_category", category.id));
  });
}

module.exports = { cleared, customers, groups, orders, products, refusals, variants };
