"""The shipped price lists, packs and subscription plans: data, published at the first start."""
