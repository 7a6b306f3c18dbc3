"""Which event concerns whom, and the one entry or message that is kept up to date."""
