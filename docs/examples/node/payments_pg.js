import pg from "pg";

const FOREIGN_KEY_VIOLATION = "23503", CHECK_VIOLATION = "23514";
const client = new pg.Client();
await client.connect();

const pay = (message) => {
  const { order, amount } = JSON.parse(message.payload);
  return client.query("INSERT INTO payments (order_id, amount) VALUES ($1, $2)", [order, amount]);
};

const transaction = async (work) => {
  await client.query("BEGIN");
  try {
    const result = await work();
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  }
};

const say = (message, outcome) => {
  console.log(outcome, message.key, message.payload);
  return outcome;
};

const finish = async ({ inbox, seq, attempts }, work) => {
  await client.query("SAVEPOINT work"); // behind the take
  try {
    await work();
    await client.query("SELECT relay.done($1, $2)", [inbox, seq]);
    return "paid";
  } catch (error) {
    await client.query("ROLLBACK TO work");
    if (error.code === FOREIGN_KEY_VIOLATION) { // the order is not there yet
      await client.query("SELECT relay.retry($1, $2, $3, $4)",
        [inbox, seq, `${2 ** Math.min(attempts, 6)} seconds`, error.message]);
      return "later";
    }
    if (error.code === CHECK_VIOLATION) {
      await client.query("SELECT relay.reject($1, $2, $3)", [inbox, seq, error.message]);
      return "rejected";
    }
    throw error;
  }
};

const take = async () => {
  const [message, outcome] = await transaction(async () => {
    const { rows: [message] } = await client.query("SELECT * FROM relay.take()");
    return [message, message && await finish(message, () => pay(message))];
  });
  return message && say(message, outcome);
};

const claim = async () => {
  const { rows: [message] } = await client.query("SELECT * FROM relay.claim('main', 1, '5 minutes')");
  if (!message) return undefined;
  // Here is what takes long: no transaction is open.
  const { inbox, seq, token } = message;
  try {
    await transaction(async () => {
      await pay(message);
      await client.query("SELECT relay.ack($1, $2, $3)", [inbox, seq, token]);
    });
    return say(message, "paid");
  } catch (error) {
    if (error.code !== FOREIGN_KEY_VIOLATION) throw error;
    await client.query("SELECT relay.nack($1, $2, $3, '1 second', $4)", [inbox, seq, token, error.message]);
    return say(message, "later");
  }
};

// A notification that comes during a take is kept for the wait behind it.
let notified = false;
let wake = () => {};
client.on("notification", () => { notified = true; wake(); });
const wait = async () => {
  if (!notified) await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 1000); });
  notified = false;
};

const [mode, count] = process.argv.slice(2);
await client.query("LISTEN relay_inbox");
for (let left = Number(count); left > 0;) {
  const outcome = await (mode === "claim" ? claim() : take());
  if (!outcome) await wait();
  else if (outcome !== "later") left -= 1;
}
await client.end();
