import pg from "pg";

const TOPIC = "orders.events.v1";
const pool = new pg.Pool();

// With OpenTelemetry: const headers = {}; propagation.inject(context.active(), headers); return headers;
const traceHeaders = () => ({ traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" });

// All queries of a transaction go to one client: pool.query() takes any.
async function transaction(work) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

const place = (order, total) => transaction(async (client) => {
  await client.query("INSERT INTO orders (id, total) VALUES ($1, $2)", [order, total]);
  const event = await client.query(
    "INSERT INTO relay.outbox (topic, key, payload, type, headers) VALUES ($1, $2, $3, $4, $5) RETURNING id",
    [TOPIC, order, JSON.stringify({ order, total }), "OrderPlaced", JSON.stringify(traceHeaders())]);
  if (total <= 0) throw new Error("an order has to cost something");
  return event.rows[0].id;
});

const pay = (order, label) => transaction(async (client) => {
  await client.query("SELECT total FROM orders WHERE id = $1 FOR UPDATE", [order]); // lock, then publish
  await client.query("UPDATE orders SET paid = true WHERE id = $1", [order]);
  const event = await client.query(
    "SELECT relay.publish($1, $2, $3::json, type => $4, headers => $5::json) AS id",
    [TOPIC, order, JSON.stringify({ order }), "OrderPaid", JSON.stringify(traceHeaders())]);
  await client.query(
    "INSERT INTO relay.outbox (topic, key_bytes, payload_bytes, type) VALUES ($1, $2, $3, $4)",
    [TOPIC, Buffer.from(order), label, "LabelPrinted"]);
  return event.rows[0].id;
});

console.log("placed", await place("order-1", 42.5));
console.log("paid", await pay("order-1", Buffer.from([0x0a, 0x00, 0xff])));
await place("order-2", 0).catch((error) => console.log("rolled back:", error.message));
await pool.end();
