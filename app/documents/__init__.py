"""Papers for people: invoices and statements as HTML and PDF, from the same description."""
