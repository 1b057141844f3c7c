package postgres

// SetStatementBytes makes the statements of a store's edits carry less.
func SetStatementBytes(s *Store, n int) { s.statementBytes = n }
