"""Reports for customers and operators: questions as callers put them, answers as they want them."""
