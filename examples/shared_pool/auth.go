package main

import (
	"context"
	"embed"
	"io/fs"

	"github.com/llmemory/llmemory/pgdbm"
)

//go:embed migrations/*.sql
var authMigrations embed.FS

// auth is a service of the application's own: it knows nothing of llmemory and uses pgdbm for its tables too.
type auth struct {
	db *pgdbm.DB
}

func newAuth(ctx context.Context, db *pgdbm.DB) (*auth, error) {
	files, err := fs.Sub(authMigrations, "migrations")
	if err != nil {
		return nil, err
	}
	return &auth{db: db}, db.Migrate(ctx, "auth", files)
}

// register makes a user known, or moves a known one to another workspace.
func (a *auth) register(ctx context.Context, name, workspace string) error {
	_, err := a.db.Exec(ctx, `
		INSERT INTO {{tables.users}} (name, workspace) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET workspace = excluded.workspace`, name, workspace)
	return err
}

// workspace returns a user's workspace. The error matches pgx.ErrNoRows for an unknown user.
func (a *auth) workspace(ctx context.Context, name string) (string, error) {
	var workspace string
	err := a.db.QueryRow(ctx, "SELECT workspace FROM {{tables.users}} WHERE name = $1", name).Scan(&workspace)
	return workspace, err
}
