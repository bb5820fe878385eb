"""One file per leaderboard."""
