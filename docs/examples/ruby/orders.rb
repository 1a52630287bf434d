require "active_record"

TOPIC = "orders.events.v1"
ActiveRecord::Base.establish_connection(adapter: "postgresql", database: ENV.fetch("PGDATABASE"))

class Order < ActiveRecord::Base
end

# relay.outbox without xid and seq. The primary key is only for ActiveRecord, the table has none.
class Outbox < ActiveRecord::Base
  self.table_name = "relay.outbox"
  self.primary_key = "id"
  self.ignored_columns = %w[xid seq]
  self.inheritance_column = nil # type is the name of the event
  attribute :payload, :json
  attribute :headers, :json
end

# With OpenTelemetry: OpenTelemetry.propagation.inject(headers = {}); headers
def trace_headers
  { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" }
end

def publish(topic, key, payload, type)
  Outbox.connection.select_value(Outbox.sanitize_sql(
    ["SELECT relay.publish(?, ?, ?::json, type => ?, headers => ?::json)",
     topic, key, payload.to_json, type, trace_headers.to_json]))
end

def place(order, total)
  Order.transaction do
    Order.create!(id: order, total: total)
    event = Outbox.create!(topic: TOPIC, key: order, payload: { order: order, total: total }, type: "OrderPlaced",
                           headers: trace_headers)
    raise ArgumentError, "an order has to cost something" unless total.positive?
    event.id
  end
end

def pay(order, label)
  Order.transaction do
    Order.lock.find(order).update!(paid: true) # the lock, before anything is published
    event = publish(TOPIC, order, { order: order }, "OrderPaid")
    Outbox.create!(topic: TOPIC, key_bytes: order, payload_bytes: label, type: "LabelPrinted")
    event
  end
end

puts "placed #{place('order-1', 42.5)}"
puts "paid #{pay('order-1', "\x0a\x00\xff".b)}"
begin
  place("order-2", 0)
rescue ArgumentError => error
  puts "rolled back: #{error.message}"
end
