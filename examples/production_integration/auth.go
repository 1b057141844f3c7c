package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory/pgdbm"
)

//go:embed migrations/*.sql
var authMigrations embed.FS

// auth knows which owner an API key stands for.
type auth struct {
	db *pgdbm.DB
}

var errUnknownKey = errors.New("unknown API key")

func newAuth(ctx context.Context, db *pgdbm.DB) (*auth, error) {
	files, err := fs.Sub(authMigrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "api_keys", files); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return &auth{db: db}, nil
}

// replace makes keys, a map from API key to owner, the only ones that are valid.
func (a *auth) replace(ctx context.Context, keys map[string]string) error {
	hashes, owners := make([][]byte, 0, len(keys)), make([]string, 0, len(keys))
	for key, owner := range keys {
		hashes, owners = append(hashes, hash(key)), append(owners, owner)
	}
	return a.db.InTx(ctx, nil, func(tx *pgdbm.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM {{tables.api_keys}} WHERE key_hash <> ALL ($1::bytea[])", hashes); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO {{tables.api_keys}} (key_hash, owner_id) SELECT * FROM unnest($1::bytea[], $2::text[])
			ON CONFLICT (key_hash) DO UPDATE SET owner_id = excluded.owner_id`, hashes, owners)
		return err
	})
}

// owner returns the owner that a key stands for, or errUnknownKey.
func (a *auth) owner(ctx context.Context, key string) (string, error) {
	var owner string
	err := a.db.QueryRow(ctx, "SELECT owner_id FROM {{tables.api_keys}} WHERE key_hash = $1", hash(key)).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", errUnknownKey
	}
	return owner, err
}

// hash suffices without salt because keys are long and random, unlike passwords.
func hash(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}
