"""Where state rests: two SQLite files with numbered migrations, and the thread that commits in groups."""
