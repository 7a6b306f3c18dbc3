"""Who may do what: identities, policies, approvals and tokens. It never acts; it answers."""
