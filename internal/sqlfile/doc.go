// Package sqlfile keeps SQL in .sql files, where it can be read and reviewed
// as SQL, and binds it to a schema.
//
// A file holds named statements:
//
//	-- name: add_chunk
//	INSERT INTO {{tables.chunks}} (id, text) VALUES ($1, $2)
//
// [Load] reads all of them, [Set.Render] binds them to one schema, and
// [Set.Get] hands one out. The templates are those of [Render]; they are the
// only thing that is ever substituted into SQL text.
package sqlfile
