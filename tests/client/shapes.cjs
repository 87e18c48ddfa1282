// What the client's types promise of each thing, where Medusa and Impact both have it.

"use strict";

const stamps = { created_at: "time", updated_at: "time" };

const variant = {
  id: "uuid",
  title: "text",
  sku: "text?",
  barcode: "text?",
  allow_backorder: "flag",
  manage_inventory: "flag",
  variant_rank: "count",
  product_id: "uuid",
  metadata: "object?",
  options: [{ value: "text", option: { title: "text" } }],
  prices: [{ id: "uuid", currency_code: "text", amount: "count" }],
  ...stamps,
};

const group = { id: "uuid", handle: "text", metadata: "object?", ...stamps };
const collection = { title: "text", ...group };
const category = {
  name: "text",
  description: "text",
  is_active: "flag",
  rank: "count",
  parent_category_id: "uuid?",
  ...group,
};

const storeProduct = {
  id: "uuid",
  title: "text",
  subtitle: "text?",
  description: "text?",
  handle: "text",
  is_giftcard: "flag",
  discountable: "flag",
  thumbnail: "text?",
  collection_id: "uuid?",
  weight: "count?",
  material: "text?",
  options: [{ id: "uuid", title: "text", values: [{ id: "text", value: "text" }] }],
  images: [{ id: "uuid", url: "text", rank: "count" }],
  tags: [{ value: "text" }],
  categories: [{ id: "uuid", name: "text", handle: "text" }],
  ...stamps,
};
const product = {
  ...storeProduct,
  status: /^(draft|proposed|published|rejected)$/,
  external_id: "text?",
  metadata: "object?",
  variants: [variant],
};
const price = {
  calculated_amount: "count",
  original_amount: "count",
  currency_code: "text",
};

const address = {
  id: "uuid",
  customer_id: "uuid",
  address_name: "text?",
  is_default_shipping: "flag",
  is_default_billing: "flag",
  company: "text?",
  first_name: "text?",
  last_name: "text?",
  address_1: "text?",
  address_2: "text?",
  city: "text?",
  country_code: "text?",
  province: "text?",
  postal_code: "text?",
  phone: "text?",
  ...stamps,
};
const customer = {
  id: "uuid",
  email: "text",
  company_name: "text?",
  first_name: "text?",
  last_name: "text?",
  phone: "text?",
  has_account: "flag",
  metadata: "object?",
  addresses: [address],
  ...stamps,
};

const line = {
  id: "uuid",
  title: "text",
  thumbnail: "text?",
  variant_id: "uuid",
  product_id: "uuid",
  variant_title: "text",
  variant_sku: "text?",
  quantity: "count",
  unit_price: "count",
  total: "count",
};
const cart = {
  id: "uuid",
  email: "text?",
  currency_code: "text",
  customer_id: "uuid?",
  item_total: "count",
  total: "count",
  metadata: "object?",
  completed_at: "time?",
  items: [{ ...line, product_title: "text", product_handle: "text" }],
  shipping_address: "object?",
  billing_address: "object?",
  ...stamps,
};
const order = {
  id: "uuid",
  display_id: "count",
  status: /^(pending|completed|canceled)$/,
  fulfillment_status: "text",
  email: "text",
  customer_id: "uuid?",
  currency_code: "text",
  item_total: "count",
  total: "count",
  metadata: "object?",
  items: [line],
  shipping_address: "object?",
  billing_address: "object?",
  ...stamps,
};

module.exports = {
  address,
  cart,
  category,
  collection,
  customer,
  order,
  price,
  product,
  storeProduct,
  variant,
};
