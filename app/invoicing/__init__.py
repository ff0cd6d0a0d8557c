"""What is due by the calendar of each tenant: invoices, cycles of subscriptions, tier notices."""
