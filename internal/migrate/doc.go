// Package migrate applies numbered SQL files to a database, once each, however
// many processes try at the same time.
//
// The engine knows rules and order; a [Driver] knows a database. It uses no
// session state: every file has a transaction of its own, which takes the
// migration lock, looks again at what has been applied, runs the file and
// records it. That is right behind a transaction pooler too, where a session
// lock would be held by whoever gets the server connection next.
//
// # Files
//
//	001_create_notes.sql        number, underscore, name
//	001_create_notes.down.sql   how to undo it; optional
//
// Other .sql files in the folder are refused, since they are most likely
// misspelt. Files of other kinds are ignored. A file whose first line is
//
//	-- pgdbm:no-transaction
//
// is run statement by statement outside any transaction, for commands such as
// CREATE INDEX CONCURRENTLY that allow none. A lease row keeps other processes
// out, and progress is recorded after each statement, so that the next start
// goes on where a failed one ended. A statement interrupted between its end and
// its record is run again.
package migrate
