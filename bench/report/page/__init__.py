"""The sections and the data of the HTML page."""
