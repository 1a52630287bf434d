package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const foreignKeyViolation, checkViolation = "23503", "23514"

type message struct {
	inbox    string
	seq      int64
	token    int64
	key      *string // NULL: no key
	payload  *string // NULL: a tombstone
	attempts int
}

// next gives nil when there is nothing.
func next(ctx context.Context, db interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}, sql string) (*message, error) {
	var m message
	err := db.QueryRow(ctx, sql).Scan(&m.inbox, &m.seq, &m.token, &m.key, &m.payload, &m.attempts)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &m, err
}

func pay(ctx context.Context, tx pgx.Tx, m *message) error {
	_, err := tx.Exec(ctx, `INSERT INTO payments (order_id, amount)
		SELECT p ->> 'order', (p ->> 'amount')::numeric FROM CAST($1 AS json) AS p`, m.payload)
	return err
}

func sqlState(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// finish does the work behind a savepoint, which BeginFunc makes within a transaction.
func finish(ctx context.Context, tx pgx.Tx, m *message) (outcome string, err error) {
	err = pgx.BeginFunc(ctx, tx, func(work pgx.Tx) error { return pay(ctx, work, m) })
	switch sqlState(err) {
	case foreignKeyViolation: // the order is not there yet
		delay := time.Minute
		if m.attempts < 6 {
			delay = time.Second << m.attempts
		}
		_, err = tx.Exec(ctx, "SELECT relay.retry($1, $2, $3, $4)", m.inbox, m.seq, delay, err.Error())
		return "later", err
	case checkViolation:
		_, err = tx.Exec(ctx, "SELECT relay.reject($1, $2, $3)", m.inbox, m.seq, err.Error())
		return "rejected", err
	}
	if err == nil {
		_, err = tx.Exec(ctx, "SELECT relay.done($1, $2)", m.inbox, m.seq)
	}
	return "paid", err
}

func take(ctx context.Context, db *pgx.Conn) (m *message, outcome string, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		m, err = next(ctx, tx, "SELECT inbox, seq, 0::bigint, key, payload, attempts FROM relay.take()")
		if err == nil && m != nil {
			outcome, err = finish(ctx, tx, m)
		}
		return err
	})
	return m, outcome, err
}

func claim(ctx context.Context, db *pgx.Conn) (m *message, outcome string, err error) {
	m, err = next(ctx, db, `SELECT inbox, seq, token, key, payload, attempts
		FROM relay.claim('main', 1, '5 minutes')`)
	if m == nil || err != nil {
		return nil, "", err
	}
	// Here is what takes long: no transaction is open.
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := pay(ctx, tx, m); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT relay.ack($1, $2, $3)", m.inbox, m.seq, m.token)
		return err
	})
	if sqlState(err) == foreignKeyViolation {
		_, err = db.Exec(ctx, "SELECT relay.nack($1, $2, $3, $4, $5)", m.inbox, m.seq, m.token, time.Second, err.Error())
		return m, "later", err
	}
	return m, "paid", err
}

// wait returns at a notification or after a second, whichever is first.
func wait(ctx context.Context, db *pgx.Conn) error {
	second, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := db.WaitForNotification(second)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func work(ctx context.Context, db *pgx.Conn, mode string, count int) error {
	step := take
	if mode == "claim" {
		step = claim
	}
	_, err := db.Exec(ctx, "LISTEN relay_inbox")
	for count > 0 && err == nil {
		var m *message
		var outcome string
		if m, outcome, err = step(ctx, db); err != nil {
			return err
		}
		if m == nil {
			err = wait(ctx, db)
			continue
		}
		fmt.Println(outcome, *m.key, *m.payload)
		if outcome != "later" {
			count--
		}
	}
	return err
}

func main() {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, "") // the PG* variables
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close(ctx)
	count, _ := strconv.Atoi(os.Args[2])
	if err := work(ctx, db, os.Args[1], count); err != nil {
		log.Fatal(err)
	}
}
