"""Technical ground shared by every slice. No word of the domain lives here."""
