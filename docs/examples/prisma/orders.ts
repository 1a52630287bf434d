await prisma.$transaction(async (tx) => {
  await tx.order.create({ data: { id: order, total } });
  await tx.outbox.create({
    data: { topic, key: order, payload: JSON.stringify({ order, total }), type: "OrderPlaced",
            headers: JSON.stringify(traceHeaders()) },
  });
});

await prisma.$transaction(async (tx) => {
  await tx.$queryRaw`SELECT total FROM orders WHERE id = ${order} FOR UPDATE`; // lock, then publish
  await tx.order.update({ where: { id: order }, data: { paid: true } });
  await tx.$queryRaw`SELECT relay.publish(${topic}, ${order}, ${JSON.stringify({ order })}::json, type => ${"OrderPaid"},
                                          headers => ${JSON.stringify(traceHeaders())}::json)`;
});
