"""Work: what an authority does about a report, in one workflow table and an append-only history."""
