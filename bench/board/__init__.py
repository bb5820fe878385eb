"""A leaderboard that grows: a folder of entries, each checked, and the site that is built of them."""
