"""Data sets seen through others: classes renamed, images corrupted."""
