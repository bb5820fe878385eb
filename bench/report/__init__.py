"""Results to a document that every format writes. No number is computed here."""
