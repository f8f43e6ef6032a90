"""Everything that decides how much noise there is, adds it, and remembers it."""
