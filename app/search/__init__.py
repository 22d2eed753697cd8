"""Finding cases by words, references and telephone numbers."""
