using System.Text.Json;
using Microsoft.EntityFrameworkCore;

const string Topic = "orders.events.v1";

// With OpenTelemetry: Propagators.DefaultTextMapPropagator.Inject(context, headers, (h, name, value) => h[name] = value)
Dictionary<string, string> TraceHeaders() =>
    new() { ["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };

async Task<Guid> Place(string order, decimal total)
{
    await using var db = new OrdersContext();
    await using var transaction = await db.Database.BeginTransactionAsync();
    db.Add(new Order { Id = order, Total = total });
    var placed = new Outbox
    {
        Topic = Topic, Key = order, Payload = JsonSerializer.Serialize(new { order, total }),
        Type = "OrderPlaced", Headers = JsonSerializer.Serialize(TraceHeaders()),
    };
    db.Add(placed);
    await db.SaveChangesAsync();
    if (total <= 0) throw new InvalidOperationException("an order has to cost something"); // disposed: rolled back
    await transaction.CommitAsync();
    return placed.Id;
}

async Task<Guid> Pay(string order, byte[] label)
{
    await using var db = new OrdersContext();
    await using var transaction = await db.Database.BeginTransactionAsync();
    // The lock, before anything is published.
    var paid = await db.Orders.FromSql($"SELECT * FROM orders WHERE id = {order} FOR UPDATE").SingleAsync();
    paid.Paid = true;
    string payload = JsonSerializer.Serialize(new { order }), headers = JsonSerializer.Serialize(TraceHeaders());
    var ids = await db.Database.SqlQuery<Guid>($"""
        SELECT relay.publish({Topic}, {order}, {payload}::json, type => {"OrderPaid"}, headers => {headers}::json) AS "Value"
        """).ToListAsync();
    db.Add(new Outbox
    {
        Topic = Topic, KeyBytes = System.Text.Encoding.UTF8.GetBytes(order), PayloadBytes = label, Type = "LabelPrinted",
    });
    await db.SaveChangesAsync();
    await transaction.CommitAsync();
    return ids.Single();
}

Console.WriteLine($"placed {await Place("order-1", 42.5m)}");
Console.WriteLine($"paid {await Pay("order-1", [0x0a, 0x00, 0xff])}");
try { await Place("order-2", 0); }
catch (InvalidOperationException e) { Console.WriteLine($"rolled back: {e.Message}"); }

public class Order
{
    public required string Id { get; set; }
    public decimal Total { get; set; }
    public bool Paid { get; set; }
}

// relay.outbox without xid, seq and created_at, which fill themselves. The key is only for EF, the table has none.
public class Outbox
{
    public Guid Id { get; set; } = Guid.NewGuid();
    public required string Topic { get; set; }
    public string? Key { get; set; }
    public byte[]? KeyBytes { get; set; }
    public string? Payload { get; set; }
    public byte[]? PayloadBytes { get; set; }
    public string? Type { get; set; }
    public string? Headers { get; set; }
}

public class OrdersContext : DbContext
{
    public DbSet<Order> Orders => Set<Order>();

    protected override void OnConfiguring(DbContextOptionsBuilder options) =>
        options.UseNpgsql(Environment.GetEnvironmentVariable("ORDERS_DATABASE"));

    protected override void OnModelCreating(ModelBuilder model)
    {
        model.Entity<Order>(order =>
        {
            order.ToTable("orders");
            order.Property(o => o.Id).HasColumnName("id");
            order.Property(o => o.Total).HasColumnName("total");
            order.Property(o => o.Paid).HasColumnName("paid");
        });
        model.Entity<Outbox>(outbox =>
        {
            outbox.ToTable("outbox", "relay", table => table.ExcludeFromMigrations());
            outbox.Property(o => o.Id).HasColumnName("id").ValueGeneratedNever();
            outbox.Property(o => o.Topic).HasColumnName("topic");
            outbox.Property(o => o.Key).HasColumnName("key");
            outbox.Property(o => o.KeyBytes).HasColumnName("key_bytes");
            outbox.Property(o => o.Payload).HasColumnName("payload");
            outbox.Property(o => o.PayloadBytes).HasColumnName("payload_bytes");
            outbox.Property(o => o.Type).HasColumnName("type");
            outbox.Property(o => o.Headers).HasColumnName("headers");
        });
    }
}
