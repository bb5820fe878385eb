"""How many pixels have which score: exact tallies, their keys and their compiled loops. No torch here."""
