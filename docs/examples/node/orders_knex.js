import knex from "knex";

const TOPIC = "orders.events.v1";
const db = knex({ client: "pg", connection: {} });

// With OpenTelemetry: const headers = {}; propagation.inject(context.active(), headers); return headers;
const traceHeaders = () => ({ traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" });

// Everything in the callback uses trx: what goes to db is outside of the transaction.
const place = (order, total) => db.transaction(async (trx) => {
  await trx("orders").insert({ id: order, total });
  const [event] = await trx("relay.outbox").insert({
    topic: TOPIC, key: order, payload: JSON.stringify({ order, total }), type: "OrderPlaced",
    headers: JSON.stringify(traceHeaders()),
  }).returning("id");
  if (total <= 0) throw new Error("an order has to cost something");
  return event.id;
});

const pay = (order, label) => db.transaction(async (trx) => {
  await trx("orders").where({ id: order }).forUpdate().first(); // lock, then publish
  await trx("orders").where({ id: order }).update({ paid: true });
  const { rows: [event] } = await trx.raw(
    "SELECT relay.publish(:topic, :key, :payload::json, type => :type, headers => :headers::json) AS id",
    { topic: TOPIC, key: order, payload: JSON.stringify({ order }), type: "OrderPaid",
      headers: JSON.stringify(traceHeaders()) });
  await trx("relay.outbox").insert({
    topic: TOPIC, key_bytes: Buffer.from(order), payload_bytes: label, type: "LabelPrinted",
  });
  return event.id;
});

console.log("placed", await place("order-1", 42.5));
console.log("paid", await pay("order-1", Buffer.from([0x0a, 0x00, 0xff])));
await place("order-2", 0).catch((error) => console.log("rolled back:", error.message));
await db.destroy();
