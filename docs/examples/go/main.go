package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"
)

const topic = "orders.events.v1"

type object map[string]any

// With OpenTelemetry: otel.GetTextMapPropagator().Inject(ctx, propagation.MapCarrier(headers))
func traceHeaders(ctx context.Context) map[string]string {
	return map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
}

func place(ctx context.Context, db *pgx.Conn, order string, total float64) (event string, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO orders (id, total) VALUES ($1, $2)", order, total); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `INSERT INTO relay.outbox (topic, key, payload, type, headers)
			VALUES ($1, $2, $3::json, $4, $5::json) RETURNING id`,
			topic, order, object{"order": order, "total": total}, "OrderPlaced", traceHeaders(ctx)).Scan(&event)
		if err != nil {
			return err
		}
		if total <= 0 {
			return errors.New("an order has to cost something")
		}
		return nil
	})
	return event, err
}

func pay(ctx context.Context, db *pgx.Conn, order string, label []byte) (event string, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// Lock, then publish.
		if _, err := tx.Exec(ctx, "SELECT total FROM orders WHERE id = $1 FOR UPDATE", order); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE orders SET paid = true WHERE id = $1", order); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, "SELECT relay.publish($1, $2, $3::json, type => $4, headers => $5::json)",
			topic, order, object{"order": order}, "OrderPaid", traceHeaders(ctx)).Scan(&event)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO relay.outbox (topic, key_bytes, payload_bytes, type) VALUES ($1, $2, $3, $4)",
			topic, []byte(order), label, "LabelPrinted")
		return err
	})
	return event, err
}

func main() {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, "") // the PG* variables
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close(ctx)
	event, err := place(ctx, db, "order-1", 42.5)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("placed", event)
	if event, err = pay(ctx, db, "order-1", []byte{0x0a, 0x00, 0xff}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("paid", event)
	_, err = place(ctx, db, "order-2", 0)
	fmt.Println("rolled back:", err)
}
