"""Who may do what: accounts, users, their credentials, roles, and the log of what was changed."""
