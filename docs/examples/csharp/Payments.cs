using System.Text.Json;
using Npgsql;

await using var connection = new NpgsqlConnection(Environment.GetEnvironmentVariable("ORDERS_DATABASE"));
await connection.OpenAsync();
await Execute("LISTEN relay_inbox");
for (var left = int.Parse(args[0]); left > 0;)
{
    switch (await Take())
    {
        case null: await connection.WaitAsync(1000); break; // a notification or a second, whichever is first
        case "later": break;
        default: left--; break;
    }
}

async Task Execute(string sql, params object[] parameters)
{
    await using var command = new NpgsqlCommand(sql, connection);
    foreach (var parameter in parameters) command.Parameters.Add(new NpgsqlParameter { Value = parameter });
    await command.ExecuteNonQueryAsync();
}

async Task<Message?> Next(string sql)
{
    await using var command = new NpgsqlCommand(sql, connection);
    await using var row = await command.ExecuteReaderAsync();
    return await row.ReadAsync() ? new Message(row.GetString(0), row.GetInt64(1), row.GetString(2), row.GetInt32(3)) : null;
}

async Task Pay(Message message)
{
    using var payment = JsonDocument.Parse(message.Payload);
    await Execute("INSERT INTO payments (order_id, amount) VALUES ($1, $2)",
        payment.RootElement.GetProperty("order").GetString()!, payment.RootElement.GetProperty("amount").GetDecimal());
}

async Task<string?> Take()
{
    await using var transaction = await connection.BeginTransactionAsync(); // READ COMMITTED
    var message = await Next("SELECT inbox, seq, payload, attempts FROM relay.take()");
    if (message is null)
    {
        await transaction.CommitAsync(); // what the take put in order on its way
        return null;
    }
    await transaction.SaveAsync("work"); // behind the take
    string outcome;
    try
    {
        await Pay(message);
        await Execute("SELECT relay.done($1, $2)", message.Inbox, message.Seq);
        outcome = "paid";
    }
    catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.ForeignKeyViolation) // the order is not there yet
    {
        await transaction.RollbackAsync("work");
        await Execute("SELECT relay.retry($1, $2, $3, $4)", message.Inbox, message.Seq,
            TimeSpan.FromSeconds(1 << Math.Min(message.Attempts, 6)), e.MessageText);
        outcome = "later";
    }
    catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.CheckViolation)
    {
        await transaction.RollbackAsync("work");
        await Execute("SELECT relay.reject($1, $2, $3)", message.Inbox, message.Seq, e.MessageText);
        outcome = "rejected";
    }
    await transaction.CommitAsync();
    Console.WriteLine($"{outcome} {message.Payload}");
    return outcome;
}

record Message(string Inbox, long Seq, string Payload, int Attempts);
