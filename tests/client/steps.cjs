// Named steps, each printed as it passes; the first that fails ends the program with status 1.

"use strict";

const assert = require("node:assert/strict");
const { FetchError } = require("@medusajs/js-sdk");

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const KINDS = {
  uuid: (value) => typeof value === "string" && UUID.test(value),
  text: (value) => typeof value === "string",
  count: Number.isInteger,
  flag: (value) => typeof value === "boolean",
  time: (value) => typeof value === "string" && !Number.isNaN(Date.parse(value)),
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};

let passed = 0;

async function step(name, work) {
  try {
    const result = await work();
    passed += 1;
    console.log(`ok ${passed} ${name}`);
    return result;
  } catch (error) {
    console.error(`FAILED ${name}\n${error.stack}`);
    process.exit(1);
  }
}

// A shape is the name of a kind, with "?" where it may be null; a list of one shape; a RegExp; a
// function; an object of shapes, whose other fields are free; or any other value, which is meant.
function shaped(value, shape, path = "answer") {
  const wrong = () => `${path} is ${JSON.stringify(value)}, not ${JSON.stringify(shape)}`;
  if (typeof shape === "function") {
    shape(value);
  } else if (shape instanceof RegExp) {
    assert.match(value, shape, path);
  } else if (Array.isArray(shape)) {
    assert.ok(Array.isArray(value), wrong());
    value.forEach((item, number) => shaped(item, shape[0], `${path}[${number}]`));
  } else if (typeof shape === "object" && shape !== null) {
    assert.ok(KINDS.object(value), wrong());
    for (const [name, inner] of Object.entries(shape)) {
      assert.ok(name in value, `${path} lacks ${name}: ${JSON.stringify(value)}`);
      shaped(value[name], inner, `${path}.${name}`);
    }
  } else {
    const kind = typeof shape === "string" && KINDS[shape.replace(/\?$/, "")];
    if (!kind) {
      assert.deepEqual(value, shape, wrong());
    } else if (!(shape.endsWith("?") && value === null)) {
      assert.ok(kind(value), wrong());
    }
  }
  return value;
}

// A page as Medusa's lists answer it.
function page(key, shape) {
  return { [key]: [shape], count: "count", offset: "count", limit: "count" };
}

// The call must fail as the client reports failures: with the status and a sentence.
async function refused(call, status, message) {
  const error = await call.then(
    (value) => assert.fail(`it was answered: ${JSON.stringify(value)}`),
    (reason) => reason,
  );
  assert.ok(error instanceof FetchError, error.stack);
  assert.equal(error.status, status, error.message);
  assert.match(error.message, message);
}

module.exports = { step, shaped, page, refused, count: () => passed };
